// mheap_test.cc - Tests of alloc/mheap.h.
#include "alloc/mheap.h"

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;
static_assert(kMinHugeSize >= 8 * kMiB, "the sizes below 8 MiB are of large blocks here");
static_assert(kMinHugeSize <= 40 * kMiB, "those from 40 MiB on of huge ones");

class MHeapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
    huge_ = huge_bytes();
  }
  void TearDown() override {
    // Whatever a test did, all of it came back.
    EXPECT_EQ(test::used_bytes(), used_);
    EXPECT_EQ(huge_bytes(), huge_);
    heap.verify();
  }
  static uint64_t huge_bytes() { return counters->huge_bytes.load(std::memory_order_relaxed); }
  uint64_t used() const { return test::used_bytes() - used_; }

 private:
  uint64_t used_ = 0;
  uint64_t huge_ = 0;
};

TEST_F(MHeapTest, InitMayBeCalledAgain) {
  EXPECT_TRUE(heap.init());
  EXPECT_TRUE(heap.init());
}

TEST_F(MHeapTest, SmallSpansAreDisjointAndOfTheirClass) {
  PageCache cache;
  std::vector<Span*> spans;
  std::set<char*> starts;
  uint64_t bytes = 0;
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    Span* const s = heap.alloc_small(c, cache);
    ASSERT_NE(s, nullptr);
    EXPECT_EQ(s->size_class, c);
    EXPECT_EQ(s->bytes, class_span_pages(c) * kPageSize);
    EXPECT_EQ(s->owner.load(), nullptr);
    for (size_t i = 0; i < s->bytes; i += kPageSize) ASSERT_TRUE(starts.insert(s->start + i).second);
    memset(s->start, 0x5a, s->bytes);  // all of it is writable
    bytes += s->bytes;
    spans.push_back(s);
  }
  EXPECT_EQ(used(), bytes);
  for (Span* s : spans) heap.free(s);
  heap.flush(cache);
}

TEST_F(MHeapTest, PageCacheGivesNeighbours) {
  PageCache cache;
  Span* const a = heap.alloc_small(0, cache);
  Span* const b = heap.alloc_small(0, cache);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  if (cache.free != 0) {
    // Both of one aligned block of 64 pages, if that was free.
    EXPECT_EQ(cache.first % PageCache::kPages, 0U);
    EXPECT_EQ(cache.arena->page_of(b->start) / PageCache::kPages, cache.first / PageCache::kPages);
  }
  heap.free(a);
  heap.free(b);
  heap.flush(cache);
  EXPECT_EQ(cache.free, 0U);
  EXPECT_EQ(cache.records, nullptr);
}

TEST_F(MHeapTest, LargeBlocksHaveEachAlignment) {
  for (size_t alignment = 16; alignment <= 128 * kMiB; alignment *= 2) {
    for (const size_t bytes : {kMaxSmallSize + 1, size_t{100'000}, 3 * kMiB}) {
      Span* const s = heap.alloc_large(bytes, alignment);
      ASSERT_NE(s, nullptr);
      EXPECT_TRUE(test::aligned_to(s->start, alignment));
      EXPECT_EQ(s->bytes, align_up(bytes, kPageSize));
      EXPECT_EQ(s->owner_tp.load(), 0U);
      test::fill(s->start, s->bytes, alignment);
      EXPECT_TRUE(test::holds(s->start, s->bytes, alignment));
      EXPECT_EQ(pagemap::lookup(s->start), s);
      EXPECT_EQ(used(), s->bytes);
      char* const start = s->start;
      heap.free(s);
      EXPECT_EQ(pagemap::lookup(start), &null_span);
    }
  }
}

TEST_F(MHeapTest, BlocksFromAGivenSizeOnHaveTheirOwnMapping) {
  Span* const large = heap.alloc_large(kMinHugeSize - kPageSize, 16);
  Span* const huge = heap.alloc_large(kMinHugeSize, 16);
  ASSERT_NE(large, nullptr);
  ASSERT_NE(huge, nullptr);
  EXPECT_EQ(large->kind, SpanKind::kLarge);
  EXPECT_EQ(huge->kind, SpanKind::kHuge);
  EXPECT_EQ(heap.find_huge(huge->start + huge->bytes - 1), huge);
  EXPECT_EQ(heap.find_huge(huge->end()), nullptr);
  EXPECT_EQ(heap.find_huge(large->start), nullptr);
  EXPECT_TRUE(test::is_zero(huge->start, huge->bytes));
  EXPECT_FALSE(huge->needs_zero);
  heap.free(huge);
  heap.free(large);
}

TEST_F(MHeapTest, RefusesWhatNobodyHas) {
  EXPECT_EQ(heap.alloc_large(PTRDIFF_MAX, 16), nullptr);
  EXPECT_EQ(heap.alloc_large(PTRDIFF_MAX - kPageSize, 16), nullptr);
  EXPECT_EQ(heap.alloc_large(size_t{1} << 50, 16), nullptr);
  EXPECT_EQ(heap.alloc_large(kPageSize, size_t{1} << 62), nullptr);
}

TEST_F(MHeapTest, ResizesALargeBlockInPlace) {
  Span* const s = heap.alloc_large(7 * kMiB, 16);
  ASSERT_NE(s, nullptr);
  test::fill(s->start, s->bytes, 1);
  ASSERT_TRUE(heap.resize_in_place(s, 2 * kMiB));
  EXPECT_EQ(s->bytes, 2 * kMiB);
  EXPECT_EQ(used(), 2 * kMiB);
  EXPECT_TRUE(test::holds(s->start, 2 * kMiB, 1, 7 * kMiB));
  EXPECT_EQ(pagemap::lookup(s->end()), &null_span);
  heap.verify();
  // What was given up is free: so the block can have it again.
  ASSERT_TRUE(heap.resize_in_place(s, 6 * kMiB - 5));
  EXPECT_EQ(s->bytes, 6 * kMiB);
  EXPECT_EQ(used(), 6 * kMiB);
  EXPECT_EQ(pagemap::find(s->end() - 1), s);
  EXPECT_TRUE(test::holds(s->start, 2 * kMiB, 1, 7 * kMiB));
  memset(s->start, 2, s->bytes);
  // The same number of pages: nothing to do.
  EXPECT_TRUE(heap.resize_in_place(s, 6 * kMiB - kPageSize + 1));
  EXPECT_EQ(s->bytes, 6 * kMiB);
  heap.free(s);
}

TEST_F(MHeapTest, DoesNotGrowIntoANeighbour) {
  Span* const s = heap.alloc_large(4 * kMiB, 16);
  ASSERT_NE(s, nullptr);
  ASSERT_TRUE(heap.resize_in_place(s, 2 * kMiB));
  // First fit: whatever takes the place behind ends the growth.
  std::vector<Span*> others;
  while (pagemap::lookup(s->end()) == &null_span) {
    others.push_back(heap.alloc_large(kMiB, 16));
    ASSERT_NE(others.back(), nullptr);
    ASSERT_LT(others.size(), 1000U);
  }
  EXPECT_FALSE(heap.resize_in_place(s, 3 * kMiB));
  EXPECT_EQ(s->bytes, 2 * kMiB);
  EXPECT_FALSE(heap.resize_in_place(s, size_t{1} << 40));
  for (Span* o : others) heap.free(o);
  heap.free(s);
}

TEST_F(MHeapTest, MovesAHugeBlockWithItsContents) {
  Span* const s = heap.alloc_huge(40 * kMiB, kPageSize);
  ASSERT_NE(s, nullptr);
  test::fill(s->start, s->bytes, 3);
  char* const old = s->start;
  auto* moved = static_cast<char*>(heap.remap_huge(s, 100 * kMiB));
  ASSERT_NE(moved, nullptr);
  EXPECT_EQ(s->start, moved);
  EXPECT_EQ(s->bytes, 100 * kMiB);
  EXPECT_EQ(used(), 100 * kMiB);
  EXPECT_TRUE(test::holds(moved, 40 * kMiB, 3));
  EXPECT_TRUE(test::is_zero(moved + 40 * kMiB, 60 * kMiB));
  EXPECT_EQ(pagemap::lookup(moved), s);
  if (old != moved) {
    EXPECT_EQ(pagemap::lookup(old), &null_span);
  }
  EXPECT_EQ(heap.find_huge(moved + 99 * kMiB), s);
  EXPECT_EQ(heap.remap_huge(s, PTRDIFF_MAX), nullptr);
  EXPECT_EQ(heap.remap_huge(s, size_t{1} << 50), nullptr);
  EXPECT_TRUE(test::holds(moved, 40 * kMiB, 3));
  heap.free(s);
}

TEST_F(MHeapTest, ShrinksAHugeBlockInPlace) {
  Span* const s = heap.alloc_huge(64 * kMiB, kPageSize);
  ASSERT_NE(s, nullptr);
  test::fill(s->start, s->bytes, 4);
  ASSERT_TRUE(heap.resize_in_place(s, kMiB));
  EXPECT_EQ(s->bytes, kMiB);
  EXPECT_EQ(used(), kMiB);
  EXPECT_TRUE(test::holds(s->start, kMiB, 4, 64 * kMiB));
  heap.free(s);
}

TEST_F(MHeapTest, PurgeGivesPagesBackAndTheyReadAsZero) {
  Span* s = heap.alloc_large(4 * kMiB, 16);
  ASSERT_NE(s, nullptr);
  char* const start = s->start;
  memset(start, 0xff, 4 * kMiB);
  heap.purge(SIZE_MAX);
  EXPECT_EQ(heap.dirty_pages(), 0U);
  heap.free(s);
  EXPECT_EQ(heap.dirty_pages(), 4 * kMiB / kPageSize);
  const uint64_t returned = counters->returned_bytes.load();
  EXPECT_EQ(heap.purge(10), 10U);
  EXPECT_EQ(heap.dirty_pages(), 4 * kMiB / kPageSize - 10);
  EXPECT_EQ(heap.purge(SIZE_MAX), 4 * kMiB / kPageSize - 10);
  EXPECT_EQ(heap.dirty_pages(), 0U);
  EXPECT_EQ(counters->returned_bytes.load() - returned, 4 * kMiB);
  EXPECT_EQ(counters->free_bytes.load(), 0U);
  EXPECT_EQ(heap.purge(SIZE_MAX), 0U);
  s = heap.alloc_large(4 * kMiB, 16);
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(s->start, start);  // first fit
  EXPECT_FALSE(s->needs_zero);
  for (size_t i = 0; i < 4 * kMiB; i += 8) ASSERT_EQ(*reinterpret_cast<uint64_t*>(s->start + i), 0U);
  heap.free(s);
}

TEST_F(MHeapTest, PurgeLeavesPagesInUseAlone) {
  std::vector<Span*> spans;
  for (uint64_t i = 0; i < 64; ++i) {
    spans.push_back(heap.alloc_large(kMaxSmallSize + 1, 16));
    ASSERT_NE(spans.back(), nullptr);
    test::fill(spans.back()->start, spans.back()->bytes, i);
  }
  for (size_t i = 0; i < 64; i += 2) heap.free(spans[i]);
  EXPECT_GT(heap.purge(SIZE_MAX), 0U);
  for (size_t i = 1; i < 64; i += 2) {
    EXPECT_TRUE(test::holds(spans[i]->start, spans[i]->bytes, i));
    heap.free(spans[i]);
  }
}

TEST_F(MHeapTest, RemembersWhatWasFreedLately) {
  Span* const s = heap.alloc_large(100'000, 16);
  ASSERT_NE(s, nullptr);
  char* const p = s->start;
  size_t size = 99;
  EXPECT_FALSE(heap.was_freed_lately(p + 99'999, &size) && size == 0 && pagemap::lookup(p) == &null_span);
  heap.free(s);
  EXPECT_TRUE(heap.was_freed_lately(p + 99'999, &size));
  EXPECT_EQ(size, 0U);
  PageCache cache;
  Span* const small = heap.alloc_small(5, cache);
  ASSERT_NE(small, nullptr);
  char* const q = small->start;
  heap.free(small);
  heap.flush(cache);
  EXPECT_TRUE(heap.was_freed_lately(q, &size));
  EXPECT_EQ(size, class_size(5));
}

TEST_F(MHeapTest, VisitsEachSpanOnce) {
  PageCache cache;
  std::set<Span*> mine;
  for (unsigned c = 0; c < kSizeClasses; c += 7) {
    Span* const s = heap.alloc_small(c, cache);
    ASSERT_NE(s, nullptr);
    ASSERT_TRUE(s->carve());
    mine.insert(s);
  }
  for (const size_t bytes : {size_t{40'000}, 5 * kMiB, 40 * kMiB}) mine.insert(heap.alloc_large(bytes, 16));
  ASSERT_EQ(mine.count(nullptr), 0U);
  std::set<Span*> seen;
  heap.each_span([&](Span* s) { EXPECT_TRUE(seen.insert(s).second); });
  for (Span* s : mine) EXPECT_EQ(seen.count(s), 1U);
  for (Span* s : mine) heap.free(s);
  heap.flush(cache);
}

TEST_F(MHeapTest, VisitsHugeBlocksInTheHolesOfArenasOnce) {
  // Addresses that the heap gave up lie between pages of its own; the kernel may put a huge block there, or go elsewhere with all of them.
  Span* const s = heap.alloc_large(100'000, 16);
  ASSERT_NE(s, nullptr);
  heap.release_free_addresses(0);
  heap.verify();
  std::vector<Span*> spans;
  do {
    spans.push_back(heap.alloc_huge(kMiB, 16));
    ASSERT_NE(spans.back(), nullptr);
  } while (pagemap::arena_of(spans.back()->start) == nullptr && spans.size() < 1000);
  std::map<Span*, int> seen;
  heap.each_span([&](Span* span) { ++seen[span]; });
  EXPECT_EQ(seen[s], 1);
  for (Span* huge : spans) {
    EXPECT_EQ(seen[huge], 1);
    heap.free(huge);
  }
  heap.free(s);
}

TEST_F(MHeapTest, UsesNewAddressesAfterItGaveUpTheFreeOnes) {
  const uint64_t arenas = test::arena_bytes();
  heap.release_free_addresses(0);
  EXPECT_LT(test::arena_bytes(), arenas);
  EXPECT_EQ(heap.dirty_pages(), 0U);
  heap.verify();
  std::vector<Span*> spans;
  for (uint64_t i = 0; i < 200; ++i) {
    spans.push_back(heap.alloc_large(kMiB, 16));
    ASSERT_NE(spans.back(), nullptr);
    test::fill(spans.back()->start, kMiB, i);
  }
  heap.release_free_addresses(0);
  heap.verify();
  for (uint64_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(test::holds(spans[i]->start, kMiB, i));
    heap.free(spans[i]);
  }
  heap.release_free_addresses(0);
  EXPECT_LE(test::arena_bytes(), 2 * kArenaBytes);
}

TEST_F(MHeapTest, NeverNeedsZeroWhereThereIsNoZero) {
  // The law behind calloc: a span that says its pages read as zero is right. Small spans are touched in part.
  test::Random random;
  PageCache cache;
  std::vector<Span*> spans;
  for (size_t step = 0; step < test::rounds(4000); ++step) {
    if (!spans.empty() && (spans.size() > 60 || random.one_in(2))) {
      const size_t i = random.below(spans.size());
      heap.free(spans[i]);
      spans[i] = spans.back();
      spans.pop_back();
    } else if (random.one_in(2)) {
      Span* const s = heap.alloc_small(static_cast<unsigned>(random.below(kSizeClasses)), cache);
      ASSERT_NE(s, nullptr);
      spans.push_back(s);
      for (size_t n = random.below(8); n != 0 && s->carve();) {
        for (void* p; n != 0 && (p = pop(s)) != nullptr; --n) memset(p, 0xee, s->size);
      }
    } else {
      Span* const s = heap.alloc_large(kMaxSmallSize + random.size_up_to(kMiB), size_t{16} << random.below(14));
      ASSERT_NE(s, nullptr);
      spans.push_back(s);
      if (!s->needs_zero) {
        for (size_t i = 0; i < s->bytes; i += 8) ASSERT_EQ(*reinterpret_cast<uint64_t*>(s->start + i), 0U);
      }
      memset(s->start, 0xee, random.below(s->bytes + 1));
      if (random.one_in(3)) {
        EXPECT_TRUE(heap.resize_in_place(s, random.between(kMaxSmallSize + 1, s->bytes)));
      }
    }
    if (random.one_in(20)) heap.purge(random.size_up_to(2000));
    if (random.one_in(20)) heap.flush(cache);
    if (random.one_in(100)) heap.verify();
  }
  for (Span* s : spans) heap.free(s);
  heap.flush(cache);
}

// ---- beside a reader

class Pinned {
 public:
  Pinned() { heap.pin_addresses(&observer_); }
  ~Pinned() { heap.unpin_addresses(); }
  std::vector<std::pair<const char*, size_t>> gone;
  std::vector<const Span*> grown;

 private:
  HeapObserver observer_ = {
      [](void* arg, const char* start, size_t bytes) { static_cast<Pinned*>(arg)->gone.emplace_back(start, bytes); },
      [](void* arg, const Span* s) { static_cast<Pinned*>(arg)->grown.push_back(s); }, this};
};

TEST_F(MHeapTest, AFreedHugeBlockStaysReadableWhileAddressesArePinned) {
  Span* const s = heap.alloc_huge(40 * kMiB, kPageSize);
  ASSERT_NE(s, nullptr);
  char* const p = s->start;
  memset(p, 1, 40 * kMiB);
  {
    const Pinned pinned;
    heap.free(s);
    EXPECT_TRUE(test::is_zero(p, 40 * kMiB)) << "its memory is given back";
    ASSERT_EQ(pinned.gone.size(), 1U);
    EXPECT_EQ(pinned.gone[0], std::make_pair(static_cast<const char*>(p), 40 * kMiB));
    EXPECT_EQ(pagemap::lookup(p), &null_span);
    EXPECT_EQ(heap.find_huge(p), nullptr);
  }
  unsigned char resident;
  EXPECT_EQ(mincore(p, os::page_size(), &resident), -1) << "and its addresses afterwards";
}

TEST_F(MHeapTest, AHugeBlockNeitherMovesNorShrinksWhileAddressesArePinned) {
  Span* const s = heap.alloc_huge(40 * kMiB, kPageSize);
  ASSERT_NE(s, nullptr);
  {
    const Pinned pinned;
    EXPECT_EQ(heap.remap_huge(s, 100 * kMiB), nullptr);
    EXPECT_TRUE(heap.resize_in_place(s, 20 * kMiB));
    EXPECT_EQ(s->bytes, 40 * kMiB);
    s->start[39 * kMiB] = 1;
  }
  EXPECT_TRUE(heap.resize_in_place(s, 20 * kMiB));
  EXPECT_EQ(s->bytes, 20 * kMiB);
  heap.free(s);
}

TEST_F(MHeapTest, TellsWhatIsGoneAndWhatHasGrown) {
  Span* const s = heap.alloc_large(80 * kPageSize, 16);
  ASSERT_NE(s, nullptr);
  Pinned pinned;
  ASSERT_TRUE(heap.resize_in_place(s, 40 * kPageSize));
  ASSERT_EQ(pinned.gone.size(), 1U);
  EXPECT_EQ(pinned.gone[0], std::make_pair(static_cast<const char*>(s->start + 40 * kPageSize), 40 * kPageSize));
  ASSERT_TRUE(heap.resize_in_place(s, 60 * kPageSize));
  ASSERT_EQ(pinned.grown.size(), 1U);
  EXPECT_EQ(pinned.grown[0], s);
  const char* const start = s->start;
  heap.free(s);
  ASSERT_EQ(pinned.gone.size(), 2U);
  EXPECT_EQ(pinned.gone[1], std::make_pair(start, 60 * kPageSize));
}

}  // namespace
}  // namespace tri
