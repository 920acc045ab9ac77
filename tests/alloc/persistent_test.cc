// persistent_test.cc - Tests of alloc/persistent.h and fixalloc.h.
#include "alloc/persistent.h"

#include <map>

#include "alloc/fixalloc.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

TEST(Persistent, IsZeroedAlignedAndDisjoint) {
  test::Random random;
  std::map<char*, size_t> taken;
  for (int i = 0; i < 3000; ++i) {
    const size_t alignment = size_t{1} << random.between(3, 12);
    const size_t n = random.one_in(50) ? random.size_up_to(300'000) : random.between(1, 500);
    auto* p = static_cast<char*>(persistent::alloc(n, alignment));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(test::aligned_to(p, alignment));
    ASSERT_TRUE(test::is_zero(p, n));
    memset(p, 0xff, n);
    const auto next = taken.lower_bound(p);
    ASSERT_TRUE(next == taken.end() || p + n <= next->first);
    ASSERT_TRUE(next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= p);
    taken[p] = n;
  }
}

TEST(Persistent, CountsWhatItMaps) {
  ASSERT_NE(persistent::alloc(16, 16), nullptr);  // from the first chunk, where large ones are noted
  const size_t before = persistent::mapped_bytes();
  ASSERT_NE(persistent::alloc(100'000, 64), nullptr);
  const size_t after = persistent::mapped_bytes();
  EXPECT_GE(after - before, 100'000U);
  EXPECT_LT(after - before, 100'000U + 4096);
}

TEST(Persistent, SurvivesARefusal) {
  {
    test::Faults faults(0);
    EXPECT_EQ(persistent::alloc(1 << 20, 16), nullptr);
    // What is left of a chunk can still be had, and then no more.
    size_t n = 0;
    while (persistent::alloc(64, 64) != nullptr) ASSERT_LT(++n, 2000U);
  }
  EXPECT_NE(persistent::alloc(1 << 20, 16), nullptr);
  EXPECT_NE(persistent::alloc(64, 64), nullptr);
}

TEST(Persistent, IsForManyThreads) {
  constexpr size_t kThreads = 4;
  const size_t count = test::rounds(4000);
  std::vector<std::vector<uint64_t*>> blocks(kThreads);
  test::in_threads(kThreads, [&](size_t t) {
    for (size_t i = 0; i < count; ++i) {
      auto* p = static_cast<uint64_t*>(persistent::alloc(8, 8));
      if (p == nullptr || *p != 0) continue;
      *p = t * count + i;
      blocks[t].push_back(p);
    }
  });
  for (size_t t = 0; t < kThreads; ++t) {
    ASSERT_EQ(blocks[t].size(), count);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(*blocks[t][i], t * count + i);
  }
}

struct Record {
  Record* next = nullptr;
  int value = 7;
};

TEST(FixAlloc, UsesTheLastFreedRecordFirst) {
  FixAlloc<Record, &Record::next> records;
  Record* const a = records.alloc();
  Record* const b = records.alloc();
  ASSERT_NE(a, nullptr);
  ASSERT_NE(a, b);
  EXPECT_EQ(a->value, 7);
  EXPECT_EQ(records.in_use(), 2U);
  a->value = 8;
  records.free(b);
  records.free(a);
  EXPECT_EQ(records.in_use(), 0U);
  EXPECT_EQ(records.alloc(), a);
  EXPECT_EQ(a->value, 8);  // type-stable, and as it was left
  EXPECT_EQ(a->next, nullptr);
  EXPECT_EQ(records.alloc(), b);
  EXPECT_EQ(records.in_use(), 2U);
}

TEST(FixAlloc, IsNullWithoutMemoryAndWorksAgain) {
  FixAlloc<Record, &Record::next> records;
  {
    test::Faults faults(0);
    size_t n = 0;
    while (records.alloc() != nullptr) ASSERT_LT(++n, 10'000U);
    EXPECT_EQ(records.in_use(), n);
  }
  EXPECT_NE(records.alloc(), nullptr);
}

}  // namespace
}  // namespace tri
