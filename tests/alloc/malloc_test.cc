// malloc_test.cc - Tests of the interface in alloc/malloc.h: sizes, alignments, moving, questions.
#include "alloc/malloc.h"

#include <sys/mman.h>

#include <set>

#include "alloc/persistent.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;

// Around each boundary that the allocator knows.
const std::vector<size_t>& sizes() {
  static const std::vector<size_t> all = [] {
    std::set<size_t> out{0};
    for (const size_t n :
         {size_t{1}, size_t{8}, size_t{16}, size_t{100}, size_t{128}, kMaxDirectSize, kPageSize, kMaxSmallSize,
          size_t{100'000}, LargeCache::kMaxBlockBytes, 3 * kMiB, kMinHugeSize, kArenaBytes}) {
      for (const size_t size : {n - 1, n, n + 1}) out.insert(size);
    }
    return std::vector<size_t>(out.begin(), out.end());
  }();
  return all;
}

const size_t kTooLarge[] = {
    SIZE_MAX,    SIZE_MAX - 1,     SIZE_MAX - 4095,         SIZE_MAX - kPageSize, size_t{PTRDIFF_MAX} + 1,
    PTRDIFF_MAX, PTRDIFF_MAX - 15, PTRDIFF_MAX - kPageSize, size_t{1} << 62,      size_t{1} << 48};

class MallocTest : public ::testing::Test {
 protected:
  void SetUp() override { test::warm_up(); }
  void TearDown() override {
    test::drop_caches();
    current_mcache()->verify();
    heap.verify();
  }
};

// ---- allocate ---------------------------------------------------------------------------------

TEST_F(MallocTest, GivesBlocksOfAnySize) {
  for (const size_t n : sizes()) {
    void* const p = allocate(n);
    ASSERT_NE(p, nullptr) << n;
    EXPECT_TRUE(test::aligned_to(p, 16));
    EXPECT_GE(usable_size(p), n);
    EXPECT_EQ(usable_size(p), good_size(n)) << n;
    const size_t all = usable_size(p);
    test::fill(p, all, n);
    EXPECT_TRUE(test::holds(p, all, n));
    deallocate(p);
    test::drop_caches();
  }
}

TEST_F(MallocTest, GivesAUniqueBlockForNothing) {
  void* const a = allocate(0);
  void* const b = allocate(0);
  EXPECT_NE(a, nullptr);
  EXPECT_NE(a, b);
  EXPECT_GE(usable_size(a), 1U);
  deallocate(a);
  deallocate(b);
}

TEST_F(MallocTest, IsNullWhereNobodyHasThatMuch) {
  for (const size_t n : kTooLarge) {
    EXPECT_EQ(allocate(n), nullptr) << n;
    EXPECT_EQ(allocate_zeroed(n), nullptr) << n;
    EXPECT_EQ(allocate_aligned(n, 64), nullptr) << n;
    EXPECT_EQ(allocate_aligned(n, size_t{1} << 30), nullptr) << n;
  }
  EXPECT_EQ(good_size(SIZE_MAX), 0U);
  EXPECT_EQ(good_size(PTRDIFF_MAX), 0U);
}

TEST_F(MallocTest, IsNullForAlignmentsThatNobodyHas) {
  for (size_t alignment = size_t{1} << 47; alignment != 0; alignment *= 2) {
    for (const size_t n : {size_t{1}, kMaxSmallSize, 10 * kMiB, size_t{1} << 62}) {
      EXPECT_EQ(allocate_aligned(n, alignment), nullptr) << n << " at " << alignment;
    }
  }
}

TEST_F(MallocTest, AlignsOverTheWholeGrid) {
  for (size_t alignment = 1; alignment <= 256 * kMiB; alignment *= 2) {
    for (const size_t n : sizes()) {
      if (n > 4 * kMiB && alignment < kPageSize / 2) continue;  // once is enough for the costly ones
      void* const p = allocate_aligned(n, alignment);
      ASSERT_NE(p, nullptr) << n << " at " << alignment;
      ASSERT_TRUE(test::aligned_to(p, alignment < 16 ? 16 : alignment)) << n << " at " << alignment;
      ASSERT_GE(usable_size(p), n);
      test::fill(p, n, alignment);
      ASSERT_TRUE(test::holds(p, n, alignment));
      if (n % 2 == 0) {
        deallocate(p);
      } else {
        deallocate_aligned_sized(p, n, alignment);
      }
    }
    test::drop_caches();
  }
}

TEST_F(MallocTest, AlignedBlocksAreDisjoint) {
  for (size_t alignment = 32; alignment <= 65536; alignment *= 2) {
    std::vector<void*> blocks;
    for (uint64_t i = 0; i < 64; ++i) {
      blocks.push_back(allocate_aligned(100, alignment));
      test::fill(blocks[i], usable_size(blocks[i]), i);
    }
    for (uint64_t i = 0; i < 64; ++i) {
      ASSERT_TRUE(test::holds(blocks[i], usable_size(blocks[i]), i));
      deallocate(blocks[i]);
    }
  }
}

TEST_F(MallocTest, ZeroedIsZeroAlsoWhereItWasUsed) {
  for (int round = 0; round < 3; ++round) {
    for (const size_t n : sizes()) {
      void* const p = allocate_zeroed(n);
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(test::is_zero(p, n)) << n;
      if (n < 4 * kMiB) memset(p, 0xff, usable_size(p));
      deallocate(p);
    }
  }
}

TEST_F(MallocTest, RequestsThatNobodyCanFulfilDoNotUseUpTheHeap) {
  // A program may ask for too much again and again, and keep a little each time: as much as it keeps is used, no more.
  std::vector<void*> blocks;
  const auto once = [&] {
    EXPECT_EQ(allocate(size_t{1} << 48), nullptr);
    EXPECT_EQ(allocate_aligned(100, size_t{1} << 48), nullptr);
    blocks.push_back(allocate(50'000));
    test::drop_caches();
  };
  for (int i = 0; i < 10; ++i) once();
  const size_t metadata = persistent::mapped_bytes();
  for (int i = 0; i < 300; ++i) once();
  EXPECT_LE(persistent::mapped_bytes() - metadata, size_t{256} * 1024);
  EXPECT_LE(test::arena_bytes(), 4 * kArenaBytes);
  for (void* p : blocks) deallocate(p);
}

// ---- deallocate -------------------------------------------------------------------------------

TEST_F(MallocTest, SizedFreeTakesEachSizeOfAClass) {
  for (size_t n = 0; n <= kMaxSmallSize; n += n < 2048 ? 1 : 37) {
    void* const p = allocate(n);
    deallocate_sized(p, n);
  }
  for (const size_t n : sizes()) deallocate_sized(allocate(n), n);
  for (size_t alignment = 1; alignment <= 4 * kPageSize; alignment *= 2) {
    for (size_t n = 0; n <= kMaxSmallSize; n += 509) {
      deallocate_aligned_sized(allocate_aligned(n, alignment), n, alignment);
    }
  }
}

TEST_F(MallocTest, SizedFreeFitsWhatReallocMade) {
  void* p = allocate(100);
  for (const size_t n :
       {size_t{5000}, size_t{60'000}, size_t{50'000}, 20 * kMiB, 2 * kMiB, size_t{40'000}, size_t{10}}) {
    p = reallocate(p, n);
    ASSERT_NE(p, nullptr);
    void* const q = allocate(1);
    deallocate_sized(p, n);
    p = q;
  }
  deallocate_sized(p, 10);
}

TEST_F(MallocTest, NothingIsLeftAfterAllIsFreed) {
  const uint64_t before = test::used_bytes();
  std::vector<void*> blocks;
  for (const size_t n : sizes()) blocks.push_back(allocate(n));
  for (void* p : blocks) deallocate(p);
  test::drop_caches();
  // The current span of each class touched stays.
  EXPECT_LE(test::used_bytes() - before, sizes().size() * 256 * 1024);
  EXPECT_EQ(counters->huge_bytes.load(), 0U);
}

// ---- reallocate -------------------------------------------------------------------------------

TEST_F(MallocTest, ReallocateKeepsContentsBetweenAnyTwoSizes) {
  for (const size_t from : sizes()) {
    for (const size_t to : sizes()) {
      if (from > 2 * kMiB && to > 2 * kMiB && (from + to) % 3 != 0) continue;  // a third of the costly ones
      void* const p = allocate(from);
      ASSERT_NE(p, nullptr);
      test::fill(p, from, from);
      void* const q = reallocate(p, to);
      ASSERT_NE(q, nullptr) << from << " to " << to;
      ASSERT_TRUE(test::holds(q, from < to ? from : to, from, from)) << from << " to " << to;
      ASSERT_GE(usable_size(q), to);
      ASSERT_TRUE(test::aligned_to(q, 16));
      test::fill(q, to, to);
      ASSERT_TRUE(test::holds(q, to, to));
      deallocate(q);
    }
    test::drop_caches();
  }
}

TEST_F(MallocTest, ReallocateWithinAClassStays) {
  void* const p = allocate(1000);
  EXPECT_EQ(reallocate(p, 1024), p);
  EXPECT_EQ(reallocate(p, 961), p);
  void* const q = reallocate(p, 900);
  EXPECT_EQ(usable_size(q), good_size(900));
  deallocate(q);
}

TEST_F(MallocTest, ReallocateOfALargeBlockShrinksInPlace) {
  void* const p = allocate(3 * kMiB);
  EXPECT_EQ(reallocate(p, kMiB), p);
  EXPECT_EQ(usable_size(p), kMiB);
  EXPECT_EQ(reallocate(p, kMiB + 1), p);  // there is room behind it now
  deallocate(p);
}

TEST_F(MallocTest, ReallocateThatFailsLeavesTheBlockAlone) {
  for (const size_t from : {size_t{10}, size_t{5000}, size_t{100'000}, 3 * kMiB, 40 * kMiB}) {
    void* const p = allocate(from);
    const size_t usable = usable_size(p);
    test::fill(p, from, from);
    for (const size_t n : kTooLarge) {
      ASSERT_EQ(reallocate(p, n), nullptr) << from << " to " << n;
      ASSERT_TRUE(test::holds(p, from, from));
      ASSERT_EQ(usable_size(p), usable);
    }
    EXPECT_FALSE(resize_in_place(p, SIZE_MAX));
    EXPECT_FALSE(resize_in_place(p, PTRDIFF_MAX));
    deallocate(p);
  }
}

TEST_F(MallocTest, ABlockThatGrowsByBitsIsSeldomMoved) {
  // A mapping of its own is never copied; so 64 MiB by steps of 64 KiB takes few moves.
  void* p = allocate(kMiB);
  size_t moves = 0;
  for (size_t n = kMiB; n <= 64 * kMiB; n += 65536) {
    test::fill(p, n - 65536 < kMiB ? kMiB : n - 65536, n);
    void* const q = reallocate(p, n);
    ASSERT_NE(q, nullptr);
    ASSERT_TRUE(test::holds(q, kMiB, n, n));
    moves += q != p ? 1U : 0U;
    p = q;
  }
  EXPECT_LE(moves, 1000U);
  deallocate(p);
}

// ---- resize_in_place --------------------------------------------------------------------------

TEST_F(MallocTest, ResizesInPlaceWithinAClassOnly) {
  void* const p = allocate(1000);
  EXPECT_TRUE(resize_in_place(p, 1024));
  EXPECT_TRUE(resize_in_place(p, 961));
  EXPECT_FALSE(resize_in_place(p, 960));
  EXPECT_FALSE(resize_in_place(p, 1025));
  EXPECT_FALSE(resize_in_place(p, 100'000));
  EXPECT_FALSE(resize_in_place(test::at(p, 16), 1000));
  EXPECT_EQ(usable_size(p), 1024U);
  deallocate(p);
}

TEST_F(MallocTest, ResizesLargeBlocksInPlaceWhereThereIsRoom) {
  for (const size_t from : {2 * kMiB, 40 * kMiB}) {
    void* const p = allocate(from);
    test::fill(p, from, 7);
    EXPECT_TRUE(resize_in_place(p, from / 2));
    EXPECT_EQ(usable_size(p), from / 2);
    EXPECT_TRUE(test::holds(p, from / 2, 7, from));
    if (resize_in_place(p, from)) {
      EXPECT_EQ(usable_size(p), from);
      test::fill(p, from, 8);
      EXPECT_TRUE(test::holds(p, from, 8));
    }
    EXPECT_FALSE(resize_in_place(p, kMaxSmallSize));
    EXPECT_FALSE(resize_in_place(test::at(p, kPageSize), from));
    deallocate(p);
  }
  EXPECT_FALSE(resize_in_place(nullptr, 100));
  int on_stack = 0;
  EXPECT_FALSE(resize_in_place(&on_stack, 100));
}

// ---- questions --------------------------------------------------------------------------------

TEST_F(MallocTest, KnowsTheStartOfABlockFromEachOfItsBytes) {
  for (const size_t n : {size_t{1}, size_t{48}, size_t{1000}, size_t{24 * 1024}, kMaxSmallSize, size_t{100'000}}) {
    void* const p = allocate(n);
    for (size_t i = 0; i < usable_size(p); i += i < 2000 ? 1 : 61)
      ASSERT_EQ(block_start(test::at(p, i)), p) << n << " + " << i;
    EXPECT_EQ(block_start(test::at(p, usable_size(p) - 1)), p);
    deallocate(p);
  }
  EXPECT_EQ(block_start(nullptr), nullptr);
  int on_stack = 0;
  EXPECT_EQ(block_start(&on_stack), nullptr);
  EXPECT_EQ(block_start(reinterpret_cast<void*>(SIZE_MAX)), nullptr);
}

TEST_F(MallocTest, KnowsTheStartOfHugeBlocksThatTouch) {
  // Wherever the kernel puts them: a page of its own moves the next ones to the other half of our pages.
  for (int odd = 0; odd < 2; ++odd) {
    std::vector<void*> blocks;
    std::vector<void*> pages;
    for (int i = 0; i < 6; ++i) {
      if (odd != 0) pages.push_back(os::map(os::page_size(), os::page_size()));
      blocks.push_back(allocate(kMinHugeSize + static_cast<size_t>(i) * kPageSize));
    }
    for (void* p : blocks) {
      const size_t n = usable_size(p);
      for (const size_t i : {size_t{0}, size_t{4095}, size_t{4096}, size_t{8192}, n / 2, n - 8193, n - 8192, n - 4097,
                             n - 4096, n - 1}) {
        EXPECT_EQ(block_start(test::at(p, i)), p) << i << " of " << n;
      }
    }
    // Somebody else's page in front of a block is not part of it.
    for (void* page : pages) {
      EXPECT_EQ(block_start(page), nullptr);
      EXPECT_EQ(usable_size(page), 0U);
      os::unmap(page, os::page_size());
    }
    for (void* p : blocks) deallocate(p);
  }
}

TEST_F(MallocTest, UsableSizeIsOfTheStartOnly) {
  void* const p = allocate(100);
  EXPECT_EQ(usable_size(p), 112U);
  EXPECT_EQ(usable_size(test::at(p, 16)), 0U);
  EXPECT_EQ(usable_size(test::at(p, 1)), 0U);
  EXPECT_EQ(usable_size(nullptr), 0U);
  int on_stack = 0;
  EXPECT_EQ(usable_size(&on_stack), 0U);
  deallocate(p);
  void* const large = allocate(100'000);
  EXPECT_EQ(usable_size(large), 102'400U);
  EXPECT_EQ(usable_size(test::at(large, kPageSize)), 0U);
  deallocate(large);
}

TEST_F(MallocTest, UsableSizeMayBeUsed) {
  for (const size_t n : sizes()) {
    if (n > 4 * kMiB) continue;
    void* const p = allocate(n);
    memset(p, 0xff, usable_size(p));
    void* const q = allocate(n);
    memset(q, 0, usable_size(q));
    for (size_t i = 0; i < usable_size(p); ++i) ASSERT_EQ(static_cast<unsigned char*>(p)[i], 0xff);
    deallocate(q);
    deallocate(p);
  }
}

}  // namespace
}  // namespace tri
