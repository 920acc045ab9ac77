// api_sized_test.cc - The names that glibc lacks: C23's sized frees, BSD's reallocf and malloc_good_size, jemalloc's
// nallocx and sdallocx. Programs find them by configure checks or dlsym and then rely on them.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cerrno>
#include <cstdlib>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

using FreeSized = void(void*, size_t);
using FreeAlignedSized = void(void*, size_t, size_t);
using Reallocf = void*(void*, size_t);
using GoodSize = size_t(size_t);
using Nallocx = size_t(size_t, int);
using Sdallocx = void(void*, size_t, int);

int log2_of(size_t power) { return __builtin_ctzl(power); }

TEST(ApiSized, FreeSizedTakesTheSizeThatWasAskedFor) {
  auto* free_sized = exported<FreeSized>("free_sized");
  ASSERT_NE(free_sized, nullptr);
  errno = 77;
  free_sized(nullptr, 0);
  free_sized(nullptr, 100);
  for (size_t n : interesting_sizes()) {
    free_sized(malloc(n), n);
    free_sized(calloc(1, n), n);
    free_sized(realloc(malloc(5), n + 1), n + 1);
    if (n % 4 == 0) free_sized(calloc(n / 4, 4), n);
  }
  EXPECT_EQ(errno, 77);
}

TEST(ApiSized, FreeSizedTakesTheUsableSizeToo) {
  // C23 only promises the requested size; allocators that tell the usable size accept that one back as well.
  auto* free_sized = exported<FreeSized>("free_sized");
  ASSERT_NE(free_sized, nullptr);
  for (size_t n : interesting_sizes()) {
    void* p = malloc(n);
    free_sized(p, malloc_usable_size(p));
  }
}

TEST(ApiSized, FreeAlignedSizedTakesAlignmentAndSize) {
  auto* free_aligned_sized = exported<FreeAlignedSized>("free_aligned_sized");
  ASSERT_NE(free_aligned_sized, nullptr);
  free_aligned_sized(nullptr, 64, 100);
  for (size_t alignment = 16; alignment <= (4u << 20); alignment *= 2)
    for (size_t n : interesting_sizes())
      free_aligned_sized(aligned_alloc(alignment, n), alignment, n);
}

TEST(ApiSized, ReallocfResizesLikeRealloc) {
  auto* reallocf = exported<Reallocf>("reallocf");
  ASSERT_NE(reallocf, nullptr);
  void* p = reallocf(nullptr, 100);
  fill(p, 100, 5);
  p = reallocf(p, 100000);
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(holds(p, 100, 5));
  free(p);
}

TEST(ApiSized, ReallocfFreesTheBlockWhenItFails) {
  auto* reallocf = exported<Reallocf>("reallocf");
  ASSERT_NE(reallocf, nullptr);
  size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  for (int i = 0; i < 100; ++i) {
    void* p = opaque(malloc(1u << 20));
    errno = 0;
    EXPECT_EQ(reallocf(p, opaque(SIZE_MAX - 100)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
  }
  EXPECT_LT(mallinfo2().uordblks + mallinfo2().hblkhd, before + (4u << 20));
}

TEST(ApiSized, GoodSizeIsWhatMallocReallyGives) {
  auto* good = exported<GoodSize>("malloc_good_size");
  ASSERT_NE(good, nullptr);
  for (size_t n = 1; n < (8u << 20); n += 1 + n / 17) {
    size_t size = good(n);
    ASSERT_GE(size, n);
    ASSERT_EQ(good(size), size) << n;
    void* p = malloc(n);
    ASSERT_EQ(malloc_usable_size(p), size) << n;
    free(p);
  }
}

TEST(ApiSized, GoodSizeOfTheImpossibleDoesNotWrap) {
  auto* good = exported<GoodSize>("malloc_good_size");
  ASSERT_NE(good, nullptr);
  for (size_t n : {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 8191, size_t{PTRDIFF_MAX} + 1})
    EXPECT_TRUE(good(opaque(n)) >= n || good(opaque(n)) == 0) << n;
}

TEST(ApiSized, NallocxForetellsTheSize) {
  auto* nallocx = exported<Nallocx>("nallocx");
  ASSERT_NE(nallocx, nullptr);
  for (size_t n = 1; n < (8u << 20); n += 1 + n / 13) {
    ASSERT_GE(nallocx(n, 0), n);
    void* p = malloc(n);
    ASSERT_EQ(malloc_usable_size(p), nallocx(n, 0)) << n;
    free(p);
    for (size_t alignment : {32u, 64u, 4096u}) ASSERT_GE(nallocx(n, log2_of(alignment)), n);
  }
}

TEST(ApiSized, NallocxAnswersZeroForTheImpossible) {
  auto* nallocx = exported<Nallocx>("nallocx");
  ASSERT_NE(nallocx, nullptr);
  EXPECT_EQ(nallocx(opaque(SIZE_MAX), 0), 0u);
  EXPECT_EQ(nallocx(opaque(size_t{PTRDIFF_MAX} + 1), 0), 0u);
}

TEST(ApiSized, SdallocxFreesWithSizeAndAlignment) {
  auto* sdallocx = exported<Sdallocx>("sdallocx");
  ASSERT_NE(sdallocx, nullptr);
  for (size_t n : interesting_sizes()) {
    if (n == 0) continue;
    sdallocx(malloc(n), n, 0);
    for (size_t alignment : {16u, 64u, 256u, 4096u, 65536u})
      sdallocx(aligned_alloc(alignment, n), n, log2_of(alignment));
  }
}

}  // namespace
}  // namespace tri_test
