// wait_test.cc - Tests of sched/wait.h.
#include "sched/wait.h"

#include <errno.h>

#include <thread>

#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

TEST(Wait, HasOneWinner) {
  G* const g = current();
  const WaitId id = begin_wait(g);
  std::atomic<int> winners{0};
  test::in_threads(4, [&](size_t) { winners.fetch_add(claim(g, id) ? 1 : 0); });
  EXPECT_EQ(winners.load(), 1);
  EXPECT_FALSE(claim(g, id));
}

TEST(Wait, IsNotClaimedByAnEarlierNumber) {
  G* const g = current();
  const WaitId first = begin_wait(g);
  ASSERT_TRUE(claim(g, first));
  const WaitId second = begin_wait(g);
  EXPECT_FALSE(claim(g, first));
  EXPECT_TRUE(claim(g, second));
}

TEST(Wait, ReturnsWhatItWasReadiedWith) {
  G* const g = current();
  for (int i = 0; i < 1000; ++i) {
    const WaitId id = begin_wait(g);
    std::thread waker([&] {
      if (claim(g, id)) ready(g, i);
    });
    EXPECT_EQ(park(WaitReason::kSleep, nullptr, kForever), i);
    waker.join();
  }
}

TEST(Wait, EndsAtItsDeadlineAndNotBefore) {
  G* const g = current();
  const Time until = now() + 5'000'000;
  (void)begin_wait(g);
  EXPECT_EQ(park(WaitReason::kSleep, nullptr, until), -ETIMEDOUT);
  EXPECT_GE(now(), until);
}

TEST(Wait, ReleasesTheLock) {
  SpinLock lock;
  G* const g = current();
  lock.lock();
  const WaitId id = begin_wait(g);
  std::thread waker([&] {
    SpinGuard guard(lock);
    if (claim(g, id)) ready(g, 7);
  });
  EXPECT_EQ(park(WaitReason::kSleep, &lock, kForever), 7);
  EXPECT_FALSE(in_critical());
  waker.join();
}

}  // namespace
}  // namespace tri::sched
