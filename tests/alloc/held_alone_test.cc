// held_alone_test.cc - Freed blocks are held, told from others, and given back to whoever owns their spans.
#include "alloc/held.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/walk.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

using test::in_thread;

// By its name before the others, where all are run by one process: it cannot be switched off.
TEST(HeldOffDeathTest, WithoutMemoryForTheTablesItStaysOff) {
  void* const p = allocate(64);
  {
    const test::Faults faults(0);
    EXPECT_FALSE(held::switch_on());
  }
  EXPECT_FALSE(held::is_on());
  deallocate(p);
  EXPECT_FALSE(held::is_held(p));
}

class Held : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(held::switch_on()); }
  void TearDown() override {
    held::set_looker(nullptr);
    held::set_trigger(SIZE_MAX);
    held::begin_look();
    held::return_unreached();
  }
};
using HeldDeathTest = Held;

char* make(size_t n) {
  auto* const p = static_cast<char*>(allocate(n));
  memset(p, 'x', n);
  return p;
}
uintptr_t word(const void* p) { return reinterpret_cast<uintptr_t>(p); }

/// Whether p is among the next blocks of its size.
bool is_reused(const void* p, size_t n, size_t tries = 2000) {
  std::vector<void*> blocks;
  bool found = false;
  for (size_t i = 0; i < tries && !found; ++i) {
    blocks.push_back(allocate(n));
    found = blocks.back() == p;
  }
  for (void* b : blocks) deallocate(b);
  return found;
}

constexpr size_t kSizes[] = {1,      16,     40,         64,      1000,      1025,      5000,
                             32'768, 40'000, 127 * 1024, 200'000, 5'000'000, 20'000'000};

TEST_F(Held, AFreedBlockIsNotReusedAndIsZeroUnlessItIsLarge) {
  for (size_t n : kSizes) {
    char* const p = make(n);
    ASSERT_FALSE(held::is_held(p));
    deallocate(p);
    EXPECT_TRUE(held::is_held(p)) << n;
    EXPECT_TRUE((n > kMaxSmallSize && n < kMinHugeSize) || test::is_zero(p, n)) << n;
    EXPECT_FALSE(is_reused(p, n, n > 100'000 ? 20 : 2000)) << n;
  }
}

TEST_F(Held, WhatNothingReachesComesBack) {
  for (size_t n : kSizes) {
    char* const p = make(n);
    deallocate(p);
    held::begin_look();
    held::return_unreached();
    EXPECT_FALSE(held::is_held(p)) << n;
    EXPECT_TRUE(n >= 100'000 || is_reused(p, n)) << n;
  }
}

TEST_F(Held, WhatAWordReachesStays) {
  for (size_t n : kSizes) {
    const size_t size = good_size(n);
    for (size_t into : {size_t{0}, size / 2, size - 1}) {
      char* const p = make(n);
      deallocate(p);
      held::begin_look();
      held::reach(word(p) + into);
      held::return_unreached();
      EXPECT_TRUE(held::is_held(p)) << n << " at " << into;
      held::begin_look();
      held::reach(word(p) - 1);
      held::reach(word(p) + size);  // the next block's
      held::return_unreached();
      EXPECT_FALSE(held::is_held(p)) << n << " at " << into;
    }
  }
}

TEST_F(Held, WhatIsFreedDuringALookWaitsForTheNext) {
  char* const p = make(48);
  held::begin_look();
  deallocate(p);
  held::return_unreached();
  EXPECT_TRUE(held::is_held(p));
  held::begin_look();
  held::return_unreached();
  EXPECT_FALSE(held::is_held(p));
}

TEST_F(Held, TheNeighboursOfAHeldBlockAreNotTouched) {
  std::vector<char*> all;
  for (size_t i = 0; i < 3000; ++i) all.push_back(static_cast<char*>(allocate(80)));
  for (size_t i = 0; i < all.size(); ++i) test::fill(all[i], 80, i);
  for (size_t i = 0; i < all.size(); i += 2) deallocate(all[i]);
  held::begin_look();
  for (size_t i = 0; i < all.size(); i += 4) held::reach(word(all[i]) + 70);
  const held::Returned r = held::return_unreached();
  EXPECT_EQ(r.blocks, 750U);
  EXPECT_EQ(r.bytes, 750 * 80U);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(held::is_held(all[i]), i % 4 == 0);
    EXPECT_TRUE(i % 2 == 0 || test::holds(all[i], 80, i));
  }
  // Each comes back once.
  std::set<void*> again;
  for (size_t i = 0; i < 750; ++i) EXPECT_TRUE(again.insert(allocate(80)).second);
  for (void* p : again) deallocate(p);
  for (size_t i = 1; i < all.size(); i += 2) deallocate(all[i]);
}

TEST_F(Held, BlocksOfOtherThreadsGoBackToTheirSpans) {
  char* p = nullptr;
  test::Barrier barrier(2);
  std::thread owner([&] {
    p = make(96);
    barrier.wait();
    barrier.wait();
    EXPECT_TRUE(is_reused(p, 96));
  });
  barrier.wait();
  deallocate(p);
  EXPECT_TRUE(held::is_held(p));
  held::begin_look();
  held::return_unreached();
  EXPECT_FALSE(held::is_held(p));
  barrier.wait();
  owner.join();
}

TEST_F(Held, BlocksOfEndedThreadsAreHeldAndGivenBack) {
  std::vector<char*> all;
  in_thread([&] {
    for (int i = 0; i < 1000; ++i) all.push_back(make(112));
  });
  for (char* p : all) deallocate(p);
  held::begin_look();
  EXPECT_GE(held::return_unreached().blocks, 1000U);
  std::sort(all.begin(), all.end());
  size_t found = 0;
  std::vector<void*> next;
  for (int i = 0; i < 4000; ++i) {
    next.push_back(allocate(112));
    found += std::binary_search(all.begin(), all.end(), next.back());
  }
  EXPECT_GT(found, 0U);
  for (void* p : next) deallocate(p);
}

TEST_F(Held, AWalkDoesNotComeByHeldBlocks) {
  static char* small;
  static char* large;
  static int seen;
  small = make(48);
  large = make(100'000);
  const auto walk = [] {
    seen = 0;
    walk_blocks([](void* p, size_t, void*) { return seen += p == small || p == large, 0; }, nullptr);
    return seen;
  };
  EXPECT_EQ(walk(), 2);
  deallocate(small);
  deallocate(large);
  EXPECT_EQ(walk(), 0);
}

TEST_F(Held, MovingABlockHoldsTheOldOne) {
  char* const p = make(100);
  auto* const q = static_cast<char*>(reallocate(p, 5000));
  ASSERT_NE(q, p);
  EXPECT_EQ(q[99], 'x');
  EXPECT_TRUE(held::is_held(p));
  deallocate(q);
}

TEST_F(Held, ResizingInPlaceStaysInPlace) {
  char* const p = make(100);
  EXPECT_EQ(reallocate(p, 101), p);
  EXPECT_FALSE(held::is_held(p));
  deallocate(p);
}

TEST_F(Held, WithoutMemoryForTheBitsBlocksAreFreedAtOnce) {
  // No test before has held anything where this one lies.
  std::vector<void*> all;
  const auto is_new = [](const void* p) {
    return !held::used[held::Place(word(p) - pagemap::near_base).slot].load(std::memory_order_relaxed);
  };
  while (all.size() < 100'000) {
    all.push_back(allocate(32'000));
    if (is_new(all.back())) break;
  }
  void* const p = all.back();
  ASSERT_TRUE(is_new(p));
  {
    const test::Faults faults(0);
    deallocate(p);
  }
  EXPECT_FALSE(held::is_held(p));
  EXPECT_TRUE(is_reused(p, 32'000));
  all.pop_back();
  for (void* b : all) deallocate(b);
}

TEST_F(Held, TheLookerIsCalledWhenEnoughIsHeld) {
  static int looks;
  looks = 0;
  held::set_trigger(held::held_bytes() + 100'000);
  held::set_looker([] {
    ++looks;
    held::set_trigger(SIZE_MAX);
  });
  for (int i = 0; i < 900; ++i) deallocate(make(100));
  EXPECT_EQ(looks, 0);
  for (int i = 0; i < 300; ++i) deallocate(make(100));
  EXPECT_EQ(looks, 1);
}

TEST_F(Held, ThreadsThatFreeWhileOthersAreGivenBackLoseNothing) {
  std::atomic<bool> stop{false};
  std::thread looker([&] {
    while (!stop) {
      held::begin_look();
      held::return_unreached();
    }
  });
  test::in_threads(3, [](size_t t) {
    test::Random random(t);
    std::vector<std::pair<char*, size_t>> live;
    for (size_t i = 0; i < test::rounds(200'000); ++i) {
      if (live.size() < 500 || random.one_in(2)) {
        const size_t n = random.size_up_to(2000);
        live.emplace_back(static_cast<char*>(allocate(n)), n);
        test::fill(live.back().first, n, word(live.back().first));
      } else {
        std::swap(live[random.below(live.size())], live.back());
        const auto [p, n] = live.back();
        live.pop_back();
        ASSERT_TRUE(test::holds(p, n, word(p)));
        deallocate(p);
      }
    }
    for (const auto& [p, n] : live) deallocate(p);
  });
  stop = true;
  looker.join();
}

TEST_F(HeldDeathTest, DoubleFreesAreFoundWhateverStandsInTheBlock) {
  for (size_t n : {size_t{40}, size_t{40'000}, size_t{200'000}}) {
    const std::string what = "double free of 0x[0-9a-f]+ \\(.*\\)";
    EXPECT_DEATH(
        {
          char* const p = make(n);
          deallocate(p);
          memset(p, 'y', n);
          deallocate(p);
        },
        test::in_one_line(what));
    EXPECT_DEATH(
        {
          char* const p = make(n);
          deallocate(p);
          held::begin_look();
          deallocate(p);
        },
        test::in_one_line(what));
    EXPECT_DEATH(
        {
          char* const p = make(n);
          deallocate(p);
          (void)!reallocate(p, 2 * n);
        },
        test::in_one_line("realloc of freed block 0x[0-9a-f]+ \\(.*\\)"));
  }
  EXPECT_DEATH(
      {
        char* const p = make(40);
        deallocate(p);
        held::begin_look();
        held::return_unreached();
        deallocate(p);
      },
      test::in_one_line("double free of 0x[0-9a-f]+ \\(size class 48\\)"));
  EXPECT_DEATH(deallocate(make(40) + 16), test::in_one_line("free of interior pointer .*"));
  EXPECT_DEATH(deallocate(make(40'000) + 16), test::in_one_line("free of interior pointer .*"));
}

}  // namespace
}  // namespace tri
