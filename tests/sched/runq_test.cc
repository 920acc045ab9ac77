// runq_test.cc - Tests of sched/runq.h.
#include "sched/runq.h"

#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

/// G records that are nothing but their address.
struct Records {
  explicit Records(size_t n) : data(n) {}
  G* at(size_t i) { return &data[i]; }
  size_t index(const G* g) const { return static_cast<size_t>(g - data.data()); }
  std::vector<G> data;
};

TEST(RunQ, GivesInTheOrderOfPutting) {
  Records r(300);
  for (const bool shared : {false, true}) {
    RunQ q;
    if (shared) q.share();
    for (int round = 0; round < 3; ++round) {
      for (size_t i = 0; i < RunQ::kSize; ++i) ASSERT_TRUE(q.put(r.at(i)));
      EXPECT_FALSE(q.put(r.at(299)));
      EXPECT_EQ(q.size(), RunQ::kSize);
      for (size_t i = 0; i < RunQ::kSize; ++i) ASSERT_EQ(q.take(), r.at(i));
      EXPECT_EQ(q.take(), nullptr);
      EXPECT_TRUE(q.empty());
    }
  }
}

TEST(RunQ, ReplacesWhatRunsNext) {
  Records r(3);
  for (const bool shared : {false, true}) {
    RunQ q;
    if (shared) q.share();
    EXPECT_EQ(q.put_next(r.at(0)), nullptr);
    EXPECT_EQ(q.put_next(r.at(1)), r.at(0));
    EXPECT_FALSE(q.empty());
    EXPECT_EQ(q.steal_next(r.at(0)), nullptr);
    EXPECT_EQ(q.take_next(), r.at(1));
    EXPECT_EQ(q.take_next(), nullptr);
  }
}

TEST(RunQ, GivesAHalfAway) {
  Records r(256);
  RunQ a;
  RunQ b;
  a.share();
  b.share();
  for (size_t i = 0; i < 9; ++i) ASSERT_TRUE(a.put(r.at(i)));
  EXPECT_EQ(a.steal_into(b), r.at(4));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(b.take(), r.at(i));
  EXPECT_TRUE(b.empty());
  for (size_t i = 5; i < 9; ++i) EXPECT_EQ(a.take(), r.at(i));
  EXPECT_EQ(a.steal_into(b), nullptr);
  for (size_t i = 0; i < 256; ++i) ASSERT_TRUE(a.put(r.at(i)));
  uint32_t n = 0;
  G* g = a.take_half(&n);
  EXPECT_EQ(n, 128U);
  for (size_t i = 0; i < 128; ++i, g = g->next) ASSERT_EQ(g, r.at(i));
  EXPECT_EQ(g, nullptr);
}

TEST(RunQ, LosesAndDoublesNothingWhileItIsStolenFrom) {
  // An owner puts and takes, thieves steal halves and the next one: each record is seen exactly once.
  constexpr size_t kThieves = 3;
  const size_t n = rounds(400'000);
  Records r(n);
  std::vector<std::atomic<int>> seen(n);
  RunQ q;
  q.share();
  std::atomic<bool> done{false};
  const auto see = [&](const G* g) { seen[r.index(g)].fetch_add(1, std::memory_order_relaxed); };
  in_threads(kThieves + 1, [&](size_t who) {
    if (who == 0) {
      Random random;
      for (size_t i = 0; i < n;) {
        if (random.below(3) != 0) {
          if (random.below(8) == 0) {
            if (G* const old = q.put_next(r.at(i++))) see(old);
          } else if (q.put(r.at(i))) {
            ++i;
          } else {
            uint32_t got = 0;
            for (G* g = q.take_half(&got); g != nullptr; g = g->next) see(g);
          }
        } else {
          G* g = q.take_next();
          if (g == nullptr) g = q.take();
          if (g != nullptr) see(g);
        }
      }
      while (G* const g = q.take()) see(g);
      if (G* const g = q.take_next()) see(g);
      done = true;
      return;
    }
    RunQ mine;
    mine.share();
    while (!done) {
      if (const G* const g = q.steal_into(mine)) see(g);
      while (const G* const g = mine.take()) see(g);
      if (G* const g = q.peek_next()) {
        if (q.steal_next(g) != nullptr) see(g);
      }
    }
  });
  for (size_t i = 0; i < n; ++i) ASSERT_EQ(seen[i].load(), 1) << i;
}

}  // namespace
}  // namespace tri::sched
