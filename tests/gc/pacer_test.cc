// pacer_test.cc - The pacer against simulated programs.
#include "gc/pacer.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "gtest/gtest.h"

namespace tri::gc {
namespace {

constexpr double kMiB = 1024 * 1024;
constexpr double kMs = 1e6;

/// A program that allocates without end and keeps so much alive, on a machine of so many CPUs; and a collector that does as it is told.
struct Program {
  double cpus = 4;
  double bytes_per_ns = 0.5;   // allocated, for each CPU
  double marked_per_ns = 1.0;  // by one CPU
  std::function<double(double ns)> live = [](double) { return 100 * kMiB; };
  double roots = 1 * kMiB;
};

struct Result {
  double worst_beyond_goal = 0;  // heap at a cycle's end to its goal
  double peak = 0;
  double collector_share = 0;  // of all CPU time
  double worst_share = 0;      // of the second that had most
  double assist_share = 0;
  int cycles = 0;
};

Result simulate(Pacer& pacer, const Program& p, double seconds) {
  constexpr double kStep = 0.1 * kMs;
  Result r;
  double heap = 0, since = 0, now = 0, collector = 0, assists = 0, total = 0;
  double second_collector = 0, second_total = 0;
  bool marking = false;
  double scanned = 0, to_scan = 0, born = 0, cycle_allocated = 0, cycle_mutator = 0, cycle_marker = 0;
  while (now < seconds * 1e9) {
    const double all = p.cpus * kStep;
    double marker = 0, mutator = all, helped = 0;
    if (!marking && pacer.is_due(static_cast<uint64_t>(heap), static_cast<int64_t>(since))) {
      marking = true;
      scanned = born = cycle_allocated = cycle_mutator = cycle_marker = 0;
      to_scan = std::min(p.live(now), heap) + p.roots;
      pacer.begin(static_cast<uint64_t>(heap));
      ++r.cycles;
    }
    if (marking) {
      marker = all / 4;
      mutator = all - marker;
      // Each byte costs its share of marking: time for allocating and for helping are in that relation.
      const double assist = pacer.assist_per_1024(static_cast<uint64_t>(scanned), static_cast<uint64_t>(heap)) / 1024.0;
      const double per_byte = 1 / p.bytes_per_ns + assist / p.marked_per_ns;
      const double allocated = mutator / per_byte;
      helped = allocated * assist / p.marked_per_ns;
      mutator -= helped;
      heap += allocated;
      born += allocated;
      cycle_allocated += allocated;
      scanned += (marker + helped) * p.marked_per_ns;
    } else {
      heap += mutator * p.bytes_per_ns;
    }
    pacer.spend(static_cast<int64_t>(marker + helped), static_cast<int64_t>(mutator));
    cycle_mutator += mutator;
    cycle_marker += marker + helped;
    collector += marker + helped;
    assists += helped;
    total += all;
    second_collector += marker + helped;
    second_total += all;
    if (second_total >= p.cpus * 1e9) {
      r.worst_share = std::max(r.worst_share, second_collector / second_total);
      second_collector = second_total = 0;
    }
    now += kStep;
    since += kStep;
    r.peak = std::max(r.peak, heap);
    if (marking && scanned >= to_scan) {
      marking = false;
      since = 0;
      // What a step allocates is more than a small heap.
      const auto goal = static_cast<double>(pacer.goal_bytes());
      if (goal > 64 * kMiB) r.worst_beyond_goal = std::max(r.worst_beyond_goal, heap / goal);
      const double live = std::min(p.live(now), heap);
      heap = std::min(heap, live + born);  // what was allocated meanwhile is black
      CycleFigures c;
      c.live_bytes = static_cast<uint64_t>(heap);
      c.root_bytes = static_cast<uint64_t>(p.roots);
      c.allocated_bytes = static_cast<uint64_t>(cycle_allocated);
      c.mutator_ns = static_cast<int64_t>(cycle_mutator);
      c.marker_ns = static_cast<int64_t>(cycle_marker);
      pacer.end(c);
    }
  }
  r.collector_share = collector / total;
  r.assist_share = assists / total;
  return r;
}

PacerOptions options(uint32_t cpus = 4) {
  PacerOptions o;
  o.cpus = cpus;
  return o;
}

TEST(Pacer, ASteadyProgramStaysWithinItsGoal) {
  for (const double rate : {0.001, 0.05, 0.5, 2.0}) {
    Pacer pacer(options());
    Program p;
    p.bytes_per_ns = rate;
    const Result r = simulate(pacer, p, 60);
    EXPECT_LT(r.worst_beyond_goal, 1.1) << rate;  // as far as it may overshoot
    // Twice what is alive, and what was born black in the last cycle, which counts as alive for one more.
    EXPECT_LT(r.peak, 4.5 * 101 * kMiB) << rate;
    EXPECT_GE(r.cycles, rate < 0.05 ? 1 : 10) << rate;
  }
}

TEST(Pacer, TheCollectorTakesNoMoreThanItsShareOfASlowProgram) {
  Pacer pacer(options());
  Program p;
  p.bytes_per_ns = 0.05;
  const Result r = simulate(pacer, p, 120);
  EXPECT_LT(r.collector_share, 0.25);
  EXPECT_LT(r.assist_share, 0.02) << "the trigger leaves the markers the time that they need";
}

TEST(Pacer, AGrowingHeapIsFollowed) {
  Pacer pacer(options());
  Program p;
  p.live = [](double ns) { return (50 + ns / 1e9 * 50) * kMiB; };
  const Result r = simulate(pacer, p, 60);
  EXPECT_LT(r.worst_beyond_goal, 1.1);
  EXPECT_LT(r.peak, 4.5 * 3050 * kMiB);
}

TEST(Pacer, AHeapThatGrowsAtOnceIsCaughtUpWith) {
  Pacer pacer(options());
  Program p;
  p.live = [](double ns) { return ns < 20e9 ? 20 * kMiB : 600 * kMiB; };
  const Result r = simulate(pacer, p, 60);
  EXPECT_LT(r.peak, 4.5 * 600 * kMiB);
  EXPECT_GT(r.cycles, 10);
}

TEST(Pacer, PercentSetsTheGoal) {
  CycleFigures c;
  c.live_bytes = 100 << 20;
  c.root_bytes = 10 << 20;
  for (const uint32_t percent : {50u, 100u, 400u}) {
    PacerOptions o = options();
    o.percent = percent;
    Pacer pacer(o);
    pacer.end(c);
    EXPECT_EQ(pacer.goal_bytes(), (100u << 20) + (uint64_t{110} << 20) * percent / 100);
    EXPECT_GE(pacer.trigger_bytes(), c.live_bytes + (pacer.goal_bytes() - c.live_bytes) / 100 * 69);
    EXPECT_LE(pacer.trigger_bytes(), pacer.goal_bytes());
  }
}

TEST(Pacer, WithoutPercentOnlyTimeAndTheLimitBeginACycle) {
  PacerOptions o = options();
  o.percent = 0;
  Pacer pacer(o);
  EXPECT_FALSE(pacer.is_due(uint64_t{1} << 40, 0));
  EXPECT_TRUE(pacer.is_due(1, o.period_ns));
  o.limit_bytes = 1 << 30;
  pacer.set_options(o);
  EXPECT_TRUE(pacer.is_due(uint64_t{1} << 30, 0));
  EXPECT_FALSE(pacer.is_due(uint64_t{1} << 29, 0));
}

TEST(Pacer, ASmallHeapIsLeftAlone) {
  Pacer pacer(options());
  EXPECT_FALSE(pacer.is_due(1 << 20, 0));
  CycleFigures c;
  c.live_bytes = 1000;
  pacer.end(c);
  EXPECT_EQ(pacer.goal_bytes(), 6u << 20);
}

TEST(Pacer, WhileTheLimitHasHadItsShareThePercentageGoesOn) {
  PacerOptions o = options();
  o.limit_bytes = 100 << 20;
  Pacer pacer(o);
  CycleFigures c;
  c.live_bytes = 150 << 20;
  pacer.end(c);
  EXPECT_TRUE(pacer.is_bound_by_limit());
  EXPECT_TRUE(pacer.is_due(uint64_t{152} << 20, 0));
  pacer.spend(10'000'000'000, 0);
  ASSERT_TRUE(pacer.is_limiting());
  EXPECT_FALSE(pacer.is_due(uint64_t{152} << 20, 0));
  EXPECT_EQ(pacer.percent_goal_bytes(), uint64_t{300} << 20);
  EXPECT_TRUE(pacer.is_due(uint64_t{300} << 20, 0));
}

TEST(Pacer, TheLimitHoldsWhileThereIsRoomBelowIt) {
  PacerOptions o = options();
  o.percent = 400;
  o.limit_bytes = 400 << 20;
  Pacer pacer(o);
  Program p;
  p.bytes_per_ns = 0.2;
  const Result r = simulate(pacer, p, 60);
  EXPECT_LT(r.peak, 400 * kMiB) << "and not the 500 MiB of the percentage";
  EXPECT_GT(r.peak, 300 * kMiB);
}

TEST(Pacer, WhatIsNoHeapCountsAgainstTheLimit) {
  PacerOptions o = options();
  o.limit_bytes = 1 << 30;
  o.percent = 1000;
  Pacer pacer(o);
  CycleFigures c;
  c.live_bytes = 300 << 20;
  pacer.end(c);
  const uint64_t before = pacer.goal_bytes();
  pacer.set_overhead(200 << 20);
  EXPECT_EQ(before - pacer.goal_bytes(), 200u << 20);
}

TEST(Pacer, AProgramThatDoesNotFitItsLimitIsNotCollectedToDeath) {
  for (const double live : {395.0, 420.0, 800.0}) {
    PacerOptions o = options();
    o.limit_bytes = 400 << 20;
    Pacer pacer(o);
    Program p;
    p.bytes_per_ns = 0.5;
    p.live = [live](double) { return live * kMiB; };
    const Result r = simulate(pacer, p, 60);
    EXPECT_LT(r.collector_share, 0.60) << live;
    EXPECT_GT(r.collector_share, 0.10) << live << ": it does try";
  }
}

TEST(Pacer, AssistsGrowAsTheRoomShrinks) {
  Pacer pacer(options());
  CycleFigures c;
  c.live_bytes = 100 << 20;
  pacer.end(c);
  pacer.begin(160 << 20);
  const uint32_t early = pacer.assist_per_1024(0, 160 << 20);
  const uint32_t late = pacer.assist_per_1024(0, 195 << 20);
  EXPECT_GT(late, 4 * early);
  EXPECT_LT(pacer.assist_per_1024(90 << 20, 160 << 20), early);
  EXPECT_EQ(pacer.assist_per_1024(uint64_t{400} << 20, 190 << 20), 0u) << "all is done";
}

TEST(Pacer, ExtremesDoNotOverflow) {
  for (const uint64_t n : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 47, UINT64_MAX}) {
    for (const uint32_t percent : {0u, 1u, 100u, UINT32_MAX}) {
      PacerOptions o = options();
      o.percent = percent;
      o.limit_bytes = n;
      Pacer pacer(o);
      pacer.set_overhead(n);
      pacer.begin(n);
      CycleFigures c{n, n, n, INT64_MAX, 1};
      pacer.end(c);
      EXPECT_GE(pacer.goal_bytes(), n) << n << " " << percent;
      EXPECT_LE(pacer.trigger_bytes(), pacer.goal_bytes());
      (void)pacer.assist_per_1024(n / 2, n);
      pacer.spend(INT64_MAX, 0);
      pacer.spend(0, INT64_MAX);
    }
  }
}

TEST(Pacer, AQuarterOfTheMachineMarks) {
  EXPECT_EQ(Pacer(options(1)).workers(), 1u);
  EXPECT_EQ(Pacer(options(2)).workers(), 1u);
  EXPECT_EQ(Pacer(options(8)).workers(), 2u);
  EXPECT_EQ(Pacer(options(64)).workers(), 16u);
}

}  // namespace
}  // namespace tri::gc
