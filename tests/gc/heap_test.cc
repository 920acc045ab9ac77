// heap_test.cc - Collected memory is handed out, zeroed, aligned, freed by hand, and taken by each thread for itself.
#include "gc/heap.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "alloc/stats.h"
#include "alloc/walk.h"
#include "gc/gc.h"
#include "tests/alloc/support.h"
#include "tests/gc/collected_support.h"

namespace tri::gc {
namespace {

using test::apart;
using test::Hidden;
using tri::test::Random;

void* make(size_t n, bool pointer_free = false) { return allocate_collected(n, pointer_free); }

bool is_zero(const void* p, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (static_cast<const char*>(p)[i] != 0) return false;
  }
  return true;
}

class CollectedHeap : public ::testing::Test {
 protected:
  CollectedHeap() { set_mode(Mode::kOff, 100); }
  ~CollectedHeap() override { collected_heap.verify(); }
};

TEST_F(CollectedHeap, BlocksOfAllSizesAreZeroedAlignedAndTheirOwn) {
  std::vector<std::pair<char*, size_t>> all;
  Random random;
  for (size_t i = 0; i < tri::test::rounds(20'000); ++i) {
    const size_t n = random.one_in(500) ? random.size_up_to(3 << 20) : random.size_up_to(5000);
    auto* const p = static_cast<char*>(make(n, random.one_in(3)));
    ASSERT_NE(p, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0U);
    const size_t usable = usable_size(p);
    ASSERT_GE(usable, n);
    ASSERT_TRUE(is_zero(p, usable)) << n;
    memset(p, static_cast<int>(i | 1), usable);
    all.push_back({p, usable});
  }
  std::set<char*> starts;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto [p, n] = all[i];
    EXPECT_TRUE(starts.insert(p).second);
    for (size_t at = 0; at < n; at += n < 64 ? 1 : n / 64) ASSERT_EQ(p[at], static_cast<char>(i | 1));
  }
  for (const auto& [p, n] : all) deallocate(p);
}

TEST_F(CollectedHeap, WhatIsFreedByHandIsUsedAgainAndZeroedAgain) {
  std::set<void*> first;
  std::vector<void*> all;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3000; ++i) {
      void* const p = make(100);
      ASSERT_TRUE(is_zero(p, usable_size(p)));
      memset(p, 0xff, usable_size(p));
      all.push_back(p);
      if (round == 0) first.insert(p);
    }
    for (void* const p : all) deallocate(p);
    all.clear();
  }
  size_t again = 0;
  for (int i = 0; i < 3000; ++i) {
    void* const p = make(100);
    again += first.count(p);
    all.push_back(p);
  }
  EXPECT_GT(again, 1000U);
  for (void* const p : all) deallocate(p);
}

TEST_F(CollectedHeap, AlignmentsUpToMebibytesAreKept) {
  for (size_t alignment = 1; alignment <= size_t{4} << 20; alignment *= 2) {
    for (const size_t n : {size_t{1}, size_t{100}, alignment, 3 * alignment}) {
      void* const p = collected_heap.allocate(n, alignment, false);
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0U) << n;
      EXPECT_TRUE(is_zero(p, n));
      deallocate(p);
    }
  }
  EXPECT_EQ(collected_heap.allocate(SIZE_MAX - 5, 16, false), nullptr);
}

TEST_F(CollectedHeap, ReallocKeepsContentsAndKind) {
  Random random;
  for (size_t i = 0; i < tri::test::rounds(3000); ++i) {
    const bool pointer_free = random.one_in(2);
    size_t n = random.size_up_to(200'000);
    auto* p = static_cast<char*>(make(n, pointer_free));
    tri::test::fill(p, n, i);
    for (int step = 0; step < 4; ++step) {
      const size_t m = random.size_up_to(200'000);
      p = static_cast<char*>(reallocate(p, m));
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(tri::test::holds(p, n < m ? n : m, i, n < m ? n : 0)) << n << " " << m;
      EXPECT_EQ(pagemap::lookup(p)->pointer_free, pointer_free);
      EXPECT_TRUE(pagemap::lookup(p)->is_collected);
      n = m;
      tri::test::fill(p, n, i);
    }
    deallocate(p);
  }
}

TEST_F(CollectedHeap, SizesStartsAndKindsAreKnown) {
  auto* const p = static_cast<char*>(make(50));
  EXPECT_EQ(usable_size(p), 64U);
  EXPECT_EQ(block_start(p + 40), p);
  EXPECT_TRUE(collected_heap.is_block(p));
  EXPECT_FALSE(collected_heap.is_block(p + 16));
  EXPECT_TRUE(resize_in_place(p, 64));
  EXPECT_FALSE(resize_in_place(p, 65));
  deallocate(p);
  EXPECT_FALSE(collected_heap.is_block(p));
  auto* const large = static_cast<char*>(make(100'000));
  EXPECT_EQ(usable_size(large), align_up(100'000, kPageSize));
  EXPECT_EQ(block_start(large + 50'000), large);
  EXPECT_TRUE(collected_heap.is_block(large));
  EXPECT_FALSE(resize_in_place(large, 200'000));
  deallocate(large);
  void* const ours = allocate(50);
  EXPECT_FALSE(collected_heap.is_block(ours));
  deallocate(ours);
}

TEST_F(CollectedHeap, WalkAndStatsCountThem) {
  const Stats before = take_stats();
  std::set<void*> all;
  for (int i = 0; i < 5000; ++i) all.insert(make(80));
  all.insert(make(1 << 20));
  const Stats after = take_stats();
  EXPECT_EQ(after.live_blocks - before.live_blocks, all.size());
  EXPECT_EQ(after.live_bytes - before.live_bytes, 5000 * 80 + (1U << 20));
  size_t found = 0;
  struct Arg {
    const std::set<void*>& all;
    size_t& found;
  } arg{all, found};
  ASSERT_EQ(walk_blocks(
                [](void* p, size_t, void* a) {
                  auto* const x = static_cast<Arg*>(a);
                  x->found += x->all.count(p);
                  return 0;
                },
                &arg),
            0);
  EXPECT_EQ(found, all.size());
  for (void* const p : all) deallocate(p);
  EXPECT_EQ(take_stats().live_blocks, before.live_blocks);
}

TEST_F(CollectedHeap, OtherThreadsMayFreeAndLeaveTheirSpansBehind) {
  Random seeds;
  std::vector<void*> passed[4];
  for (int round = 0; round < 10; ++round) {
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (void* const p : passed[t]) deallocate(p);
        passed[t].clear();
        for (size_t i = 0; i < 5000; ++i) {
          void* const p = make(16 + i % 600, i % 5 == 0);
          memset(p, 0xee, 16);
          passed[t].push_back(p);
        }
      });
    }
    for (std::thread& t : threads) t.join();
    std::swap(passed[0], passed[1]);
    std::swap(passed[2], passed[3]);
    std::swap(passed[0], passed[2]);
    collected_heap.verify();
  }
  // As many blocks, in spans that were there before.
  const size_t used = counters->used_bytes.load();
  for (auto& list : passed) {
    for (void* const p : list) deallocate(p);
    for (size_t i = 0; i < list.size(); ++i) list[i] = make(16 + i % 600, i % 5 == 0);
  }
  EXPECT_LT(counters->used_bytes.load(), used + used / 4 + (1 << 20));
  for (auto& list : passed) {
    for (void* const p : list) deallocate(p);
  }
}

TEST_F(CollectedHeap, WithoutMemoryThereIsNullAndLaterABlock) {
  std::vector<void*> all;
  for (const size_t n : {16UL, 4000UL, 20'000UL, 500'000UL, size_t{40} << 20}) {
    os::fail_after(0);
    // The heap may have some of what is needed.
    void* p;
    while ((p = make(n)) != nullptr) all.push_back(p);
    os::fail_after(-1);
    p = make(n);
    EXPECT_NE(p, nullptr) << n;
    all.push_back(p);
  }
  for (void* const p : all) deallocate(p);
}

using CollectedHeapDeathTest = CollectedHeap;

TEST_F(CollectedHeapDeathTest, MisuseIsSaid) {
  static char* p;
  p = static_cast<char*>(make(100));
  deallocate(p);
  EXPECT_DEATH(deallocate(p), "double free of 0x[0-9a-f]+ \\(size class 112\\)|double free of");
  p = static_cast<char*>(make(100));
  EXPECT_DEATH(deallocate(p + 16), "interior pointer 0x[0-9a-f]+ \\(16 bytes into a block of size class 112\\)");
  EXPECT_DEATH((void)reallocate(p + 32, 10), "interior pointer");
  EXPECT_DEATH(deallocate_sized(p, 500), "with wrong size 500");
  p = static_cast<char*>(make(100'000));
  EXPECT_DEATH(deallocate(p + 4096), "interior pointer 0x[0-9a-f]+ \\(4096 bytes into a large block");
}

}  // namespace
}  // namespace tri::gc
