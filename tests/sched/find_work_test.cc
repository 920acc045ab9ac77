// find_work_test.cc - Tests of sched/find_work.cc: whatever goes to sleep, somebody keeps the time of all that is idle.
#include <sys/resource.h>

#include "sched/stack.h"
#include "sched/timer.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

/// Two processors, both idle, and an M that keeps the time; no other M sleeps.
class FindWork : public ::testing::Test {
 protected:
  FindWork() {
    set_procs(2);
    in_goroutine([] {});
    EXPECT_TRUE(eventually([] { return busy_procs() == 0 && sched.sysmon_asleep.load() && all_sleep(); }));
  }
  /// One that is on its way to sleep may yet take a processor that is idle.
  static bool all_sleep() {
    SpinGuard guard(sched.lock);
    uint32_t unborn = 0;
    for (const M* m = sched.unborn_ms; m != nullptr; m = m->next_idle) ++unborn;
    return sched.keeper != nullptr && sched.keeper_until.load() != 0 &&
           sched.idle_m_count.load() + 1 + lost == sched.m_count - unborn;
  }
  /// Takes all Ms but the keeper out of service, for ever.
  static void lose_idle_ms() {
    for (; sched.idle_m_count.load() != 0; ++lost) (void)reserve_m();
  }
  static inline uint32_t lost = 0;

  static constexpr Time kTooLong = 3'000'000'000;
};

TEST_F(FindWork, TheTimersOfAnIdleProcessorAreKeptWhileTheKeeperWorks) {
  // The keeper is given one processor, with a goroutine on it that computes for long. A timer of the other one comes due meanwhile.
  std::atomic<bool> rang{false};
  std::atomic<bool> in_time{false};
  ASSERT_TRUE(sched.idle.take(0));
  ASSERT_TRUE(sched.idle.take(1));
  const TaskId hog = spawn([&] {
    const Time give_up = now() + kTooLong;
    while (!rang.load(std::memory_order_relaxed) && now() < give_up) {
    }
    in_time = rang.load();
  });
  PublicTimer timer;
  timer.fn = [](void* p) { static_cast<std::atomic<bool>*>(p)->store(true); };
  timer.arg = &rang;
  const Time when = now() + milliseconds(500);
  ASSERT_TRUE(start_timer(sched.ps[1].load()->timers, &timer, when, 0));
  timer_added(when);
  // The keeper has heard of it, and sleeps again.
  ASSERT_TRUE(eventually([&] { return all_sleep() && sched.keeper_until.load() <= when; }));
  lose_idle_ms();
  // To the first processor itself: for the global queue sysmon would wake somebody.
  G* const g = sched.globq.take(1);
  ASSERT_NE(g, nullptr);
  sched.ps[0].load()->runq.put_next(g);
  sched.idle.put(1);
  M* const keeper = reserve_m();
  ASSERT_NE(keeper, nullptr);
  give_p(keeper, sched.ps[0].load(), false);
  EXPECT_EQ(join(hog, kForever), 0);
  EXPECT_TRUE(in_time);
}

TEST_F(FindWork, ADeadlineThatComesEarlierInTheHeapOfAnIdleProcessorIsKept) {
  // The goroutine's entry stands in the heap where its last wait began. Its next deadline is earlier, and its processor busy after it.
  std::atomic<bool> woke{false};
  std::atomic<bool> in_time{false};
  TaskId hog = 0;
  ASSERT_TRUE(sched.idle.take(1));
  in_goroutine([&] {
    G* const g = current();
    const WaitId before = begin_wait(g);
    arm_deadline(sched.ps[1].load()->timers, g, now() + 60'000'000'000);
    ASSERT_TRUE(claim(g, before));
    hog = spawn([&] {
      sched.idle.put(1);
      const Time give_up = now() + kTooLong;
      while (!woke.load(std::memory_order_relaxed) && now() < give_up) {
      }
      in_time = woke.load();
    });
    (void)begin_wait(g);
    EXPECT_EQ(park(WaitReason::kSleep, nullptr, now() + milliseconds(50)), -ETIMEDOUT);
    woke = true;
  });
  EXPECT_EQ(join(hog, kForever), 0);
  EXPECT_TRUE(in_time);
}

TEST_F(FindWork, TheTimersOfAProcessorThatIsToGoAreRunByOthers) {
  // It goes out of service only when the goroutine on it, which cannot be preempted, comes to the scheduler.
  std::atomic<bool> rang{false};
  std::atomic<bool> in_time{false};
  std::atomic<bool> runs{false};
  PublicTimer timer;
  timer.fn = [](void* p) { static_cast<std::atomic<bool>*>(p)->store(true); };
  timer.arg = &rang;
  ASSERT_TRUE(sched.idle.take(0));
  const TaskId hog = spawn([&] {
    enter_critical();
    ASSERT_EQ(current_m()->p->id, 1U);
    runs = true;
    const Time give_up = now() + kTooLong;
    while (!rang.load(std::memory_order_relaxed) && now() < give_up) {
    }
    in_time = rang.load();
    leave_critical();
  });
  ASSERT_TRUE(eventually([&] { return runs.load(); }));
  sched.idle.put(0);
  set_procs(1);
  const Time when = now() + milliseconds(50);
  ASSERT_TRUE(start_timer(sched.ps[1].load()->timers, &timer, when, 0));
  timer_added(when);
  EXPECT_EQ(join(hog, kForever), 0);
  EXPECT_TRUE(in_time);
}

TEST_F(FindWork, StacksGoBackThoughTheKeeperWentToSleepBefore) {
  // More than the processors keep for themselves.
  constexpr int kMany = 1000;
  std::atomic<int> started{0};
  std::vector<TaskId> ids;
  const Time until = now() + milliseconds(50);
  for (int i = 0; i < kMany; ++i) {
    ids.push_back(spawn([&] {
      ++started;
      sleep_until(until);
    }));
  }
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
  EXPECT_TRUE(eventually([] { return stack_stats().pooled == 0; })) << stack_stats().pooled;
}

#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__  // whose memory goes beyond any limit
TEST(Threads, ThatCannotBeMadeAreMadeWhenTheyCan) {
  const int status = in_child([] {
    rlimit before{};
    CHILD_CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    const rlimit none = {1, before.rlim_max};
    CHILD_CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    // Stacks that libc has kept from threads that ended are used up first.
    while (reserve_idle_m()) {
      CHILD_CHECK(eventually([] { return sched.idle_m_count.load() != 0; }));
      (void)reserve_m();
    }
    // As sysmon does each millisecond while somebody is to be preempted.
    for (int i = 0; i < 20'000; ++i) CHILD_CHECK(!reserve_idle_m());
    CHILD_CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    CHILD_CHECK(reserve_idle_m());
    return 0;
  });
  EXPECT_EQ(status, 0);
}
#endif

}  // namespace
}  // namespace tri::sched
