// sweep_test.cc - What nothing reaches is free after a cycle, and nothing else is.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/stats.h"
#include "gc/gc.h"
#include "gc/heap.h"
#include "tests/alloc/support.h"
#include "tests/gc/collected_support.h"

#if !TRI_TEST_SANITIZED  // Their own records keep words that look like pointers to dead blocks; and under TSan nobody stops.

namespace tri::gc {
namespace {

using test::apart;
using test::collect_now;
using test::forgotten;
using test::Hidden;
using test::is_there;
using tri::test::Random;

void* make(size_t n, bool pointer_free = false) { return allocate_collected(n, pointer_free); }

// Where what is kept hangs.
void* volatile root;

constexpr size_t kSizes[] = {16, 48, 300, 5000, 30'000, 100'000, size_t{20} << 20};

class Sweep : public ::testing::Test {
 protected:
  Sweep() { set_mode(Mode::kOff, 100); }
  ~Sweep() override { collected_heap.verify(); }
};

TEST_F(Sweep, WhatNothingReachesIsFreed) {
  for (const size_t n : kSizes) {
    for (const bool pointer_free : {false, true}) {
      Hidden h[5];
      forgotten([&] {
        for (Hidden& x : h) x = Hidden(make(n, pointer_free));
      });
      ASSERT_EQ(collect_now(), 0);
      int left = 0;
      for (const Hidden& x : h) left += is_there(x);
      // A stale word may keep one.
      EXPECT_LE(left, 1) << n;
    }
  }
}

TEST_F(Sweep, WhatIsReachedStaysWithItsContents) {
  for (const size_t n : kSizes) {
    Hidden first, second;
    apart([&] {
      auto** const a = static_cast<void**>(make(n));
      auto* const b = static_cast<char*>(make(n, true));
      a[1] = b + n / 2;  // an interior pointer
      memset(b, 0x55, n);
      root = a;
      first = Hidden(a);
      second = Hidden(b);
    });
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(collect_now(), 0);
      EXPECT_TRUE(is_there(first));
      EXPECT_TRUE(is_there(second));
    }
    apart([&] {
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(static_cast<char*>(second.get())[i], 0x55);
    });
    root = nullptr;
    ASSERT_EQ(collect_now(), 0);
    ASSERT_EQ(collect_now(), 0);
    EXPECT_FALSE(is_there(first) && is_there(second)) << n;
  }
}

TEST_F(Sweep, PointersInPointerFreeBlocksKeepNothing) {
  Hidden h[8];
  forgotten([&] {
    auto** const a = static_cast<void**>(make(8 * 80, true));
    root = a;
    for (size_t i = 0; i < 8; ++i) {
      a[i] = make(200);
      h[i] = Hidden(a[i]);
    }
  });
  ASSERT_EQ(collect_now(), 0);
  int left = 0;
  for (const Hidden& x : h) left += is_there(x);
  EXPECT_LE(left, 1);
  root = nullptr;
}

TEST_F(Sweep, MallocsBlocksAreFollowedAndNeverFreed) {
  Hidden ours, through, lost;
  forgotten([&] {
    auto** const m = static_cast<void**>(allocate_zeroed(3000));
    m[7] = make(100);
    through = Hidden(m[7]);
    root = m;
    lost = Hidden(allocate_zeroed(3000));
    ours = Hidden(m);
  });
  for (int i = 0; i < 3; ++i) ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(through));
  // It can be freed still: nobody else has.
  deallocate(lost.get());
  forgotten([&] {
    root = nullptr;
    memset(ours.get(), 0, 3000);
    deallocate(ours.get());
  });
  for (int i = 0; i < 2; ++i) ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(through));
}

TEST_F(Sweep, FreeBlocksOfCurrentSpansSurviveACycle) {
  // Each cycle comes at another place of the run; what is allocated before and after it must not be the same block.
  std::map<void*, int> owner;
  static std::vector<void*> kept;
  kept.reserve(4000);
  for (int i = 0; i < 4000; ++i) {
    void* const p = make(32);
    ASSERT_TRUE(owner.emplace(p, i).second) << i;
    *static_cast<int*>(p) = i;
    kept.push_back(p);
    if (i % 200 == 7) {
      ASSERT_EQ(collect(), 0);
    }
  }
  for (int i = 0; i < 4000; ++i) ASSERT_EQ(*static_cast<int*>(kept[static_cast<size_t>(i)]), i);
  kept.clear();
}

TEST_F(Sweep, FreedByHandAndCollectedAreBothOnce) {
  static std::vector<void*> kept;
  Random random;
  for (int round = 0; round < 30; ++round) {
    for (int i = 0; i < 2000; ++i) {
      void* const p = make(random.size_up_to(300));
      switch (random.below(3)) {
        case 0:
          deallocate(p);
          break;
        case 1:
          kept.push_back(p);
          break;
        default:
          break;
      }
    }
    if (round % 3 == 0) {
      ASSERT_EQ(collect(), 0);
    }
    while (kept.size() > 1000) {
      deallocate(kept.back());
      kept.pop_back();
    }
    collected_heap.verify();
  }
  kept.clear();
}

TEST_F(Sweep, WholeSpansGoBackToTheHeap) {
  ASSERT_EQ(collect_now(), 0);
  const size_t before = counters->used_bytes.load();
  forgotten([] {
    for (int i = 0; i < 200'000; ++i) ASSERT_NE(make(64), nullptr);
    ASSERT_NE(make(30 << 20), nullptr);
  });
  EXPECT_GT(counters->used_bytes.load(), before + (40U << 20));
  ASSERT_EQ(collect_now(), 0);
  EXPECT_LT(counters->used_bytes.load(), before + (2U << 20));
}

TEST_F(Sweep, AHeapThatGrowsIsCollectedByItself) {
  set_mode(Mode::kOn, 100);
  const uint64_t before = get_stats().cycles;
  for (int i = 0; i < 4'000'000; ++i) ASSERT_NE(make(64), nullptr);
  EXPECT_GT(get_stats().cycles, before + 5);
  EXPECT_LT(counters->used_bytes.load(), 100U << 20);
  set_mode(Mode::kOff, 100);
  const uint64_t then = get_stats().cycles;
  for (int i = 0; i < 1'000'000; ++i) ASSERT_NE(make(64), nullptr);
  EXPECT_LE(get_stats().cycles, then + 1);
}

TEST_F(Sweep, DisabledNoCycleBegins) {
  set_mode(Mode::kOn, 100);
  disable();
  disable();
  const uint64_t before = get_stats().cycles;
  for (int i = 0; i < 300'000; ++i) ASSERT_NE(make(64), nullptr);
  EXPECT_EQ(collect(), -EAGAIN);
  EXPECT_TRUE(enable());
  EXPECT_EQ(collect(), -EAGAIN);
  EXPECT_EQ(get_stats().cycles, before);
  EXPECT_TRUE(enable());
  EXPECT_FALSE(enable());
  EXPECT_EQ(collect(), 0);
  EXPECT_EQ(get_stats().cycles, before + 1);
}

TEST_F(Sweep, WithoutMemoryForTheTablesAllIsKept) {
  root = make(100);
  *static_cast<int*>(root) = 42;
  for (long n = 0; n < 12; ++n) {
    os::fail_after(n);
    const int error = collect();
    os::fail_after(-1);
    EXPECT_TRUE(error == 0 || error == -ENOMEM) << error;
    EXPECT_EQ(*static_cast<int*>(root), 42);
    for (int i = 0; i < 1000; ++i) *static_cast<int*>(make(100)) = 1;
  }
  EXPECT_EQ(collect(), 0);
  EXPECT_EQ(*static_cast<int*>(root), 42);
  root = nullptr;
}

/// A list per thread, dropped now and then, with contents that tell whose they are.
struct Node {
  Node* next;
  uint64_t tag;
  uint64_t inverse;
};

TEST_F(Sweep, ThreadsThatBuildAndDropKeepWhatTheyHold) {
  set_mode(Mode::kOn, 50);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      Node* lists[64] = {};
      while (!stop.load()) {
        Node*& list = lists[random.below(64)];
        if (random.one_in(20)) {
          for (Node* n = list; n != nullptr; n = n->next) wrong += n->tag != ~n->inverse;
          list = nullptr;
        }
        for (size_t i = random.below(50); i > 0; --i) {
          auto* const n = static_cast<Node*>(make(sizeof(Node) + random.below(100)));
          wrong += n->next != nullptr || n->tag != 0 || n->inverse != 0;
          n->tag = random.next();
          n->inverse = ~n->tag;
          n->next = list;
          list = n;
        }
      }
    });
  }
  for (size_t i = 0; i < tri::test::rounds(100); ++i) EXPECT_EQ(collect(), 0);
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0U);
}

}  // namespace
}  // namespace tri::gc

#endif
