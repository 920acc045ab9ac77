// large_cache_test.cc - Tests of alloc/large_cache.h.
#include "alloc/large_cache.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

class LargeCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
  }
  void TearDown() override {
    cache_.release();
    EXPECT_EQ(test::used_bytes(), used_);
    heap.verify();
  }
  Span* span(size_t bytes) {
    Span* const s = heap.alloc_large(bytes, 16);
    EXPECT_NE(s, nullptr);
    return s;
  }
  /// Puts a span of this size; its address.
  char* put(size_t bytes) {
    Span* const s = span(bytes);
    char* const start = s->start;
    EXPECT_TRUE(cache_.put(s, &keeper_));
    return start;
  }
  uint64_t used() const { return test::used_bytes() - used_; }

  LargeCache cache_;
  MCache keeper_;
  uint64_t used_ = 0;
};

TEST_F(LargeCacheTest, IsEmptyAtFirst) { EXPECT_EQ(cache_.take(100 * kKiB), nullptr); }

TEST_F(LargeCacheTest, GivesBackWhatWasPut) {
  Span* const s = span(100 * kKiB);
  ASSERT_TRUE(cache_.put(s, &keeper_));
  EXPECT_EQ(s->place, SpanPlace::kCached);
  EXPECT_EQ(s->owner.load(), &keeper_);
  EXPECT_EQ(s->owner_tp.load(), 0U);
  EXPECT_TRUE(s->needs_zero);
  EXPECT_EQ(cache_.take(100 * kKiB), s);
  EXPECT_EQ(s->place, SpanPlace::kNowhere);
  EXPECT_EQ(s->owner.load(), nullptr);
  EXPECT_EQ(cache_.take(100 * kKiB), nullptr);
  heap.free(s);
}

TEST_F(LargeCacheTest, GivesNothingSmallerAndNothingMuchLarger) {
  Span* const s = span(128 * kKiB);
  ASSERT_TRUE(cache_.put(s, &keeper_));
  EXPECT_EQ(cache_.take(136 * kKiB), nullptr);
  EXPECT_EQ(cache_.take(96 * kKiB), nullptr);
  EXPECT_EQ(cache_.take(40 * kKiB), nullptr);
  EXPECT_EQ(cache_.take(120 * kKiB), s);
  heap.free(s);
}

TEST_F(LargeCacheTest, GivesTheSmallestThatFits) {
  Span* spans[3] = {span(120 * kKiB), span(112 * kKiB), span(128 * kKiB)};
  for (Span* s : spans) ASSERT_TRUE(cache_.put(s, &keeper_));
  EXPECT_EQ(cache_.take(112 * kKiB), spans[1]);
  EXPECT_EQ(cache_.take(112 * kKiB), spans[0]);
  EXPECT_EQ(cache_.take(128 * kKiB), spans[2]);
  for (Span* s : spans) heap.free(s);
}

TEST_F(LargeCacheTest, RefusesBlocksAboveHalfAMebibyte) {
  Span* const most = span(512 * kKiB);
  Span* const more = span(512 * kKiB + kPageSize);
  EXPECT_TRUE(cache_.put(most, &keeper_));
  EXPECT_FALSE(cache_.put(more, &keeper_));
  heap.free(more);
}

TEST_F(LargeCacheTest, KeepsSixteenAndDropsTheOldest) {
  char* first = put(40 * kKiB);
  char* second = put(36 * kKiB);
  for (int i = 0; i < 14; ++i) put(24 * kKiB);
  EXPECT_NE(pagemap::lookup(first), &null_span);
  put(28 * kKiB);
  EXPECT_EQ(pagemap::lookup(first), &null_span);
  EXPECT_NE(pagemap::lookup(second), &null_span);
  EXPECT_EQ(cache_.take(40 * kKiB), nullptr);
}

TEST_F(LargeCacheTest, KeepsHalfAMebibyteAtMost) {
  for (int i = 0; i < 100; ++i) {
    put(150 * kKiB);
    EXPECT_LE(used(), 512 * kKiB);
  }
  EXPECT_GE(used(), 300 * kKiB);
}

TEST_F(LargeCacheTest, ReleaseGivesAllBack) {
  for (int i = 0; i < 10; ++i) put(100 * kKiB);
  EXPECT_GT(used(), 0U);
  cache_.release();
  EXPECT_EQ(used(), 0U);
  EXPECT_EQ(cache_.take(100 * kKiB), nullptr);
}

TEST_F(LargeCacheTest, FreedBlocksAreFoundAgainByTheSameThread) {
  void* const p = allocate(300'000);
  deallocate(p);
  EXPECT_EQ(allocate(300'000), p);
  // Zeroed memory is zeroed although the block was used.
  memset(p, 0xff, 300'000);
  deallocate(p);
  void* const q = allocate_zeroed(299'000);
  EXPECT_EQ(q, p);
  EXPECT_TRUE(test::is_zero(q, 299'000));
  deallocate(q);
  test::drop_caches();
}

TEST_F(LargeCacheTest, AlignedBlocksDoNotComeFromTheCache) {
  deallocate(allocate(300'000));
  for (size_t alignment = 2 * kPageSize; alignment <= kMiB; alignment *= 2) {
    void* const p = allocate_aligned(300'000, alignment);
    EXPECT_TRUE(test::aligned_to(p, alignment));
    deallocate(p);
  }
  test::drop_caches();
}

}  // namespace
}  // namespace tri
