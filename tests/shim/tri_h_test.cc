// tri_h_test.cc - The library's own C interface, called by a program that links it.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <tri.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

TEST(TriH, SaysItsVersionAndThatItAnswersMalloc) {
  ASSERT_NE(tri_version(), nullptr);
  EXPECT_EQ(std::string(tri_version()), "0.1.0");
  EXPECT_TRUE(tri_active());
}

TEST(TriH, AllocHonoursZeroAndAlignment) {
  for (size_t n : interesting_sizes()) {
    for (size_t alignment = 16; alignment <= (1u << 21); alignment *= 8) {
      void* dirt = malloc(n);
      memset(dirt, 0xEE, malloc_usable_size(dirt));
      free(dirt);
      void* p = tri_alloc(n, TRI_ZERO | TRI_ALIGN(alignment));
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(aligned_to(p, alignment)) << n << " " << alignment;
      ASSERT_TRUE(all_zero(p, n)) << n << " " << alignment;
      memset(p, 0xEE, tri_size(p));
      tri_free(p);
    }
  }
}

TEST(TriH, AllocFailsWithNullAndErrno) {
  for (size_t n : {SIZE_MAX, size_t{PTRDIFF_MAX} + 1, size_t{1} << 47}) {
    errno = 0;
    EXPECT_EQ(tri_alloc(opaque(n), 0), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT_EQ(tri_alloc_at_least(opaque(n), 0).ptr, nullptr);
    EXPECT_EQ(errno, ENOMEM);
    void* p = malloc(10);
    errno = 0;
    EXPECT_EQ(tri_realloc(p, opaque(n), 0), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    free(p);
  }
}

TEST(TriH, AllocAtLeastTellsAllThatMayBeUsed) {
  for (size_t n : interesting_sizes()) {
    tri_block b = tri_alloc_at_least(n, 0);
    ASSERT_NE(b.ptr, nullptr);
    ASSERT_GE(b.size, n);
    ASSERT_EQ(b.size, tri_size(b.ptr));
    memset(b.ptr, 1, b.size);
    tri_free_sized(b.ptr, b.size);
  }
}

TEST(TriH, GoodSizeIsTheSizeThatAllocGives) {
  for (size_t n = 1; n < (4u << 20); n += 1 + n / 11) {
    void* p = tri_alloc(n, 0);
    ASSERT_EQ(tri_size(p), tri_good_size(n)) << n;
    tri_free(p);
  }
}

TEST(TriH, ReallocKeepsContentAndZeroesTheTailOnRequest) {
  for (size_t asked : interesting_sizes()) {
    for (size_t to : interesting_sizes()) {
      void* p = tri_alloc(asked, TRI_ZERO);
      size_t from = tri_size(p);  // zero is what lies beyond the old usable size
      if (to <= from) {
        tri_free(p);
        continue;
      }
      fill(p, from, from);
      void* q = tri_realloc(p, to, TRI_ZERO);
      ASSERT_NE(q, nullptr);
      ASSERT_TRUE(holds(q, from, from)) << from << " to " << to;
      ASSERT_TRUE(all_zero(static_cast<char*>(q) + from, to - from)) << from << " to " << to;
      tri_free(q);
    }
  }
}

TEST(TriH, ReallocToNothingGivesAnEmptyBlock) {
  // Unlike realloc(p, 0): one rule for all sizes, and nothing is freed behind the caller's back.
  void* p = tri_realloc(malloc(100), opaque<size_t>(0), 0);
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(tri_owns(p));
  tri_free(p);
}

TEST(TriH, ExpandGrowsInPlaceOrLeavesTheBlockAlone) {
  for (size_t n : interesting_sizes()) {
    void* p = tri_alloc(n, 0);
    size_t usable = tri_size(p);
    fill(p, usable, n);
    EXPECT_TRUE(tri_expand(p, usable)) << "what is usable already is granted: " << n;
    size_t wanted = usable * 2 + 1;
    if (tri_expand(p, wanted)) {
      ASSERT_GE(tri_size(p), wanted);
      memset(static_cast<char*>(p) + usable, 1, wanted - usable);
    } else {
      ASSERT_EQ(tri_size(p), usable);
    }
    ASSERT_TRUE(holds(p, usable, n));
    EXPECT_FALSE(tri_expand(p, size_t{PTRDIFF_MAX} + 1));
    tri_free(p);
  }
}

TEST(TriH, BlocksMixWithMallocs) {
  tri_free(malloc(100));
  free(tri_alloc(100, 0));
  free(tri_realloc(malloc(10), 5000, 0));
  tri_free(realloc(tri_alloc(10, 0), 100000));
  tri_free(nullptr);
  tri_free_sized(nullptr, 10);
}

TEST(TriH, FreeBatchFreesEveryBlockOnce) {
  size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  std::vector<void*> blocks;
  for (int round = 0; round < 50; ++round)
    for (size_t n : interesting_sizes()) blocks.push_back(malloc(n));
  blocks.push_back(nullptr);  // allowed, as free(NULL) is
  tri_free_batch(blocks.data(), blocks.size());
  tri_free_batch(nullptr, 0);
  EXPECT_LT(mallinfo2().uordblks + mallinfo2().hblkhd, before + (1u << 20));
}

TEST(TriH, BaseFindsTheBlockOfAnInteriorPointer) {
  for (size_t n : interesting_sizes()) {
    auto* p = static_cast<char*>(malloc(n));
    size_t usable = tri_size(p);
    for (size_t at : {size_t{0}, usable / 3, usable / 2, usable - 1})
      ASSERT_EQ(tri_base(p + at), p) << n << "+" << at;
    free(p);
  }
}

TEST(TriH, OwnsOnlyWhatItGave) {
  static int data;
  int local = 0;
  void* mapped = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (const void* stranger :
       {static_cast<const void*>(&data), static_cast<const void*>(&local),
        static_cast<const void*>(mapped), static_cast<const void*>("literal"),
        static_cast<const void*>(nullptr), reinterpret_cast<const void*>(0x10),
        reinterpret_cast<const void*>(~uintptr_t{0}),
        reinterpret_cast<const void*>(uintptr_t{1} << 63)}) {
    EXPECT_FALSE(tri_owns(stranger)) << stranger;
    EXPECT_EQ(tri_base(stranger), nullptr) << stranger;
    EXPECT_EQ(tri_size(stranger), 0u) << stranger;
  }
  for (size_t n : interesting_sizes()) {
    void* p = malloc(n);
    EXPECT_TRUE(tri_owns(p)) << n;
    free(p);
  }
  munmap(mapped, 4096);
}

TEST(TriH, WalkVisitsEveryLiveBlockOnceAndNoFreedOne) {
  std::map<void*, size_t> mine;
  std::vector<void*> freed;
  std::vector<void*> hits;  // roomy at once: later it would take the place of a freed block
  hits.reserve(5000);
  for (int round = 0; round < 10; ++round) {
    for (size_t n : interesting_sizes()) {
      void* keep = malloc(n);
      mine[keep] = n;
      freed.push_back(malloc(n));
    }
  }
  std::thread([&] {
    for (void* p : freed) free(p);
  }).join();
  struct Seen {
    std::map<void*, size_t>* mine;
    std::vector<void*>* freed;
    size_t found = 0, wrong_size = 0, found_freed = 0, total = 0;
  } seen{&mine, &freed};
  struct Context {
    Seen* seen;
    std::vector<void*>* hits;
  } context{&seen, &hits};
  int result = tri_walk(
      [](void* p, size_t n, unsigned, void* arg) {
        auto* c = static_cast<Context*>(arg);
        ++c->seen->total;
        auto it = c->seen->mine->find(p);
        if (it != c->seen->mine->end()) {
          c->hits->push_back(p);
          c->seen->wrong_size += n < it->second;
        }
        c->seen->found_freed += std::count(c->seen->freed->begin(), c->seen->freed->end(), p) != 0;
        return 0;
      },
      &context);
  EXPECT_EQ(result, 0);
  std::sort(hits.begin(), hits.end());
  EXPECT_EQ(std::unique(hits.begin(), hits.end()), hits.end()) << "a block was visited twice";
  EXPECT_EQ(hits.size(), mine.size());
  EXPECT_EQ(seen.wrong_size, 0u);
  EXPECT_EQ(seen.found_freed, 0u);
  for (auto& [p, n] : mine) free(p);
}

TEST(TriH, WalkStopsWhenTheVisitorSaysSo) {
  void* keep[10];
  for (auto& p : keep) p = malloc(100);
  int visits = 0;
  int result = tri_walk(
      [](void*, size_t, unsigned, void* arg) {
        ++*static_cast<int*>(arg);
        return 42;
      },
      &visits);
  EXPECT_EQ(visits, 1);
  EXPECT_EQ(result, 42);
  for (auto* p : keep) free(p);
}

TEST(TriH, PurgeGivesFreeMemoryBack) {
  long base = rss_kib();
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) {
    blocks.push_back(malloc(1u << 20));
    memset(blocks.back(), 1, 1u << 20);
  }
  for (void* p : blocks) free(p);
  EXPECT_GT(tri_purge(), 0u);
  EXPECT_LT(rss_kib() - base, 8 * 1024);
}

TEST(TriH, OptionsAreReadBackAsTheyWereSet) {
  char value[64];
  ASSERT_EQ(tri_get("stats", value, sizeof value), 3);
  EXPECT_STREQ(value, "off");
  EXPECT_EQ(tri_set("check", "off"), 0);
  ASSERT_GE(tri_get("check", value, sizeof value), 0);
  EXPECT_STREQ(value, "off");
  EXPECT_EQ(tri_set("check", "basic"), 0);
  EXPECT_EQ(tri_set("stat", "on"), -ENOENT);
  EXPECT_EQ(tri_set("stats", "maybe"), -EINVAL);
  EXPECT_EQ(tri_get("stat", value, sizeof value), -ENOENT);
  char tiny[2] = {'x', 'y'};
  tri_get("stats", tiny, 1);
  EXPECT_EQ(tiny[1], 'y') << "wrote past the end";
}

TEST(TriH, StatsAreVersionedBySize) {
  alignas(struct tri_stats) unsigned char room[sizeof(struct tri_stats) + 64];
  auto* stats = reinterpret_cast<struct tri_stats*>(room);
  memset(room, 0xAB, sizeof room);
  EXPECT_EQ(tri_stats_get(stats, 8), 0) << "an older, smaller struct";
  EXPECT_EQ(room[8], 0xAB) << "wrote past the caller's struct";
  memset(room, 0xAB, sizeof room);
  EXPECT_EQ(tri_stats_get(stats, sizeof(struct tri_stats)), 0);
  EXPECT_EQ(room[sizeof(struct tri_stats)], 0xAB);
  EXPECT_EQ(tri_stats_get(nullptr, sizeof(struct tri_stats)), -EINVAL);
  EXPECT_EQ(tri_stats_get(stats, 0), -EINVAL);
}

TEST(TriH, StatsCountWhatIsAllocated) {
  struct tri_stats before {};
  struct tri_stats with {};
  struct tri_stats after {};
  ASSERT_EQ(tri_stats_get(&before, sizeof before), 0);
  std::vector<void*> blocks(20000);
  for (auto& p : blocks) p = malloc(500);
  void* large = malloc(10u << 20);
  ASSERT_EQ(tri_stats_get(&with, sizeof with), 0);
  EXPECT_GE(with.live_bytes, before.live_bytes + 20000 * 500 + (10u << 20));
  EXPECT_LE(with.live_bytes, before.live_bytes + (20000 * 500 + (10u << 20)) * 5 / 4);
  EXPECT_NEAR(static_cast<double>(with.live_blocks - before.live_blocks), 20002, 100);
  EXPECT_GE(with.large_bytes, before.large_bytes + (10u << 20));
  EXPECT_GE(with.used_bytes, with.live_bytes);
  EXPECT_GE(with.arena_bytes, with.used_bytes);
  EXPECT_GE(with.threads, 1u);
  for (void* p : blocks) free(p);
  free(large);
  ASSERT_EQ(tri_stats_get(&after, sizeof after), 0);
  EXPECT_LE(after.live_bytes, before.live_bytes + (1u << 20));
  EXPECT_GE(after.peak_bytes, with.used_bytes);
}

TEST(TriH, ReportsAreWrittenToTheDescriptor) {
  for (const char* what : {"stats", "xml"}) {
    int fd = memfd_create("report", 0);
    EXPECT_EQ(tri_report(fd, what), 0) << what;
    EXPECT_GT(lseek(fd, 0, SEEK_END), 0) << what;
    close(fd);
  }
  EXPECT_EQ(tri_report(1, "nonsense"), -EINVAL);
}

}  // namespace
}  // namespace tri_test
