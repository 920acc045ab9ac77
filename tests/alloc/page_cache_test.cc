// page_cache_test.cc - Tests of alloc/page_cache.h.
#include "alloc/page_cache.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

uint64_t bits(size_t first, size_t count) {
  uint64_t out = 0;
  for (size_t i = first; i < first + count; ++i) out |= uint64_t{1} << i;
  return out;
}

TEST(PageCache, IsEmptyAtFirst) {
  PageCache cache;
  EXPECT_EQ(cache.alloc(1).arena, nullptr);
  EXPECT_EQ(cache.take_record(), nullptr);
}

TEST(PageCache, CutsAFullWordIntoRuns) {
  Arena arena;
  PageCache cache;
  cache.arena = &arena;
  cache.first = 128;
  cache.free = ~uint64_t{0};
  for (size_t i = 0; i < 8; ++i) {
    const PageRun run = cache.alloc(8);
    ASSERT_EQ(run.arena, &arena);
    ASSERT_EQ(run.page, 128 + 8 * i);
    ASSERT_EQ(run.count, 8U);
  }
  EXPECT_EQ(cache.free, 0U);
  EXPECT_EQ(cache.alloc(1).arena, nullptr);
}

TEST(PageCache, TakesTheLowestRunThatFits) {
  test::Random random;
  Arena arena;
  for (size_t round = 0; round < test::rounds(200'000); ++round) {
    PageCache cache;
    cache.arena = &arena;
    cache.first = 64 * random.below(kArenaPages / 64);
    cache.free = random.next() | random.next();
    if (random.one_in(2)) cache.free |= bits(random.below(40), 24);
    while (true) {
      const uint64_t before = cache.free;
      const size_t count = random.between(1, PageCache::kMaxRun);
      size_t want = 0;
      while (want + count <= 64 && (before & bits(want, count)) != bits(want, count)) ++want;
      const PageRun run = cache.alloc(count);
      if (want + count > 64) {
        ASSERT_EQ(run.arena, nullptr);
        ASSERT_EQ(cache.free, before);
        break;
      }
      ASSERT_EQ(run.arena, &arena);
      ASSERT_EQ(run.page, cache.first + want);
      ASSERT_EQ(run.count, count);
      ASSERT_EQ(cache.free, before & ~bits(want, count));
    }
  }
}

TEST(PageCache, HandsOutItsRecordsUnlinked) {
  Span a;
  Span b;
  PageCache cache;
  a.next = &b;
  cache.records = &a;
  EXPECT_EQ(cache.take_record(), &a);
  EXPECT_EQ(a.next, nullptr);
  EXPECT_EQ(cache.take_record(), &b);
  EXPECT_EQ(cache.take_record(), nullptr);
}

}  // namespace
}  // namespace tri
