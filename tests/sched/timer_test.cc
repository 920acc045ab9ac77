// timer_test.cc - Tests of sched/timer.h, most of them under a clock of their own.
#include "sched/timer.h"

#include <errno.h>

#include <map>

#include "alloc/base/sys.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

std::atomic<Time> fake_now;

/// A clock that stands until it is told to move.
class FakeClock {
 public:
  FakeClock() {
    fake_now = 1'000'000'000;
    set_clock([] { return fake_now.load(); });
    timer_added(0);
  }
  // Who sleeps by one clock does not hear of the other: it is woken to look.
  ~FakeClock() {
    set_clock(nullptr);
    timer_added(0);
  }
};

G* goroutine_record() {
  G* g = take_g();
  // Not one whose last wait has left an entry in a processor's heap: there it would be found, and moved.
  while (g->timer.heap.load() != nullptr) g = take_g();
  g->kind = GKind::kGoroutine;
  g->next = nullptr;
  return g;
}

/// As a goroutine does that is about to park until `deadline`.
WaitId wait_until(TimerHeap& heap, G* g, Time deadline) {
  const WaitId id = begin_wait(g);
  arm_deadline(heap, g, deadline);
  return id;
}

TEST(TimerHeap, RunsWhatIsDueInOrder) {
  TimerHeap heap;
  Random random;
  std::multimap<Time, G*> model;
  for (int i = 0; i < 5000; ++i) {
    G* const g = goroutine_record();
    const auto when = static_cast<Time>(1 + random.below(100'000));
    wait_until(heap, g, when);
    model.emplace(when, g);
  }
  heap.verify();
  Time last = 0;
  while (!model.empty()) {
    EXPECT_EQ(heap.earliest(), model.begin()->first);
    const Time at = model.begin()->first + static_cast<Time>(random.below(200));
    for (;;) {
      size_t started = 0;
      G* g = run_due(heap, at, &started);
      EXPECT_EQ(started, 0U);
      if (g == nullptr && heap.earliest() > at) break;
      for (; g != nullptr; g = g->next_claimed) {
        EXPECT_EQ(g->result, -ETIMEDOUT);
        EXPECT_LE(g->deadline, at);
        EXPECT_GE(g->deadline, last);
        last = g->deadline;
        ASSERT_FALSE(model.empty());
        model.erase(model.begin());
      }
    }
    if (!model.empty()) {
      EXPECT_GT(model.begin()->first, at);
    }
    heap.verify();
  }
  EXPECT_EQ(heap.earliest(), kForever);
}

TEST(TimerHeap, KeepsOneEntryForAllDeadlinesOfAGoroutine) {
  TimerHeap heap;
  G* const g = goroutine_record();
  Random random;
  for (int i = 0; i < 10'000; ++i) {
    const WaitId id = wait_until(heap, g, static_cast<Time>(1'000 + random.below(1'000'000)));
    EXPECT_TRUE(claim(g, id));
    EXPECT_LE(heap.size(), 1U);
  }
  // The last wait is over: its entry leads nowhere.
  size_t started = 0;
  EXPECT_EQ(run_due(heap, 2'000'000, &started), nullptr);
  EXPECT_EQ(heap.size(), 0U);
}

TEST(TimerHeap, FollowsADeadlineThatMoves) {
  TimerHeap heap;
  G* const g = goroutine_record();
  size_t started = 0;
  WaitId id = wait_until(heap, g, 100);
  ASSERT_TRUE(claim(g, id));
  wait_until(heap, g, 500);
  // The entry of the first wait comes up, and goes on to the second's time.
  EXPECT_EQ(run_due(heap, 100, &started), nullptr);
  EXPECT_EQ(heap.earliest(), 500);
  ASSERT_TRUE(claim(g, g->wait));
  // An earlier one moves the entry.
  wait_until(heap, g, 200);
  EXPECT_EQ(heap.earliest(), 200);
  EXPECT_EQ(run_due(heap, 199, &started), nullptr);
  EXPECT_EQ(run_due(heap, 200, &started), g);
  // A wait without a deadline is not ended by what was left of one with.
  id = wait_until(heap, g, 300);
  ASSERT_TRUE(claim(g, id));
  id = begin_wait(g);
  EXPECT_EQ(run_due(heap, 400, &started), nullptr);
  EXPECT_TRUE(claim(g, id));
}

TEST(TimerHeap, ForgetsAStoppedTimer) {
  TimerHeap heap;
  Random random;
  std::vector<PublicTimer> timers(1000);
  for (PublicTimer& t : timers) ASSERT_TRUE(start_timer(heap, &t, static_cast<Time>(random.below(1000)), 0));
  for (size_t i = 0; i < timers.size(); i += 2) EXPECT_TRUE(remove_timer(&timers[i].timer));
  for (size_t i = 0; i < timers.size(); i += 2) EXPECT_FALSE(remove_timer(&timers[i].timer));
  heap.verify();
  EXPECT_EQ(heap.size(), 500U);
  for (size_t i = 1; i < timers.size(); i += 2) EXPECT_TRUE(remove_timer(&timers[i].timer));
  EXPECT_EQ(heap.earliest(), kForever);
}

TEST(TimerHeap, MovesAsAWhole) {
  TimerHeap a;
  TimerHeap b;
  std::vector<PublicTimer> timers(100);
  for (size_t i = 0; i < timers.size(); ++i) ASSERT_TRUE(start_timer(a, &timers[i], static_cast<Time>(i), 0));
  a.move_all_to(b);
  EXPECT_EQ(a.earliest(), kForever);
  EXPECT_EQ(b.size(), 100U);
  b.verify();
  for (PublicTimer& t : timers) EXPECT_TRUE(remove_timer(&t.timer));
}

TEST(Timer, TicksInItsRhythmAndDropsWhatItMissed) {
  set_procs(1);
  static std::atomic<int> ticks;
  ticks = 0;
  PublicTimer t;
  t.fn = [](void*) { ++ticks; };
  TimerHeap heap;
  ASSERT_TRUE(start_timer(heap, &t, 1000, 100));
  size_t started = 0;
  run_due(heap, 1000, &started);
  EXPECT_EQ(started, 1U);
  EXPECT_EQ(heap.earliest(), 1100);
  run_due(heap, 1350, &started);  // two are missed
  EXPECT_EQ(started, 1U);
  EXPECT_EQ(heap.earliest(), 1400);
  EXPECT_TRUE(eventually([] { return ticks == 2; }));
  EXPECT_TRUE(remove_timer(&t.timer));
}

TEST(Timer, WakesASleeperOfAFakeClock) {
  set_procs(1);
  FakeClock clock;
  std::atomic<bool> woke{false};
  const Time until = fake_now + 500;
  const TaskId id = spawn([&] {
    sleep_until(until);
    woke = true;
  });
  for (int i = 0; i < 1000; ++i) sys::yield();
  EXPECT_FALSE(woke);
  fake_now += 501;
  // Something must make a P look; real time would.
  while (!woke) in_goroutine([] {});
  EXPECT_EQ(join(id, kForever), 0);
}

TEST(Timer, HundredThousandSleepAndAllWake) {
  set_procs(2);
  const size_t n = kSlow ? 300 : 100'000;
  std::atomic<size_t> left{n};
  const Time until = now() + milliseconds(300);
  static std::atomic<size_t>* counter;
  static Time when;
  counter = &left;
  when = until;
  for (size_t i = 0; i < n; ++i) {
    ASSERT_EQ(go(
                  [](void*) {
                    sleep_until(when);
                    if (now() >= when) counter->fetch_sub(1);
                  },
                  nullptr),
              0);
  }
  EXPECT_TRUE(eventually([&] { return left == 0; }));
}

}  // namespace
}  // namespace tri::sched
