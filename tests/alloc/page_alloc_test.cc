// page_alloc_test.cc - Tests of alloc/page_alloc.h. The arenas lie at made-up addresses, as none is ever touched.
#include "alloc/page_alloc.h"

#include <memory>

#include "alloc/persistent.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

/// A page allocator with `n` arenas, all of whose pages are taken.
struct Pages {
  explicit Pages(size_t n) {
    for (size_t i = 0; i < n; ++i) {
      arenas.push_back(std::make_unique<Arena>());
      arenas[i]->base = reinterpret_cast<char*>((size_t{1} << 40) + i * kArenaBytes);
      EXPECT_TRUE(pages.add(arenas[i].get()));
    }
  }
  Arena* operator[](size_t i) const { return arenas[i].get(); }
  void open(size_t arena) { pages.free({arenas[arena].get(), 0, kArenaPages}); }

  std::vector<std::unique_ptr<Arena>> arenas;
  PageAlloc pages;
};

TEST(PageAlloc, HasNothingToGiveAtFirst) {
  PageAlloc empty;
  EXPECT_EQ(empty.alloc(1).arena, nullptr);
  EXPECT_EQ(empty.find_dirty(1).arena, nullptr);
  Pages p(2);
  EXPECT_EQ(p.pages.alloc(1).arena, nullptr);
  EXPECT_EQ(p.pages.free_pages(), 0U);
  EXPECT_EQ(p.pages.arena_count(), 2U);
  EXPECT_EQ(p.pages.arena(1), p[1]);
  p.pages.verify();
}

TEST(PageAlloc, FindsTheFirstRunThatFits) {
  Pages p(1);
  p.pages.free({p[0], 100, 3});
  p.pages.free({p[0], 2000, 10});
  p.pages.free({p[0], 3000, 10});
  PageRun run = p.pages.alloc(4);
  EXPECT_EQ(run.page, 2000U);
  EXPECT_EQ(run.address(), p[0]->base + 2000 * kPageSize);
  EXPECT_EQ(p.pages.alloc(3).page, 100U);
  EXPECT_EQ(p.pages.alloc(7).page, 3000U);
  EXPECT_EQ(p.pages.alloc(6).page, 2004U);
  EXPECT_EQ(p.pages.alloc(3).page, 3007U);
  EXPECT_EQ(p.pages.alloc(1).arena, nullptr);
  p.pages.verify();
}

TEST(PageAlloc, RunsCrossChunks) {
  Pages p(1);
  p.pages.free({p[0], kChunkPages - 5, 10});
  EXPECT_EQ(p.pages.alloc(11).arena, nullptr);
  EXPECT_EQ(p.pages.alloc(10).page, kChunkPages - 5);
  // Over several chunks that are wholly free.
  p.pages.free({p[0], 2 * kChunkPages + 7, 3 * kChunkPages});
  EXPECT_EQ(p.pages.alloc(3 * kChunkPages).page, 2 * kChunkPages + 7);
  p.pages.verify();
}

TEST(PageAlloc, RunsDoNotCrossArenas) {
  Pages p(2);
  p.pages.free({p[0], kArenaPages - 4, 4});
  p.pages.free({p[1], 0, 4});
  EXPECT_EQ(p.pages.alloc(5).arena, nullptr);
  EXPECT_EQ(p.pages.alloc(4).arena, p[0]);
  EXPECT_EQ(p.pages.alloc(4).arena, p[1]);
}

TEST(PageAlloc, GivesAWholeArena) {
  Pages p(2);
  p.open(1);
  const PageRun run = p.pages.alloc(kArenaPages);
  EXPECT_EQ(run.arena, p[1]);
  EXPECT_EQ(run.count, kArenaPages);
  EXPECT_EQ(p.pages.free_pages(), 0U);
  p.pages.free(run);
  EXPECT_EQ(p.pages.free_pages(), kArenaPages);
  p.pages.verify();
}

TEST(PageAlloc, TakesPagesThatAreNamedIfAllAreFree) {
  Pages p(1);
  p.pages.free({p[0], 10, 20});
  EXPECT_FALSE(p.pages.alloc_at(p[0], 9, 2));
  EXPECT_FALSE(p.pages.alloc_at(p[0], 29, 2));
  EXPECT_FALSE(p.pages.alloc_at(p[0], kArenaPages - 1, 2));
  EXPECT_FALSE(p.pages.alloc_at(p[0], kArenaPages, 1));
  EXPECT_FALSE(p.pages.alloc_at(p[0], 10, SIZE_MAX / kPageSize));
  EXPECT_EQ(p.pages.free_pages(), 20U);
  EXPECT_TRUE(p.pages.alloc_at(p[0], 15, 5));
  EXPECT_FALSE(p.pages.alloc_at(p[0], 15, 1));
  EXPECT_EQ(p.pages.alloc(10).page, 20U);
  EXPECT_EQ(p.pages.alloc(5).page, 10U);
  p.pages.verify();
}

TEST(PageAlloc, ClaimsWhatIsFreeOfSixtyFourPages) {
  Pages p(1);
  p.pages.free({p[0], 130, 3});
  p.pages.free({p[0], 190, 5});
  EXPECT_EQ(p.pages.claim(p[0], 0), 0U);
  EXPECT_EQ(p.pages.claim(p[0], 128), uint64_t{0b11100} | uint64_t{3} << 62);
  EXPECT_EQ(p.pages.claim(p[0], 128), 0U);
  EXPECT_EQ(p.pages.free_pages(), 3U);
  EXPECT_EQ(p.pages.alloc(3).page, 192U);
  p.pages.verify();
}

TEST(PageAlloc, CountsTheDirtyPages) {
  Pages p(1);
  p[0]->scavenged.set(0, 100);
  p.pages.free({p[0], 90, 20});
  EXPECT_EQ(p.pages.dirty_pages(), 10U);
  EXPECT_TRUE(p.pages.alloc_at(p[0], 95, 10));
  EXPECT_EQ(p.pages.dirty_pages(), 5U);
  p.pages.verify();
}

TEST(PageAlloc, FindsDirtyPagesFromTheEnd) {
  Pages p(3);
  p.pages.free({p[0], 0, 100});
  p.pages.free({p[1], 7000, 50});
  p[2]->scavenged.set(0, kArenaPages);
  p.pages.free({p[2], 0, 100});
  PageRun run = p.pages.find_dirty(1000);
  EXPECT_EQ(run.arena, p[1]);
  EXPECT_EQ(run.page, 7000U);
  EXPECT_EQ(run.count, 50U);
  EXPECT_EQ(p.pages.find_dirty(8).count, 8U);
  // It stays free.
  EXPECT_EQ(p.pages.free_pages(), 250U);
  EXPECT_TRUE(p.pages.alloc_at(p[1], 7000, 50));
  EXPECT_EQ(p.pages.find_dirty(1000).arena, p[0]);
}

TEST(PageAlloc, ReachesBeyondFiveHundredGibibytes) {
  // 8,200 arenas of 64 MiB: three entries of the root. Only a few have anything free.
  Pages p(8200);
  p.pages.free({p[8199], 4000, 100});
  EXPECT_EQ(p.pages.alloc(101).arena, nullptr);
  PageRun run = p.pages.alloc(60);
  EXPECT_EQ(run.arena, p[8199]);
  EXPECT_EQ(run.page, 4000U);
  // Earlier is better, in another group of another root entry.
  p.pages.free({p[4095], 0, 50});
  EXPECT_EQ(p.pages.alloc(40).arena, p[4095]);
  EXPECT_EQ(p.pages.alloc(40).arena, p[8199]);
  EXPECT_EQ(p.pages.alloc(40).arena, nullptr);
  EXPECT_EQ(p.pages.alloc(10).arena, p[4095]);
  p.pages.verify();
  p.pages.free(run);
  p.open(65);
  EXPECT_EQ(p.pages.alloc(kArenaPages).arena, p[65]);
  EXPECT_EQ(p.pages.alloc(60).arena, p[8199]);
  EXPECT_EQ(p.pages.free_pages(), 0U);
  p.pages.verify();
}

TEST(PageAlloc, RefusesArenasWhenItsTablesAreFull) {
  PageAlloc pages;
  Arena arena;  // one for all: add() only notes it
  for (size_t i = 0; i < PageAlloc::kMaxArenas; ++i) ASSERT_TRUE(pages.add(&arena)) << i;
  EXPECT_EQ(arena.ordinal, PageAlloc::kMaxArenas - 1);
  EXPECT_FALSE(pages.add(&arena));
  EXPECT_EQ(pages.arena_count(), PageAlloc::kMaxArenas);
  // The very last one works.
  pages.free({&arena, 5, 5});
  EXPECT_EQ(pages.alloc(5).page, 5U);
}

TEST(PageAlloc, RefusesArenasWithoutMemoryForItsTables) {
  ASSERT_NE(persistent::alloc(16, 16), nullptr);  // there is room to note the table in
  PageAlloc pages;
  std::vector<Arena> arenas(300);
  for (long n = 0; n < 2; ++n) {
    test::Faults faults(n);
    EXPECT_FALSE(pages.add(&arenas[0]));
    EXPECT_EQ(pages.arena_count(), 0U);
  }
  size_t added = 0;
  {
    // Memory for the first entries only: a page of them.
    test::Faults faults(1);
    while (added < arenas.size() && pages.add(&arenas[added])) ++added;
  }
  EXPECT_EQ(added, os::page_size() / 16);
  for (; added < arenas.size(); ++added) ASSERT_TRUE(pages.add(&arenas[added]));
  pages.verify();
}

}  // namespace
}  // namespace tri
