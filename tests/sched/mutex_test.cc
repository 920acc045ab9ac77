// mutex_test.cc - Tests of sched/mutex.h.
#include "sched/mutex.h"

#include <cerrno>

#include "sched/context.h"
#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

TEST(Mutex, IsUnlockedWhenZero) {
  alignas(Mutex) char zeros[sizeof(Mutex)] = {};
  Mutex& m = *reinterpret_cast<Mutex*>(zeros);
  EXPECT_FALSE(m.is_locked());
  m.lock();
  EXPECT_TRUE(m.is_locked());
  m.unlock();
}

TEST(Mutex, TriesWithoutWaiting) {
  Mutex m;
  EXPECT_EQ(m.lock_until(kNoWait), 0);
  EXPECT_EQ(m.lock_until(kNoWait), -EAGAIN);
  m.unlock();
  EXPECT_EQ(m.lock_until(kNoWait), 0);
  m.unlock();
}

TEST(Mutex, GivesUpAtTheDeadline) {
  Mutex m;
  m.lock();
  for (int i = 0; i < 3; ++i) {
    const Time until = ms(2);
    EXPECT_EQ(m.lock_until(until), -ETIMEDOUT);
    EXPECT_GE(now(), until);
  }
  m.unlock();
  EXPECT_EQ(m.lock_until(kNoWait), 0);
  m.unlock();
}

TEST(MutexDeathTest, UnlockOfAnUnlockedOneIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Mutex m;
        m.unlock();
      },
      "tri: unlock of unlocked mutex 0x[0-9a-f]+ in .*\\[[0-9]+\\]");
  EXPECT_DEATH(
      {
        Mutex m;
        m.lock();
        m.unlock();
        m.unlock();
      },
      "unlock of unlocked mutex");
}

TRI_WITH_CREW(MutexOf);

TEST_P(MutexOf, ExcludesAllOthers) {
  Mutex m;
  int plain = 0;
  const int rounds = static_cast<int>(test::rounds(20'000));
  for (int k = 0; k < 4; ++k) {
    crew.go([&, k] {
      for (int i = 0; i < rounds; ++i) {
        if (k == 0 && i % 3 == 0) {
          if (m.lock_until(kNoWait) != 0) {
            m.lock();
          }
        } else {
          m.lock();
        }
        ++plain;
        m.unlock();
      }
    });
  }
  crew.join();
  EXPECT_EQ(plain, 4 * rounds);
  EXPECT_FALSE(m.is_locked());
}

TEST_P(MutexOf, LosesNoWakeUpAmongDeadlines) {
  Mutex m;
  int plain = 0;
  std::atomic<int> locked{0};
  for (int k = 0; k < 5; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < test::rounds(3000); ++i) {
        // One waits for ever, and must be served whatever the others do.
        const Time until = k == 0 ? kForever : now() + static_cast<Time>(random.below(30'000));
        if (m.lock_until(until) != 0) continue;
        ++plain;
        locked.fetch_add(1);
        if (random.one_in(50)) yield();
        m.unlock();
      }
    });
  }
  crew.join();
  EXPECT_EQ(plain, locked.load());
  EXPECT_EQ(m.lock_until(kNoWait), 0);
  m.unlock();
}

// One holds it nearly always, and comes back at once: without the starving mode, the other would not get it.
TEST_P(MutexOf, IsFairToOneWhoWaitsLong) {
  Mutex m;
  std::atomic<bool> stop{false};
  crew.go([&] {
    while (!stop.load()) {
      m.lock();
      const Time until = now() + 100'000;
      while (now() < until) {
      }
      m.unlock();
    }
  });
  for (int i = 0; i < 10; ++i) {
    const Time began = now();
    EXPECT_EQ(m.lock_until(ms(10'000)), 0);
    const Time waited = now() - began;
    m.unlock();
    EXPECT_LT(waited, 1'000'000'000);
  }
  stop.store(true);
  crew.join();
  EXPECT_FALSE(m.is_starving()) << "it ends with the last waiter";
}

TEST_P(MutexOf, StarvingWaitersGetItInTheirOrderAndMayGiveUp) {
  Mutex m;
  m.lock();
  std::atomic<int> waiting{0};
  std::atomic<int> served{0};
  for (int k = 0; k < 6; ++k) {
    crew.go([&, k] {
      waiting.fetch_add(1);
      if (m.lock_until(k % 2 == 0 ? kForever : ms(3)) == 0) {
        served.fetch_add(1);
        const Time until = now() + 1'200'000;  // so that the next has waited for too long
        while (now() < until) {
        }
        m.unlock();
      }
    });
  }
  test::until([&] { return waiting.load() == 6; });
  const Time until = ms(8);
  while (now() < until) yield();
  m.unlock();
  crew.join();
  EXPECT_GE(served.load(), 3);
  EXPECT_FALSE(m.is_locked());
  EXPECT_FALSE(m.is_starving());
}

TEST_P(MutexOf, ACancelledContextEndsLockUntilButNotLock) {
  Mutex m;
  Context* const context = Context::create(nullptr, kForever, nullptr, nullptr);
  m.lock();
  std::atomic<int> locked{0};
  std::atomic<bool> cancelled{false};
  crew.go([&] {
    attach_context(context);
    EXPECT_EQ(m.lock_until(kForever), -ECANCELED);
    cancelled.store(true);
    m.lock();
    locked.fetch_add(1);
    m.unlock();
    attach_context(nullptr);
  });
  context->cancel();
  test::until([&] { return cancelled.load(); });
  const Time until = ms(3);
  while (now() < until) yield();
  EXPECT_EQ(locked.load(), 0);
  m.unlock();
  crew.join();
  EXPECT_EQ(locked.load(), 1);
  context->unref();
}

// Who takes a lock last may free it, though the one who unlocked before may not have returned yet. ASan checks it.
TEST_P(MutexOf, MayBeFreedByTheLastWhoTakesIt) {
  for (size_t i = 0; i < test::rounds(3000); ++i) {
    struct Shared {
      Mutex mutex;
      int users = 3;
    };
    Shared* const s = new Shared;
    const auto use = [s] {
      s->mutex.lock();
      const bool last = --s->users == 0;
      s->mutex.unlock();
      if (last) delete s;
    };
    crew.go(use);
    crew.go(use);
    use();
    crew.join();
  }
}

}  // namespace
}  // namespace tri::sched
