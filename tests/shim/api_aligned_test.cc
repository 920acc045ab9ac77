// api_aligned_test.cc - Alignment: every power of two up to 1 GiB, and what glibc does with the others.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

constexpr size_t kGiB = size_t{1} << 30;

// Sizes around an alignment; above 4 MiB only small ones, so that 1 GiB needs address space and not memory.
std::vector<size_t> sizes_for(size_t alignment) {
  std::vector<size_t> sizes = {0, 1, 15, 16, 17, 100, 4096, 40000};
  if (alignment <= (4u << 20))
    for (size_t n : {alignment - 1, alignment, alignment + 1, alignment * 3}) sizes.push_back(n);
  return sizes;
}

void check_block(void* p, size_t alignment, size_t size, const char* who) {
  ASSERT_NE(p, nullptr) << who << "(" << alignment << ", " << size << ")";
  ASSERT_TRUE(aligned_to(p, alignment))
      << who << "(" << alignment << ", " << size << ") gave " << p;
  ASSERT_GE(malloc_usable_size(p), size) << who << "(" << alignment << ", " << size << ")";
  auto* bytes = static_cast<char*>(p);
  if (size != 0) bytes[0] = bytes[size - 1] = 1;
}

TEST(ApiAligned, EveryPowerOfTwoUpToOneGibibyteIsHonoured) {
  for (size_t alignment = 1; alignment <= kGiB; alignment *= 2) {
    for (size_t size : sizes_for(alignment)) {
      void* a = memalign(alignment, size);
      check_block(a, alignment, size, "memalign");
      void* b = aligned_alloc(alignment, size);
      check_block(b, alignment, size, "aligned_alloc");
      void* d = ::operator new (size, std::align_val_t{alignment});
      check_block(d, alignment, size, "operator new");
      if (alignment >= sizeof(void*)) {
        void* c = nullptr;
        ASSERT_EQ(posix_memalign(&c, alignment, size), 0);
        check_block(c, alignment, size, "posix_memalign");
        free(c);
      }
      if (HasFatalFailure()) return;
      ::operator delete (d, std::align_val_t{alignment});
      free(b);
      free(a);
    }
  }
}

TEST(ApiAligned, ManyLiveBlocksOfOneAlignmentAreAllAligned) {
  for (size_t alignment :
       {32u, 64u, 128u, 256u, 512u, 1024u, 2048u, 4096u, 8192u, 16384u, 32768u, 65536u}) {
    for (size_t size :
         {size_t{1}, size_t{alignment} / 2, size_t{alignment}, size_t{alignment} + 1}) {
      std::vector<void*> blocks;
      for (int i = 0; i < 64; ++i) {
        blocks.push_back(aligned_alloc(alignment, size));
        ASSERT_TRUE(aligned_to(blocks.back(), alignment)) << alignment << " " << size;
        fill(blocks.back(), size, static_cast<uint64_t>(i));
      }
      for (size_t i = 0; i < blocks.size(); ++i) {
        ASSERT_TRUE(holds(blocks[i], size, i)) << alignment << " " << size;
        free(blocks[i]);
      }
    }
  }
}

TEST(ApiAligned, PosixMemalignRefusesAlignmentsThatAreNoPowerOfTwoOrTooSmall) {
  for (size_t bad : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{7}, size_t{24},
                     size_t{48}, size_t{4095}, size_t{4097}, SIZE_MAX}) {
    int marker = 0;
    void* p = &marker;
    errno = 77;
    EXPECT_EQ(posix_memalign(&p, opaque(bad), 100), EINVAL) << bad;
    EXPECT_EQ(p, &marker) << "the pointer was touched for alignment " << bad;
    EXPECT_EQ(errno, 77) << bad;
  }
}

TEST(ApiAligned, PosixMemalignOutOfMemoryReturnsTheErrorAndTouchesNothing) {
  int marker = 0;
  for (size_t size : {SIZE_MAX, SIZE_MAX - 64, size_t{PTRDIFF_MAX} + 1, size_t{1} << 47}) {
    for (size_t alignment : {size_t{8}, size_t{64}, size_t{4096}, size_t{1} << 30}) {
      void* p = &marker;
      errno = 77;
      EXPECT_EQ(posix_memalign(&p, alignment, opaque(size)), ENOMEM) << alignment << " " << size;
      EXPECT_EQ(p, &marker);
    }
  }
}

TEST(ApiAligned, AlignedAllocRoundsAnAlignmentThatIsNoPowerOfTwoUp) {
  struct {
    size_t asked, got;
  } const cases[] = {{0, 16},  {1, 16},  {3, 16},    {17, 32},    {24, 32},
                     {33, 64}, {48, 64}, {100, 128}, {4097, 8192}};
  for (auto c : cases) {
    for (size_t size : {1u, 24u, 100u, 5000u}) {
      std::vector<void*> blocks;
      for (int i = 0; i < 16; ++i) {
        void* p = aligned_alloc(opaque(c.asked), size);
        ASSERT_NE(p, nullptr) << c.asked;
        EXPECT_TRUE(aligned_to(p, c.got))
            << "aligned_alloc(" << c.asked << ", " << size << ") gave " << p;
        void* q = memalign(opaque(c.asked), size);
        ASSERT_NE(q, nullptr) << c.asked;
        EXPECT_TRUE(aligned_to(q, c.got))
            << "memalign(" << c.asked << ", " << size << ") gave " << q;
        blocks.push_back(p);
        blocks.push_back(q);
      }
      for (void* p : blocks) free(p);
    }
  }
}

TEST(ApiAligned, AlignedAllocTakesASizeThatIsNoMultipleOfTheAlignment) {
  void* p = aligned_alloc(64, opaque<size_t>(65));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(aligned_to(p, 64));
  free(p);
}

TEST(ApiAligned, AlignmentsBeyondTheAddressSpaceFailWithErrnoSet) {
  // Above half the address space no power of two is left to round up to: EINVAL; below it, no such address: ENOMEM.
  for (size_t alignment : {SIZE_MAX, SIZE_MAX / 2 + 2}) {
    errno = 0;
    EXPECT_EQ(memalign(opaque(alignment), 1), nullptr) << alignment;
    EXPECT_EQ(errno, EINVAL) << alignment;
    errno = 0;
    EXPECT_EQ(aligned_alloc(opaque(alignment), 1), nullptr) << alignment;
    EXPECT_EQ(errno, EINVAL) << alignment;
  }
  for (size_t alignment : {size_t{1} << 63, size_t{1} << 62, size_t{1} << 48}) {
    errno = 0;
    EXPECT_EQ(memalign(opaque(alignment), 1), nullptr) << alignment;
    EXPECT_EQ(errno, ENOMEM) << alignment;
    errno = 0;
    EXPECT_EQ(aligned_alloc(opaque(alignment), 100000), nullptr) << alignment;
    EXPECT_EQ(errno, ENOMEM) << alignment;
  }
}

TEST(ApiAligned, VallocAndPvallocGiveWholePages) {
  for (size_t n : interesting_sizes()) {
    void* v = valloc(n);
    void* p = pvalloc(n);
    ASSERT_TRUE(aligned_to(v, 4096)) << n;
    ASSERT_TRUE(aligned_to(p, 4096)) << n;
    ASSERT_GE(malloc_usable_size(v), n);
    ASSERT_GE(malloc_usable_size(p), (n + 4095) / 4096 * 4096);
    memset(p, 1, (n + 4095) / 4096 * 4096);
    free(v);
    free(p);
  }
}

}  // namespace
}  // namespace tri_test
