// size_class_test.cc - The laws of alloc/size_class.h, for every size.
#include "alloc/size_class.h"

#include <gtest/gtest.h>

#include "alloc/mcache.h"

namespace tri {
namespace {

TEST(SizeClass, HoldsEverySizeAndNoClassBelowDoes) {
  for (size_t n = 0; n <= kMaxSmallSize; ++n) {
    const unsigned c = size_class(n);
    ASSERT_LT(c, kSizeClasses) << n;
    ASSERT_GE(class_size(c), n);
    if (c != 0) {
      ASSERT_LT(class_size(c - 1), n);
    }
  }
}

TEST(SizeClass, GrowsWithTheSize) {
  for (size_t n = 1; n <= kMaxSmallSize; ++n) ASSERT_LE(size_class(n - 1), size_class(n));
}

TEST(SizeClass, IsAMultipleOfSixteen) {
  for (unsigned c = 0; c < kSizeClasses; ++c) EXPECT_EQ(class_size(c) % 16, 0U);
  EXPECT_EQ(class_size(0), 16U);
  EXPECT_EQ(class_size(kSizeClasses - 1), kMaxSmallSize);
}

TEST(SizeClass, WastesAtMostAnEighthOrFifteenBytes) {
  for (size_t n = 1; n <= kMaxSmallSize; ++n) {
    const size_t waste = class_size(size_class(n)) - n;
    ASSERT_TRUE(waste < 16 || waste * 8 <= class_size(size_class(n))) << n;
  }
}

TEST(SizeClass, HasEachPowerOfTwo) {
  for (size_t n = 16; n <= kMaxSmallSize; n *= 2) EXPECT_EQ(class_size(size_class(n)), n);
}

TEST(SizeClass, SpansHoldAtLeastTwoBlocks) {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    EXPECT_GE(class_capacity(c), 2U);
    EXPECT_LE(class_capacity(c) * class_size(c), class_span_pages(c) * kPageSize);
    EXPECT_LT(class_span_pages(c) * kPageSize - class_capacity(c) * class_size(c), class_size(c));
  }
}

TEST(SizeClass, AlignedIsTheSmallestClassWhoseSizeIsAMultiple) {
  for (size_t alignment = 1; alignment <= kPageSize; alignment *= 2) {
    for (size_t n = 0; n <= kMaxSmallSize; ++n) {
      unsigned want = size_class(n);
      while (want < kSizeClasses && class_size(want) % alignment != 0) ++want;
      ASSERT_EQ(aligned_size_class(n, alignment), want) << n << " aligned to " << alignment;
    }
  }
}

TEST(SizeClass, AlignedHasNoneAboveTheLargest) {
  EXPECT_EQ(aligned_size_class(kMaxSmallSize + 1, 16), kSizeClasses);
  EXPECT_EQ(aligned_size_class(kMaxSmallSize - 1, kPageSize), kSizeClasses - 1);
}

TEST(SizeClass, DirectTableHasAnEntryForEachStep) {
  for (size_t n = 0; n <= kMaxDirectSize; ++n) {
    ASSERT_LT(direct_index(n), kDirectEntries);
    // All sizes of an entry are of one class.
    ASSERT_EQ(size_class(direct_index(n) * 16), n == 0 ? 0 : size_class(n));
  }
}

}  // namespace
}  // namespace tri
