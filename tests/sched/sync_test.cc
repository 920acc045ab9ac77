// sync_test.cc - Tests of sched/cond.h, waitgroup.h, once.h and semaphore.h.
#include <cerrno>

#include "sched/cond.h"
#include "sched/context.h"
#include "sched/once.h"
#include "sched/semaphore.h"
#include "sched/waitgroup.h"
#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

// ---- conditions ------------------------------------------------------------------------------------------------

TEST(CondDeathTest, NeedsALockedMutex) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Mutex m;
        Cond c;
        (void)c.wait(&m, kForever);
      },
      "tri: wait on a condition with unlocked mutex 0x");
}

TEST(Cond, TimesOutWithTheMutexLocked) {
  Mutex m;
  Cond c;
  m.lock();
  EXPECT_EQ(c.wait(&m, kNoWait), -EAGAIN);
  EXPECT_EQ(c.wait(&m, ms(2)), -ETIMEDOUT);
  EXPECT_TRUE(m.is_locked());
  m.unlock();
  c.signal();
  c.broadcast();
}

TRI_WITH_CREW(CondOf);

TEST_P(CondOf, SignalWakesOneAtATimeInTheOrderOfWaiting) {
  Mutex m;
  Cond c;
  int waiting = 0;
  int woken[4] = {-1, -1, -1, -1};
  int count = 0;
  for (int k = 0; k < 4; ++k) {
    crew.go([&, k] {
      m.lock();
      ++waiting;
      EXPECT_EQ(c.wait(&m, kForever), 0);
      woken[count++] = k;
      m.unlock();
    });
    test::until([&] {
      MutexGuard guard(m);
      return waiting == k + 1;
    });
  }
  for (int k = 0; k < 4; ++k) {
    c.signal();
    test::until([&] {
      MutexGuard guard(m);
      return count == k + 1;
    });
    MutexGuard guard(m);
    EXPECT_EQ(woken[k], k);
    EXPECT_EQ(count, k + 1) << "one signal, one waiter";
  }
  crew.join();
}

TEST_P(CondOf, BroadcastWakesAllWhoWaitAndNobodyWhoComesLater) {
  Mutex m;
  Cond c;
  int waiting = 0;
  int woken = 0;
  for (int k = 0; k < 5; ++k) {
    crew.go([&] {
      MutexGuard guard(m);
      ++waiting;
      EXPECT_EQ(c.wait(&m, kForever), 0);
      ++woken;
    });
  }
  test::until([&] {
    MutexGuard guard(m);
    return waiting == 5;
  });
  c.broadcast();
  crew.join();
  EXPECT_EQ(woken, 5);
  m.lock();
  EXPECT_EQ(c.wait(&m, ms(1)), -ETIMEDOUT);
  m.unlock();
}

TEST_P(CondOf, LosesNoSignalInAQueueOfBoundedLength) {
  Mutex m;
  Cond not_full;
  Cond not_empty;
  int length = 0;
  const int each = static_cast<int>(test::rounds(3000));
  for (int k = 0; k < 3; ++k) {
    crew.go([&] {
      for (int i = 0; i < each; ++i) {
        MutexGuard guard(m);
        // Deadlines on the way must not take a signal with them.
        while (length == 2) (void)not_full.wait(&m, i % 3 == 0 ? now() + 20'000 : kForever);
        ++length;
        not_empty.signal();
      }
    });
    crew.go([&] {
      for (int i = 0; i < each; ++i) {
        MutexGuard guard(m);
        while (length == 0) (void)not_empty.wait(&m, i % 3 == 1 ? now() + 20'000 : kForever);
        --length;
        not_full.signal();
      }
    });
  }
  crew.join();
  EXPECT_EQ(length, 0);
}

TEST_P(CondOf, ACancelledContextEndsTheWaitWithTheMutexLocked) {
  Mutex m;
  Cond c;
  Context* const context = Context::create(nullptr, kForever, nullptr, nullptr);
  bool waiting = false;
  crew.go([&] {
    attach_context(context);
    MutexGuard guard(m);
    waiting = true;
    EXPECT_EQ(c.wait(&m, kForever), -ECANCELED);
    EXPECT_TRUE(m.is_locked());
    attach_context(nullptr);
  });
  test::until([&] {
    MutexGuard guard(m);
    return waiting;
  });
  context->cancel();
  crew.join();
  context->unref();
}

// ---- waitgroups ------------------------------------------------------------------------------------------------

TEST(WaitGroup, OfZeroDoesNotWait) {
  WaitGroup w;
  EXPECT_EQ(w.wait(kNoWait), 0);
  EXPECT_EQ(w.wait(kForever), 0);
  w.add(2);
  EXPECT_EQ(w.wait(kNoWait), -EAGAIN);
  EXPECT_EQ(w.wait(ms(1)), -ETIMEDOUT);
  w.done();
  w.add(-1);
  EXPECT_EQ(w.wait(kForever), 0);
}

TEST(WaitGroupDeathTest, BelowZeroIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        WaitGroup w;
        w.add(1);
        w.done();
        w.done();
      },
      "tri: count below zero of waitgroup 0x");
  EXPECT_DEATH(
      {
        WaitGroup w;
        w.add((1 << 30) - 1);
        w.add((1 << 30) - 1);
      },
      "tri: count out of range of waitgroup 0x");
}

TRI_WITH_CREW(WaitGroupOf);

TEST_P(WaitGroupOf, WaitsForAllAndSeesWhatTheyDid) {
  for (size_t i = 0; i < test::rounds(500); ++i) {
    WaitGroup w;
    int data[3] = {};
    std::atomic<int> through{0};
    w.add(3);
    for (int k = 0; k < 2; ++k) {
      crew.go([&] {
        EXPECT_EQ(w.wait(kForever), 0);
        EXPECT_EQ(data[0] + data[1] + data[2], 6);
        through.fetch_add(1);
      });
    }
    for (int k = 0; k < 3; ++k) {
      crew.go([&, k] {
        data[k] = k + 1;
        w.done();
      });
    }
    crew.join();
    EXPECT_EQ(through.load(), 2);
  }
}

TEST_P(WaitGroupOf, MayBeFreedByWhoWaited) {
  for (size_t i = 0; i < test::rounds(3000); ++i) {
    auto* const w = new WaitGroup;
    w->add(2);
    crew.go([w] { w->done(); });
    crew.go([w] { w->done(); });
    // One who times out on the way, so that the last done() may find nobody.
    if (w->wait(now() + static_cast<Time>(i % 50) * 1000) != 0) {
      EXPECT_EQ(w->wait(kForever), 0);
    }
    delete w;
    crew.join();
  }
}

// ---- once ------------------------------------------------------------------------------------------------------

TRI_WITH_CREW(OnceOf);

TEST_P(OnceOf, RunsOnceAndAllSeeItDone) {
  for (size_t i = 0; i < test::rounds(1000); ++i) {
    Once once;
    int ran = 0;
    for (int k = 0; k < 4; ++k) {
      crew.go([&] {
        EXPECT_EQ(once.run([](void* n) { ++*static_cast<int*>(n); }, &ran, kForever), 0);
        EXPECT_EQ(ran, 1);
      });
    }
    crew.join();
    EXPECT_EQ(ran, 1);
  }
}

TEST_P(OnceOf, WaitsForAnothersCallUntilTheDeadline) {
  Once once;
  struct Gate {
    std::atomic<bool> entered{false};
    std::atomic<bool> open{false};
  } gate;
  const auto wait_at_gate = [](void* p) {
    auto* const g = static_cast<Gate*>(p);
    g->entered.store(true);
    test::until([g] { return g->open.load(); });
  };
  crew.go([&] { EXPECT_EQ(once.run(wait_at_gate, &gate, kNoWait), 0); });
  test::until([&] { return gate.entered.load(); });
  EXPECT_EQ(once.run(wait_at_gate, &gate, kNoWait), -EAGAIN);
  EXPECT_EQ(once.run(wait_at_gate, &gate, ms(1)), -ETIMEDOUT);
  gate.open.store(true);
  EXPECT_EQ(once.run(wait_at_gate, &gate, kForever), 0);
  crew.join();
}

// ---- semaphores ------------------------------------------------------------------------------------------------

TEST(Semaphore, CountsPermits) {
  Semaphore s(3);
  EXPECT_EQ(s.acquire(2, kNoWait), 0);
  EXPECT_EQ(s.acquire(2, kNoWait), -EAGAIN);
  EXPECT_EQ(s.acquire(2, ms(1)), -ETIMEDOUT);
  EXPECT_EQ(s.acquire(1, kNoWait), 0);
  s.release(3);
  EXPECT_EQ(s.permits(), 3U);
  EXPECT_EQ(s.acquire(3, kNoWait), 0);
  Semaphore none;
  EXPECT_EQ(none.acquire(0, kNoWait), 0);
  EXPECT_EQ(none.acquire(1, kNoWait), -EAGAIN);
}

TEST(SemaphoreDeathTest, TooManyPermitsAreFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Semaphore s(Semaphore::kMost);
        s.release(1);
      },
      "tri: too many permits of semaphore 0x");
}

TRI_WITH_CREW(SemaphoreOf);

TEST_P(SemaphoreOf, AdmitsNoMoreThanItHas) {
  Semaphore s(5);
  std::atomic<int> inside{0};
  for (int k = 0; k < 5; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < test::rounds(3000); ++i) {
        const uint32_t n = static_cast<uint32_t>(random.between(1, 4));
        const Time until = random.one_in(3) ? now() + static_cast<Time>(random.below(20'000)) : kForever;
        if (s.acquire(n, until) != 0) continue;
        ASSERT_LE(inside.fetch_add(static_cast<int>(n)) + static_cast<int>(n), 5);
        if (random.one_in(20)) yield();
        inside.fetch_sub(static_cast<int>(n));
        s.release(n);
      }
    });
  }
  crew.join();
  EXPECT_EQ(s.permits(), 5U);
  EXPECT_EQ(s.acquire(5, kNoWait), 0) << "nobody is left in the queue";
}

TEST_P(SemaphoreOf, ALargeRequestIsNotOvertakenAndItsEndLetsTheSmallOnesIn) {
  for (Time patience = 30'000'000;; patience *= 2) {
    Semaphore s(1);
    const Time end = now() + patience;
    crew.go([&] { EXPECT_EQ(s.acquire(3, end), -ETIMEDOUT); });
    test::until([&] {
      if (now() >= end || s.acquire(1, kNoWait) != 0) return true;
      s.release(1);
      return false;
    });
    const int small = s.acquire(1, ms(1));
    if (small == 0) {
      ASSERT_GE(now(), end) << "it has overtaken the large one";
      crew.join();
      continue;  // too slow to see anything
    }
    EXPECT_EQ(small, -ETIMEDOUT) << "there is one, but the other came first";
    EXPECT_EQ(s.acquire(1, ms(10'000)), 0) << "it has given up";
    crew.join();
    return;
  }
}

TEST_P(SemaphoreOf, MayBeFreedByWhoAcquiredLast) {
  for (size_t i = 0; i < test::rounds(3000); ++i) {
    auto* const s = new Semaphore;
    crew.go([s] { s->release(1); });
    if (s->acquire(1, now() + static_cast<Time>(i % 50) * 1000) != 0) {
      EXPECT_EQ(s->acquire(1, kForever), 0);
    }
    delete s;
    crew.join();
  }
}

}  // namespace
}  // namespace tri::sched
