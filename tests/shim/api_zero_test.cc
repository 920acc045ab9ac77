// api_zero_test.cc - calloc's memory is zero on every path, also where dirty memory lies in wait.
//
// An allocator skips the clearing of pages that the kernel just gave it; each way in which it may be mistaken about
// that is one test.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

void dirty(void* p) { memset(p, 0xEE, malloc_usable_size(p)); }

// Dirty blocks of a size, all freed again.
void leave_dirt(size_t size, int count) {
  std::vector<void*> blocks;
  for (int i = 0; i < count; ++i) {
    blocks.push_back(malloc(size));
    dirty(blocks.back());
  }
  for (void* p : blocks) free(p);
}

void expect_zero(size_t size, int count, const char* after) {
  std::vector<void*> blocks;
  for (int i = 0; i < count; ++i) {
    void* p = calloc(1, size);
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(all_zero(p, size)) << size << " bytes " << after;
    dirty(p);
    blocks.push_back(p);
  }
  for (void* p : blocks) free(p);
}

TEST(ApiZero, CallocIsZeroAfterBlocksOfTheSameSizeWereDirtied) {
  for (size_t size : interesting_sizes()) {
    leave_dirt(size, 20);
    expect_zero(size, 20, "after dirt of the same size");
    if (HasFatalFailure()) return;
  }
}

TEST(ApiZero, CallocIsZeroAfterBlocksOfAllOtherSizesWereDirtied) {
  for (int round = 0; round < 3; ++round) {
    for (size_t size : interesting_sizes()) leave_dirt(size, 8);
    for (size_t size : interesting_sizes()) {
      expect_zero(size, 8, "after dirt of all sizes");
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ApiZero, CallocIsZeroWhenAnotherThreadFreedTheDirtyBlocks) {
  for (size_t size :
       {size_t{16}, size_t{64}, size_t{1000}, size_t{30000}, size_t{100000}, size_t{2} << 20}) {
    std::vector<void*> blocks;
    for (int i = 0; i < 40; ++i) {
      blocks.push_back(malloc(size));
      dirty(blocks.back());
    }
    std::thread([&] {
      for (void* p : blocks) free(p);
    }).join();
    expect_zero(size, 40, "after another thread freed");
    if (HasFatalFailure()) return;
  }
}

TEST(ApiZero, CallocIsZeroAfterTheDirtyThreadHasGone) {
  for (size_t size : {size_t{48}, size_t{500}, size_t{9000}, size_t{70000}, size_t{1} << 20}) {
    std::thread([&] { leave_dirt(size, 100); }).join();
    expect_zero(size, 100, "after a thread left its dirt");
    if (HasFatalFailure()) return;
  }
}

TEST(ApiZero, CallocIsZeroAfterMemoryWentBackToTheSystem) {
  for (size_t size : interesting_sizes()) leave_dirt(size, 8);
  malloc_trim(0);
  for (size_t size : interesting_sizes()) {
    expect_zero(size, 8, "after malloc_trim");
    if (HasFatalFailure()) return;
  }
}

TEST(ApiZero, CallocIsZeroInTheTailThatReallocGaveBack) {
  for (size_t size : {size_t{64} << 10, size_t{1} << 20, size_t{8} << 20, size_t{80} << 20}) {
    void* p = malloc(size);
    dirty(p);
    p = realloc(p, size / 4);
    ASSERT_NE(p, nullptr);
    for (size_t part : {size / 8, size / 4, size / 2}) {
      expect_zero(part, 3, "beside a block that shrank");
      if (HasFatalFailure()) return;
    }
    free(p);
  }
}

TEST(ApiZero, CallocOfHugeBlocksIsZeroWhenTheyAreReused) {
  for (int round = 0; round < 3; ++round) {
    for (size_t size : {size_t{33} << 20, size_t{70} << 20, size_t{130} << 20}) {
      expect_zero(size, 1, "huge");
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ApiZero, CallocIsZeroAfterAlignedBlocksWereDirtied) {
  for (size_t alignment : {64u, 4096u, 65536u}) {
    for (size_t size : {100u, 5000u, 200000u}) {
      std::vector<void*> blocks;
      for (int i = 0; i < 10; ++i) {
        blocks.push_back(memalign(alignment, size));
        dirty(blocks.back());
      }
      for (void* p : blocks) free(p);
      for (size_t n : {size_t{size} / 2, size_t{size}, size_t{size} + alignment}) {
        expect_zero(n, 20, "after aligned dirt");
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace tri_test
