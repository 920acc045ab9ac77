// api_basic_test.cc - malloc, realloc, free and malloc_usable_size as glibc answers them.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

TEST(ApiBasic, ZeroBytesGiveDistinctBlocksFromEveryFunction) {
  for (const auto& a : allocators()) {
    std::set<void*> seen;
    for (int i = 0; i < 100; ++i) {
      void* p = a.allocate(opaque<size_t>(0));
      ASSERT_NE(p, nullptr) << a.name;
      ASSERT_TRUE(seen.insert(p).second) << a.name << " gave one block twice";
    }
    for (void* p : seen) free(p);
  }
}

TEST(ApiBasic, CallocOfZeroElementsOrOfZeroSizeGivesABlock) {
  void* none = calloc(opaque<size_t>(0), 100);
  void* empty = calloc(100, opaque<size_t>(0));
  EXPECT_NE(none, nullptr);
  EXPECT_NE(empty, nullptr);
  EXPECT_NE(none, empty);
  free(none);
  free(empty);
}

TEST(ApiBasic, ReallocToZeroFreesAndReturnsNullWithErrnoKept) {
  for (size_t size : interesting_sizes()) {
    void* p = opaque(malloc(size));
    ASSERT_NE(p, nullptr);
    errno = 77;
    EXPECT_EQ(realloc(p, opaque<size_t>(0)), nullptr) << size;
    EXPECT_EQ(errno, 77) << size;
  }
}

TEST(ApiBasic, ReallocToZeroReallyGivesTheBlockBack) {
  size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  for (int i = 0; i < 1000; ++i) {
    void* p = opaque(malloc(1u << 20));
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(realloc(p, opaque<size_t>(0)), nullptr);
  }
  size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  EXPECT_LT(after, before + (8u << 20)) << "a thousand blocks of 1 MiB were freed by realloc(p, 0)";
}

TEST(ApiBasic, ReallocarrayToZeroFreesAndReturnsNull) {
  EXPECT_EQ(reallocarray(opaque(malloc(100)), opaque<size_t>(0), 8), nullptr);
  EXPECT_EQ(reallocarray(opaque(malloc(100)), 8, opaque<size_t>(0)), nullptr);
}

TEST(ApiBasic, FreeOfNullDoesNothing) {
  errno = 77;
  free(opaque<void*>(nullptr));
  exported<void(void*)>("cfree")(nullptr);
  __libc_free(nullptr);
  EXPECT_EQ(errno, 77);
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
}

TEST(ApiBasic, EverySizeIsAlignedToSixteenBytes) {
  // glibc promises alignof(max_align_t) for small blocks too, and programs have come to rely on it.
  std::vector<void*> blocks;
  for (size_t n = 0; n <= 40000; n = n < 1100 ? n + 1 : n + 61) {
    for (const auto& a : {allocators()[0], allocators()[1], allocators()[3]}) {
      void* p = a.allocate(n);
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(aligned_to(p, 16)) << a.name << " of " << n;
      blocks.push_back(p);
    }
  }
  for (size_t n : interesting_sizes()) {
    void* p = realloc(malloc(1), n + 1);
    ASSERT_TRUE(aligned_to(p, 16)) << n;
    blocks.push_back(p);
  }
  for (void* p : blocks) free(p);
}

TEST(ApiBasic, TheUsableSizeHoldsTheRequestAndMayBeWrittenInFull) {
  struct Block {
    unsigned char* p;
    size_t usable;
  };
  for (const auto& a : allocators()) {
    std::vector<Block> blocks;
    for (size_t n : interesting_sizes()) {
      for (int copies = 0; copies < 4; ++copies) {
        auto* p = static_cast<unsigned char*>(a.allocate(n));
        ASSERT_NE(p, nullptr);
        size_t usable = malloc_usable_size(p);
        ASSERT_GE(usable, n) << a.name;
        if (a.allocate == allocators()[0].allocate) {
          ASSERT_LE(usable, n + n / 4 + 8192) << "malloc(" << n << ") wastes";
        }
        fill(p, usable, reinterpret_cast<uintptr_t>(p));
        blocks.push_back({p, usable});
      }
    }
    for (auto& b : blocks) {
      ASSERT_TRUE(holds(b.p, b.usable, reinterpret_cast<uintptr_t>(b.p)))
          << a.name << ": a neighbour wrote into it";
      free(b.p);
    }
  }
}

TEST(ApiBasic, LiveBlocksNeverOverlap) {
  struct Block {
    uintptr_t start;
    size_t size;
    bool operator<(const Block& o) const { return start < o.start; }
  };
  Random random(
      GTEST_FLAG_GET(random_seed) != 0 ? static_cast<uint64_t>(GTEST_FLAG_GET(random_seed)) : 1);
  std::vector<Block> blocks;
  for (int i = 0; i < 50000; ++i) {
    size_t n = random.below(10) == 0 ? random.below(60000) : random.below(600);
    auto* p = malloc(n);
    blocks.push_back({reinterpret_cast<uintptr_t>(p), malloc_usable_size(p)});
    if (random.below(3) == 0) {
      size_t victim = random.below(blocks.size());
      free(reinterpret_cast<void*>(blocks[victim].start));
      blocks[victim] = blocks.back();
      blocks.pop_back();
    }
  }
  std::sort(blocks.begin(), blocks.end());
  for (size_t i = 1; i < blocks.size(); ++i)
    ASSERT_LE(blocks[i - 1].start + blocks[i - 1].size, blocks[i].start);
  for (auto& b : blocks) free(reinterpret_cast<void*>(b.start));
}

TEST(ApiBasic, ReallocKeepsTheContentBetweenAllPairsOfSizes) {
  for (size_t from : interesting_sizes()) {
    for (size_t to : interesting_sizes()) {
      if (to == 0) continue;
      auto* p = malloc(from);
      fill(p, from, from + 1);
      auto* q = realloc(p, to);
      ASSERT_NE(q, nullptr);
      ASSERT_TRUE(holds(q, std::min(from, to), from + 1)) << from << " to " << to;
      ASSERT_GE(malloc_usable_size(q), to);
      fill(q, to, to);
      free(q);
    }
  }
}

TEST(ApiBasic, ReallocOfALargeBlockKeepsItsContentWhileItGrowsAndShrinks) {
  constexpr size_t kStep = 16u << 20;
  char* p = nullptr;
  size_t size = 0;
  for (int step = 1; step <= 16; ++step) {
    p = static_cast<char*>(realloc(p, kStep * static_cast<size_t>(step)));
    ASSERT_NE(p, nullptr);
    for (size_t at = 0; at < size; at += 4096)
      ASSERT_EQ(p[at], static_cast<char>(at >> 12)) << "grow " << step;
    size = kStep * static_cast<size_t>(step);
    for (size_t at = size - kStep; at < size; at += 4096) p[at] = static_cast<char>(at >> 12);
  }
  for (; size > 4096; size /= 3) {
    p = static_cast<char*>(realloc(p, size));
    ASSERT_NE(p, nullptr);
    for (size_t at = 0; at < size; at += 4096)
      ASSERT_EQ(p[at], static_cast<char>(at >> 12)) << "shrink " << size;
  }
  free(p);
}

TEST(ApiBasic, ReallocKeepsTheContentOfAlignedBlocks) {
  for (size_t alignment : {32u, 64u, 4096u, 65536u, 2u << 20}) {
    for (size_t size : {100u, 5000u, 40000u, 300000u}) {
      void* p = memalign(alignment, size);
      fill(p, size, alignment);
      void* q = realloc(p, size * 3);
      ASSERT_TRUE(holds(q, size, alignment)) << alignment << " " << size;
      free(q);
    }
  }
}

TEST(ApiBasic, LibcsAliasesMixWithThePlainNames) {
  auto* cfree = exported<void(void*)>("cfree");
  for (size_t n : interesting_sizes()) {
    free(__libc_malloc(n));
    free(__libc_calloc(n, 1));
    free(__libc_realloc(malloc(n), n + 1));
    free(__libc_memalign(64, n));
    free(__libc_valloc(n));
    free(__libc_pvalloc(n));
    __libc_free(malloc(n));
    __libc_free(realloc(__libc_malloc(n), n + 10));
    __libc_free(memalign(64, n));
    cfree(malloc(n));
    free(::operator new(n));
    ::operator delete(malloc(n));
  }
}

TEST(ApiBasic, BlocksAreFreedByAnotherThreadThanTheirOwner) {
  std::vector<void*> blocks;
  for (int round = 0; round < 20; ++round)
    for (size_t n : interesting_sizes()) {
      blocks.push_back(malloc(n));
      fill(blocks.back(), n, n);
    }
  std::thread other([&] {
    size_t i = 0;
    for (int round = 0; round < 20; ++round)
      for (size_t n : interesting_sizes()) {
        EXPECT_TRUE(holds(blocks[i], n, n));
        free(blocks[i++]);
      }
  });
  other.join();
}

}  // namespace
}  // namespace tri_test
