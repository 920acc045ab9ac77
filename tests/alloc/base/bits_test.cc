// bits_test.cc - Tests of alloc/base/bits.h.
#include "alloc/base/bits.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace tri {
namespace {

TEST(Bits, KnowsThePowersOfTwo) {
  EXPECT_FALSE(is_power_of_two(0));
  size_t found = 0;
  for (size_t n = 1; n <= 1 << 16; ++n) found += is_power_of_two(n) ? 1U : 0U;
  EXPECT_EQ(found, 17U);
  for (unsigned i = 0; i < 64; ++i) EXPECT_TRUE(is_power_of_two(size_t{1} << i));
  for (unsigned i = 2; i < 64; ++i) EXPECT_FALSE(is_power_of_two((size_t{1} << i) - 1));
}

TEST(Bits, RoundsToTheNextMultipleAndNoFurther) {
  for (size_t alignment = 1; alignment <= 1 << 14; alignment *= 2) {
    for (size_t n = 0; n < 3 * alignment && n < 5000; ++n) {
      const size_t up = align_up(n, alignment);
      const size_t down = align_down(n, alignment);
      ASSERT_EQ(up % alignment, 0U);
      ASSERT_EQ(down % alignment, 0U);
      ASSERT_GE(up, n);
      ASSERT_LT(up - n, alignment);
      ASSERT_LE(down, n);
      ASSERT_LT(n - down, alignment);
      ASSERT_EQ(is_aligned(n, alignment), up == n);
      ASSERT_EQ(is_aligned(n, alignment), down == n);
    }
  }
}

TEST(Bits, RoundsPointersAsNumbers) {
  char* const p = reinterpret_cast<char*>(0x7f0000001001);
  EXPECT_EQ(align_up(p, 1), p);
  EXPECT_EQ(align_up(p, 4096), reinterpret_cast<char*>(0x7f0000002000));
  EXPECT_EQ(align_up(align_up(p, 4096), 4096), reinterpret_cast<char*>(0x7f0000002000));
}

TEST(Bits, DividesAndRoundsUp) {
  for (size_t d = 1; d < 40; ++d) {
    for (size_t n = 0; n < 200; ++n) {
      const size_t q = ceil_div(n, d);
      ASSERT_GE(q * d, n);
      ASSERT_TRUE(q == 0 || (q - 1) * d < n);
    }
  }
}

TEST(Bits, FindsTheHighestBit) {
  for (unsigned i = 0; i < 64; ++i) {
    const size_t power = size_t{1} << i;
    EXPECT_EQ(log2_floor(power), i);
    EXPECT_EQ(log2_floor(power | (power - 1)), i);
  }
}

TEST(Bits, MixesLikeSplitMix64) {
  // The first numbers of the published generator with seed 0.
  EXPECT_EQ(mix(0), 0xe220a8397b1dcdafU);
  EXPECT_EQ(mix(0x9e3779b97f4a7c15), 0x6e789e6aa1b965f4U);
}

TEST(Bits, MixingMapsNoTwoNumbersToOne) {
  std::unordered_set<uint64_t> seen;
  for (uint64_t i = 0; i < 100'000; ++i) ASSERT_TRUE(seen.insert(mix(i)).second);
}

TEST(Bits, MixingSpreadsEachBitOverAll) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    unsigned flipped = 0;
    for (uint64_t i = 0; i < 256; ++i) {
      flipped += static_cast<unsigned>(std::popcount(mix(i) ^ mix(i ^ uint64_t{1} << bit)));
    }
    // 32 of 64 on average; the mean of 256 is within 1 of it but for one chance in a billion.
    EXPECT_NEAR(flipped / 256.0, 32, 2);
  }
}

}  // namespace
}  // namespace tri
