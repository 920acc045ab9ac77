// counters_test.cc - Tests of alloc/counters.h.
#include "alloc/counters.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

TEST(Counters, RemembersThePeak) {
  Counters c;
  c.add_used(100, 0);
  c.add_used(50, 120);
  EXPECT_EQ(c.used_bytes.load(), 30U);
  EXPECT_EQ(c.peak_bytes.load(), 100U);
  c.add_used(80, 0);
  EXPECT_EQ(c.peak_bytes.load(), 110U);
  c.add_used(0, 110);
  EXPECT_EQ(c.used_bytes.load(), 0U);
  EXPECT_EQ(c.peak_bytes.load(), 110U);
}

TEST(Counters, RemembersTheMostThreads) {
  Counters c;
  c.set_threads(3);
  c.set_threads(1);
  EXPECT_EQ(c.threads.load(), 1U);
  EXPECT_EQ(c.most_threads.load(), 3U);
}

TEST(Counters, CopiesEachField) {
  // The fields are nothing but 64-bit words, so a new one that copy_from() forgets is found here.
  Counters from;
  Counters to;
  constexpr size_t kFields = sizeof(Counters) / sizeof(std::atomic<uint64_t>);
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(&from);
  for (size_t i = 0; i < kFields; ++i) words[i].store(i + 1);
  to.copy_from(from);
  words = reinterpret_cast<std::atomic<uint64_t>*>(&to);
  for (size_t i = 0; i < kFields; ++i) EXPECT_EQ(words[i].load(), i + 1);
}

TEST(Counters, MoveWithTheirValues) {
  test::warm_up();
  static Counters elsewhere;
  Counters* const before = counters;
  void* const p = allocate(100'000);
  const uint64_t used = test::used_bytes();
  move_counters(&elsewhere);
  EXPECT_EQ(counters, &elsewhere);
  EXPECT_EQ(test::used_bytes(), used);
  void* const q = allocate(200'000);
  EXPECT_GT(elsewhere.used_bytes.load(), used);
  deallocate(p);
  deallocate(q);
  test::drop_caches();
  EXPECT_LT(elsewhere.used_bytes.load(), used);
  move_counters(before);
  EXPECT_EQ(counters, before);
}

TEST(Counters, FollowTheHeap) {
  test::warm_up();
  const uint64_t used = test::used_bytes();
  const uint64_t huge = counters->huge_bytes.load();
  void* const p = allocate(size_t{50} << 20);
  EXPECT_EQ(counters->huge_bytes.load() - huge, size_t{50} << 20);
  EXPECT_EQ(test::used_bytes() - used, size_t{50} << 20);
  EXPECT_GE(counters->peak_bytes.load(), test::used_bytes());
  deallocate(p);
  EXPECT_EQ(counters->huge_bytes.load(), huge);
  EXPECT_EQ(test::used_bytes(), used);
  EXPECT_GE(counters->committed_bytes.load(), used - huge);
  EXPECT_GE(counters->arena_bytes.load(), counters->committed_bytes.load());
}

}  // namespace
}  // namespace tri
