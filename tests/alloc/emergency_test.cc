// emergency_test.cc - Tests of alloc/emergency.h.
#include "alloc/emergency.h"

#include <algorithm>

#include "tests/alloc/support.h"

namespace tri {
namespace {

TEST(Emergency, IsZeroedAndAligned) {
  for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
    for (const size_t n : {size_t{1}, size_t{15}, size_t{16}, size_t{1000}}) {
      void* const p = emergency::alloc(n, alignment);
      ASSERT_NE(p, nullptr);
      EXPECT_TRUE(test::aligned_to(p, alignment < 16 ? 16 : alignment));
      EXPECT_TRUE(test::is_zero(p, n));
      EXPECT_TRUE(emergency::owns(p));
      EXPECT_TRUE(emergency::owns(test::at(p, n - 1)));
      EXPECT_GE(emergency::usable_size(p), n);
      memset(p, 0xff, emergency::usable_size(p));
    }
  }
}

TEST(Emergency, GivesAUniqueBlockForNothing) {
  void* const a = emergency::alloc(0, 1);
  void* const b = emergency::alloc(0, 1);
  ASSERT_NE(a, nullptr);
  EXPECT_NE(a, b);
  EXPECT_GE(emergency::usable_size(a), 1U);
}

TEST(Emergency, KeepsBlocksApart) {
  test::Random random;
  std::vector<std::pair<char*, size_t>> blocks;
  for (int i = 0; i < 500; ++i) {
    const size_t n = random.size_up_to(2000);
    auto* p = static_cast<char*>(emergency::alloc(n, size_t{1} << random.below(9)));
    ASSERT_NE(p, nullptr);
    EXPECT_GE(emergency::usable_size(p), n);
    blocks.emplace_back(p, emergency::usable_size(p));
  }
  for (size_t i = 0; i < blocks.size(); ++i) test::fill(blocks[i].first, blocks[i].second, i);
  for (size_t i = 0; i < blocks.size(); ++i) EXPECT_TRUE(test::holds(blocks[i].first, blocks[i].second, i));
}

TEST(Emergency, HoldsBlocksLargerThanItsAreas) {
  constexpr size_t kBytes = size_t{3} << 20;
  void* const p = emergency::alloc(kBytes, 16);
  ASSERT_NE(p, nullptr);
  EXPECT_GE(emergency::usable_size(p), kBytes);
  EXPECT_TRUE(emergency::owns(test::at(p, kBytes - 1)));
  test::fill(p, kBytes, 1);
  void* const q = emergency::alloc(kBytes, kBytes / 3);
  ASSERT_NE(q, nullptr);
  EXPECT_TRUE(test::aligned_to(q, kBytes / 3));
  test::fill(q, kBytes, 2);
  EXPECT_TRUE(test::holds(p, kBytes, 1));
}

TEST(Emergency, RefusesWhatNobodyHas) {
  EXPECT_EQ(emergency::alloc(SIZE_MAX, 16), nullptr);
  EXPECT_EQ(emergency::alloc(PTRDIFF_MAX, 16), nullptr);
  EXPECT_EQ(emergency::alloc(size_t{1} << 50, 16), nullptr);
  EXPECT_EQ(emergency::alloc(16, size_t{1} << 63), nullptr);
  EXPECT_EQ(emergency::alloc(16, size_t{1} << 50), nullptr);
  EXPECT_NE(emergency::alloc(16, 16), nullptr);
}

TEST(Emergency, OwnsNothingElse) {
  void* const mine = emergency::alloc(16, 16);
  ASSERT_NE(mine, nullptr);
  int on_stack = 0;
  EXPECT_FALSE(emergency::owns(nullptr));
  EXPECT_FALSE(emergency::owns(&on_stack));
  EXPECT_FALSE(emergency::owns(reinterpret_cast<void*>(SIZE_MAX)));
  void* const block = allocate(16);
  EXPECT_FALSE(emergency::owns(block));
  deallocate(block);
}

TEST(Emergency, ItsBlocksMayBeFreedAndMeasured) {
  void* const p = emergency::alloc(100, 16);
  ASSERT_NE(p, nullptr);
  memset(p, 7, 100);
  EXPECT_EQ(usable_size(p), emergency::usable_size(p));
  deallocate(p);
  deallocate_sized(p, 100);
  EXPECT_TRUE(emergency::owns(p));  // for ever
  EXPECT_EQ(static_cast<char*>(p)[99], 7);
}

TEST(Emergency, SurvivesARefusal) {
  test::Faults faults(0);
  // What is open can be used up; then there is none, and then there is again.
  size_t n = 0;
  while (emergency::alloc(size_t{64} << 10, 16) != nullptr) ASSERT_LT(++n, 2000U);
  os::fail_after(-1);
  EXPECT_NE(emergency::alloc(size_t{64} << 10, 16), nullptr);
}

TEST(Emergency, ServesManyThreadsAtOnce) {
  constexpr size_t kThreads = 4;
  // In an area that is open already: a sanitizer does not see that the loser of the race to open one unmaps its own.
  const size_t kEach = test::kTsan ? 800 : 2000;
  ASSERT_NE(emergency::alloc(16, 16), nullptr);
  std::vector<std::pair<char*, uint64_t>> blocks[kThreads];
  test::Barrier start(kThreads);
  test::in_threads(kThreads, [&](size_t t) {
    start.wait();
    for (size_t i = 0; i < kEach; ++i) {
      auto* p = static_cast<char*>(emergency::alloc(200, 32));
      if (p == nullptr || !test::is_zero(p, 200)) {
        ADD_FAILURE() << "block " << i;
        return;
      }
      test::fill(p, 200, t * kEach + i);
      blocks[t].emplace_back(p, t * kEach + i);
    }
  });
  std::vector<char*> all;
  for (auto& list : blocks) {
    for (auto& [p, tag] : list) {
      ASSERT_TRUE(test::holds(p, 200, tag));
      all.push_back(p);
    }
  }
  std::sort(all.begin(), all.end());
  for (size_t i = 1; i < all.size(); ++i) ASSERT_GE(all[i] - all[i - 1], 200);
}

}  // namespace
}  // namespace tri
