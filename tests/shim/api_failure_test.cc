// api_failure_test.cc - What cannot be had is answered by null and ENOMEM, and free never touches errno.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

// Near both ends of what a size can say: all of the last 64 KiB below SIZE_MAX would wrap when a header, an
// alignment or a page is added; PTRDIFF_MAX is the largest object that C can subtract pointers in.
std::vector<size_t> impossible_sizes() {
  std::vector<size_t> sizes;
  for (size_t k = 0; k < 64; ++k) sizes.push_back(SIZE_MAX - k);
  for (size_t k = 64; k <= (1u << 28); k = k * 3 / 2) sizes.push_back(SIZE_MAX - k);
  for (size_t k = 0; k < 5000; k += 97) sizes.push_back(size_t{PTRDIFF_MAX} + k);
  for (size_t k = 0; k < 5000; k += 97) sizes.push_back(size_t{PTRDIFF_MAX} - k);
  for (int bit = 47; bit < 64; ++bit)
    for (size_t d : {size_t{0}, size_t{1}, ~size_t{0}}) sizes.push_back((size_t{1} << bit) + d);
  return sizes;
}

TEST(ApiFailure, EveryFunctionRefusesSizesThatCannotExist) {
  for (const auto& a : allocators()) {
    for (size_t n : impossible_sizes()) {
      if (n < (size_t{1} << 47)) continue;
      errno = 77;
      void* p = a.allocate(opaque(n));
      ASSERT_EQ(p, nullptr) << a.name << " of " << n;
      if (a.sets_errno) {
        ASSERT_EQ(errno, ENOMEM) << a.name << " of " << n;
      }
    }
  }
}

TEST(ApiFailure, AFailedReallocLeavesTheBlockAsItWas) {
  for (size_t from : interesting_sizes()) {
    void* p = malloc(from);
    fill(p, from, from);
    for (size_t n : impossible_sizes()) {
      if (n < (size_t{1} << 47)) continue;
      errno = 0;
      ASSERT_EQ(realloc(p, opaque(n)), nullptr) << from << " to " << n;
      ASSERT_EQ(errno, ENOMEM) << from << " to " << n;
    }
    ASSERT_TRUE(holds(p, from, from)) << from;
    free(p);
  }
}

TEST(ApiFailure, ProductsThatOverflowAreRefused) {
  const size_t half = SIZE_MAX / 2 + 1;
  struct {
    size_t a, b;
  } const products[] = {{half, 2},
                        {half + 8, 2},
                        {SIZE_MAX, SIZE_MAX},
                        {size_t{1} << 32, size_t{1} << 32},
                        {SIZE_MAX / 16 + 1, 16},
                        {SIZE_MAX / 3 + 2, 3},
                        {SIZE_MAX, 2},
                        {size_t{1} << 33, size_t{1} << 31},
                        {SIZE_MAX / 7 + 1, 7}};
  void* p = malloc(100);
  fill(p, 100, 1);
  for (auto x : products) {
    for (auto [a, b] : {std::pair{x.a, x.b}, std::pair{x.b, x.a}}) {
      errno = 0;
      EXPECT_EQ(calloc(opaque(a), opaque(b)), nullptr) << a << " * " << b;
      EXPECT_EQ(errno, ENOMEM);
      errno = 0;
      EXPECT_EQ(__libc_calloc(opaque(a), opaque(b)), nullptr) << a << " * " << b;
      EXPECT_EQ(errno, ENOMEM);
      errno = 0;
      EXPECT_EQ(reallocarray(nullptr, opaque(a), opaque(b)), nullptr) << a << " * " << b;
      EXPECT_EQ(errno, ENOMEM);
      errno = 0;
      EXPECT_EQ(reallocarray(p, opaque(a), opaque(b)), nullptr) << a << " * " << b;
      EXPECT_EQ(errno, ENOMEM);
    }
  }
  EXPECT_TRUE(holds(p, 100, 1));
  free(p);
}

TEST(ApiFailure, AlignedFunctionsRefuseSizesThatWrapWithTheirAlignment) {
  for (size_t alignment = 16; alignment <= (size_t{1} << 30); alignment *= 2) {
    for (size_t below = alignment > 20 ? alignment - 20 : 0; below < alignment + 20; ++below) {
      size_t size = SIZE_MAX - below;
      errno = 0;
      ASSERT_EQ(memalign(alignment, opaque(size)), nullptr) << alignment << " " << size;
      ASSERT_EQ(errno, ENOMEM);
      errno = 0;
      ASSERT_EQ(aligned_alloc(alignment, opaque(size)), nullptr) << alignment << " " << size;
      ASSERT_EQ(errno, ENOMEM);
    }
  }
}

TEST(ApiFailure, SuccessLeavesErrnoAlone) {
  for (const auto& a : allocators()) {
    for (size_t n : interesting_sizes()) {
      errno = 77;
      void* p = a.allocate(n);
      ASSERT_EQ(errno, 77) << a.name << " of " << n;
      free(p);
      ASSERT_EQ(errno, 77) << "free of " << n << " from " << a.name;
    }
  }
}

TEST(ApiFailure, FreeKeepsErrnoForEverySizeAndFunction) {
  auto* cfree = exported<void(void*)>("cfree");
  for (size_t n : {size_t{1}, size_t{100}, size_t{10000}, size_t{100000}, size_t{3} << 20,
                   size_t{200} << 20}) {
    for (int value : {0, 77, EINVAL}) {
      void* a = malloc(n);
      void* b = malloc(n);
      void* c = malloc(n);
      errno = value;
      free(a);
      EXPECT_EQ(errno, value) << n;
      cfree(b);
      EXPECT_EQ(errno, value) << n;
      ::operator delete(c);
      EXPECT_EQ(errno, value) << n;
    }
  }
}

TEST(ApiFailure, FreeKeepsErrnoWhenTheKernelRefusesToSplitAMapping) {
  // With every mapping that vm.max_map_count allows in use, unmapping the middle of a range fails; free must cope
  // and not show it. The mappings are made by turning every second page of a range read-only.
  constexpr size_t kBlock = 8u << 20;
  std::vector<void*> blocks;
  for (int i = 0; i < 24; ++i) {
    blocks.push_back(malloc(kBlock));
    memset(blocks.back(), 1, kBlock);
  }
  constexpr size_t kPages = 200000;
  char* range = static_cast<char*>(mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_NE(range, MAP_FAILED);
  size_t made = 0;
  while (made < kPages && mprotect(range + made * 4096, 4096, PROT_READ) == 0) made += 2;
  EXPECT_LT(made, kPages) << "the mapping count has no limit here: the test proves nothing";

  std::vector<int> wrong;
  for (size_t i = 0; i < blocks.size(); i += 2) {
    errno = 77;
    free(blocks[i]);
    if (errno != 77) wrong.push_back(errno);
  }
  errno = 77;
  void* small = malloc(100);
  bool small_works = small != nullptr && errno == 77;
  free(small);
  munmap(range, kPages * 4096);
  for (size_t i = 1; i < blocks.size(); i += 2) free(blocks[i]);
  EXPECT_TRUE(wrong.empty()) << "errno became " << wrong.front();
  EXPECT_TRUE(small_works);
}

}  // namespace
}  // namespace tri_test
