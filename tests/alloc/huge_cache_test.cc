// huge_cache_test.cc - Tests of alloc/huge_cache.h, alone and in the heap.
#include "alloc/huge_cache.h"

#include "alloc/stats.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;
constexpr int64_t kSecond = 1'000'000'000;

// ---- the cache: spans that are records only ----------------------------------------------------

class HugeCacheTest : public ::testing::Test {
 protected:
  Span* put(size_t bytes, int64_t since, size_t offset = 0) {
    Span* const s = &spans_[used_++];
    s->start = memory_ + offset;
    s->bytes = bytes;
    EXPECT_TRUE(cache_.has_room(bytes));
    cache_.put(s, since);
    EXPECT_EQ(s->place, SpanPlace::kCached);
    EXPECT_TRUE(s->needs_zero);
    return s;
  }

  HugeCache cache_;
  Span spans_[8];
  alignas(2 * kPageSize) char memory_[2 * kPageSize];
  size_t used_ = 0;
};

TEST_F(HugeCacheTest, IsEmptyAtFirst) {
  EXPECT_EQ(cache_.bytes(), 0U);
  EXPECT_EQ(cache_.take(kMinHugeSize, 1), nullptr);
  EXPECT_EQ(cache_.take_oldest(), nullptr);
}

TEST_F(HugeCacheTest, GivesTheSmallestThatServes) {
  Span* const large = put(18 * kMiB, 1);
  Span* const fits = put(17 * kMiB, 2);
  put(16 * kMiB, 3);
  EXPECT_EQ(cache_.bytes(), 51 * kMiB);
  EXPECT_EQ(cache_.take(16 * kMiB + 1, 1), fits);
  EXPECT_EQ(fits->place, SpanPlace::kNowhere);
  EXPECT_EQ(cache_.take(16 * kMiB + 1, 1), large);
  EXPECT_EQ(cache_.take(16 * kMiB + 1, 1), nullptr);
  EXPECT_EQ(cache_.bytes(), 16 * kMiB);
}

TEST_F(HugeCacheTest, WastesAnEighthAtMost) {
  put(36 * kMiB, 1);
  EXPECT_EQ(cache_.take(31 * kMiB, 1), nullptr);
  EXPECT_NE(cache_.take(32 * kMiB, 1), nullptr);
}

TEST_F(HugeCacheTest, HonoursTheAlignment) {
  put(20 * kMiB, 1, kPageSize);
  EXPECT_EQ(cache_.take(20 * kMiB, 2 * kPageSize), nullptr);
  EXPECT_NE(cache_.take(20 * kMiB, kPageSize), nullptr);
}

TEST_F(HugeCacheTest, KeepsToItsBounds) {
  put(40 * kMiB, 1);
  EXPECT_FALSE(cache_.has_room(HugeCache::kMaxBytes - 40 * kMiB + 1));
  EXPECT_TRUE(cache_.has_room(HugeCache::kMaxBytes - 40 * kMiB));
  for (size_t i = 1; i < HugeCache::kEntries; ++i) put(kMiB, 2);
  EXPECT_FALSE(cache_.has_room(1));
}

TEST_F(HugeCacheTest, WantsNothingBeforeTheProgramAsksForWhatItFreed) {
  Span s;
  s.bytes = HugeCache::kMaxBytes;
  EXPECT_FALSE(cache_.wants(&s));
  cache_.note_gone(30 * kMiB);
  EXPECT_EQ(cache_.take(40 * kMiB, 1), nullptr);
  EXPECT_FALSE(cache_.wants(&s));
  EXPECT_EQ(cache_.take(29 * kMiB, 1), nullptr);
  EXPECT_TRUE(cache_.wants(&s));
  ++s.bytes;
  EXPECT_FALSE(cache_.wants(&s));  // whatever happens
}

TEST_F(HugeCacheTest, GivesUpWhenNobodyAsksForWhatIsThere) {
  cache_.note_gone(30 * kMiB);
  EXPECT_EQ(cache_.take(30 * kMiB, 1), nullptr);
  Span* const first = put(20 * kMiB, 10);
  Span* const second = put(20 * kMiB, 20);
  EXPECT_EQ(cache_.take_oldest(), first);  // made room: no more than that
  EXPECT_TRUE(cache_.wants(first));
  EXPECT_EQ(cache_.take_older(21), second);
  EXPECT_FALSE(cache_.wants(first));
  EXPECT_EQ(cache_.take(20 * kMiB, 1), nullptr);  // they have gone
  EXPECT_TRUE(cache_.wants(first));
}

TEST_F(HugeCacheTest, LosesTheOldestFirst) {
  Span* const first = put(20 * kMiB, 10);
  Span* const second = put(20 * kMiB, 20);
  EXPECT_EQ(cache_.take_older(10), nullptr);
  EXPECT_EQ(cache_.take_older(11), first);
  EXPECT_EQ(cache_.take_older(11), nullptr);
  EXPECT_EQ(cache_.take_oldest(), second);
  EXPECT_EQ(cache_.bytes(), 0U);
}

// ---- in the heap ------------------------------------------------------------------------------

std::atomic<int64_t> time_now{1000 * kSecond};

class KeptHugeBlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    scavenger::purge_all();
    os::set_clock([] { return time_now.load(); });
    // The program shows that it asks for what it has freed.
    scavenger::set_half_life(kSecond);
    deallocate(allocate(20 * kMiB));
    void* const again = allocate(20 * kMiB);
    scavenger::set_half_life(scavenger::kPurgeNow);
    deallocate(again);
    scavenger::set_half_life(kSecond);
    used_ = test::used_bytes();
    committed_ = counters->committed_bytes;
    huge_ = counters->huge_bytes;
  }
  void TearDown() override {
    scavenger::purge_all();
    EXPECT_EQ(heap.kept_huge_bytes(), 0U);
    EXPECT_EQ(test::used_bytes(), used_);
    EXPECT_EQ(counters->huge_bytes, huge_);
    EXPECT_LE(counters->committed_bytes, committed_);  // a refusal gives free addresses back, too
    os::set_clock(nullptr);
    scavenger::set_half_life(scavenger::kPurgeNever);
  }

  uint64_t used_ = 0;
  uint64_t committed_ = 0;
  uint64_t huge_ = 0;
};

TEST_F(KeptHugeBlockTest, ServesTheNextOfItsSize) {
  char* const p = static_cast<char*>(allocate(20 * kMiB));
  ASSERT_NE(p, nullptr);
  memset(p, 0xab, 20 * kMiB);
  const uint64_t peak = counters->peak_bytes;
  deallocate(p);
  EXPECT_EQ(heap.kept_huge_bytes(), 20 * kMiB);
  EXPECT_EQ(test::used_bytes(), used_);
  const size_t resident = os::resident_bytes();
  char* const q = static_cast<char*>(allocate(19 * kMiB));
  EXPECT_EQ(q, p);
  EXPECT_EQ(usable_size(q), 20 * kMiB);
  EXPECT_EQ(heap.kept_huge_bytes(), 0U);
  EXPECT_EQ(counters->huge_bytes - huge_, 20 * kMiB);
  memset(q, 0xcd, 20 * kMiB);
  EXPECT_LT(os::resident_bytes(), resident + kMiB);
  deallocate(q);
  scavenger::purge_all();
  EXPECT_EQ(counters->peak_bytes, peak);
}

TEST_F(KeptHugeBlockTest, IsZeroedForWhoAsksForIt) {
  void* const p = allocate(20 * kMiB);
  memset(p, 0xab, 20 * kMiB);
  deallocate(p);
  void* const q = allocate_zeroed(20 * kMiB - 100);
  EXPECT_EQ(q, p);
  EXPECT_TRUE(test::is_zero(q, 20 * kMiB - 100));
  deallocate(q);
}

TEST_F(KeptHugeBlockTest, GoesBackAfterAHalfLife) {
  void* const p = allocate(20 * kMiB);
  memset(p, 1, 20 * kMiB);
  deallocate(p);
  const size_t resident = os::resident_bytes();
  const auto poll_often = [] {
    for (int i = 0; i < 64; ++i) scavenger::poll();
  };
  time_now += kSecond / 2;
  poll_often();
  EXPECT_EQ(heap.kept_huge_bytes(), 20 * kMiB);
  time_now += kSecond;
  poll_often();
  EXPECT_EQ(heap.kept_huge_bytes(), 0U);
  EXPECT_LT(os::resident_bytes() + 19 * kMiB, resident);
}

TEST_F(KeptHugeBlockTest, IsNotKeptWhereFreeMemoryGoesBackAtOnce) {
  deallocate(allocate(20 * kMiB));
  EXPECT_EQ(heap.kept_huge_bytes(), 20 * kMiB);
  scavenger::set_half_life(scavenger::kPurgeNow);
  scavenger::poll();
  EXPECT_EQ(heap.kept_huge_bytes(), 0U);
  deallocate(allocate(20 * kMiB));
  EXPECT_EQ(heap.kept_huge_bytes(), 0U);
}

TEST_F(KeptHugeBlockTest, MakesWayForOthers) {
  void* blocks[HugeCache::kEntries + 1];
  for (void*& p : blocks) p = allocate(17 * kMiB);
  for (void* const p : blocks) {
    deallocate(p);
    EXPECT_LE(heap.kept_huge_bytes(), HugeCache::kMaxBytes);
  }
  EXPECT_EQ(heap.kept_huge_bytes(), HugeCache::kMaxBytes / (17 * kMiB) * 17 * kMiB);
  deallocate(allocate(HugeCache::kMaxBytes + 1));  // none of them is worth giving up for it
  EXPECT_NE(heap.kept_huge_bytes(), 0U);
}

TEST_F(KeptHugeBlockTest, GoesBackWhenAddressesHaveRunOut) {
  deallocate(allocate(20 * kMiB));
  ASSERT_EQ(heap.kept_huge_bytes(), 20 * kMiB);
  os::fail_after(0);
  void* const kept = allocate(20 * kMiB);  // needs none
  EXPECT_NE(kept, nullptr);
  deallocate(kept);
  EXPECT_EQ(heap.kept_huge_bytes(), 20 * kMiB);
  EXPECT_EQ(allocate(40 * kMiB), nullptr);
  EXPECT_EQ(heap.kept_huge_bytes(), 0U);
  os::fail_after(-1);
  void* const p = allocate(40 * kMiB);
  EXPECT_NE(p, nullptr);
  deallocate(p);
}

TEST_F(KeptHugeBlockTest, IsNotKeptOfAnArrayThatGrows) {
  // What went before is forgotten: that kept blocks are of use, and which sizes have gone.
  deallocate(allocate(20 * kMiB));
  scavenger::purge_all();
  for (size_t i = 0; i < HugeCache::kEntries; ++i) deallocate(allocate((i + 4) * 100 * kMiB));
  void* p = allocate(16 * kMiB);
  for (size_t n = 24 * kMiB; n < 200 * kMiB; n += n / 2) {
    void* const q = allocate(n);
    deallocate(p);
    EXPECT_EQ(heap.kept_huge_bytes(), 0U) << n;
    p = q;
  }
  deallocate(p);
}

TEST_F(KeptHugeBlockTest, IsNobodysBlock) {
  void* const p = allocate(20 * kMiB);
  deallocate(p);
  EXPECT_EQ(heap.find_huge(static_cast<char*>(p) + kMiB), nullptr);
  size_t size = 1;
  EXPECT_TRUE(heap.was_freed_lately(static_cast<char*>(p) + kMiB, &size));
  const Stats stats = take_stats();
  EXPECT_EQ(stats.huge_bytes, huge_);
  EXPECT_GE(stats.cached_bytes, 20 * kMiB);
}

}  // namespace
}  // namespace tri
