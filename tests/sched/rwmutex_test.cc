// rwmutex_test.cc - Tests of sched/rwmutex.h.
#include "sched/rwmutex.h"

#include <cerrno>

#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

TEST(RWMutex, LetsInManyReadersOrOneWriter) {
  RWMutex l;
  EXPECT_EQ(l.read_lock_until(kNoWait), 0);
  EXPECT_EQ(l.read_lock_until(kNoWait), 0);
  EXPECT_EQ(l.write_lock_until(kNoWait), -EAGAIN);
  l.read_unlock();
  EXPECT_EQ(l.write_lock_until(ms(1)), -ETIMEDOUT);
  l.read_unlock();
  EXPECT_EQ(l.write_lock_until(kNoWait), 0);
  EXPECT_EQ(l.write_lock_until(kNoWait), -EAGAIN);
  EXPECT_EQ(l.read_lock_until(kNoWait), -EAGAIN);
  EXPECT_EQ(l.read_lock_until(ms(1)), -ETIMEDOUT);
  l.write_unlock();
  EXPECT_EQ(l.read_lock_until(kNoWait), 0) << "those who gave up left nothing behind";
  l.read_unlock();
}

TEST(RWMutexDeathTest, UnlockWithoutLockIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        RWMutex l;
        l.read_unlock();
      },
      "tri: read unlock of rwlock without reader 0x");
  EXPECT_DEATH(
      {
        RWMutex l;
        l.read_lock();
        l.write_unlock();
      },
      "tri: write unlock of rwlock without writer 0x");
  EXPECT_DEATH(
      {
        RWMutex l;
        l.write_lock();
        l.read_unlock();
      },
      "read unlock of rwlock without reader");
}

TRI_WITH_CREW(RWMutexOf);

TEST_P(RWMutexOf, ReadersAreInsideTogether) {
  RWMutex l;
  std::atomic<int> inside{0};
  for (int k = 0; k < 4; ++k) {
    crew.go([&] {
      l.read_lock();
      inside.fetch_add(1);
      test::until([&] { return inside.load() == 4; });
      l.read_unlock();
    });
  }
  crew.join();
  EXPECT_EQ(l.write_lock_until(kNoWait), 0);
  l.write_unlock();
}

TEST_P(RWMutexOf, AWaitingWriterStopsNewReaders) {
  RWMutex l;
  l.read_lock();
  std::atomic<bool> written{false};
  crew.go([&] {
    l.write_lock();
    written.store(true);
    l.write_unlock();
  });
  test::until([&] {
    if (l.read_lock_until(kNoWait) != 0) return true;
    l.read_unlock();
    return false;
  });
  EXPECT_FALSE(written.load());
  l.read_unlock();
  crew.join();
  EXPECT_TRUE(written.load());
}

TEST_P(RWMutexOf, ReadersGoOnWhenTheWriterBeforeThemGivesUp) {
  RWMutex l;
  l.read_lock();
  std::atomic<bool> read{false};
  std::atomic<bool> seen{false};
  crew.go([&] {
    // Again, should nobody have looked in time.
    do EXPECT_EQ(l.write_lock_until(ms(20)), -ETIMEDOUT);
    while (!seen);
  });
  test::until([&] {
    if (l.read_lock_until(kNoWait) != 0) return true;
    l.read_unlock();
    return false;
  });
  seen = true;
  crew.go([&] {
    l.read_lock();  // behind the writer
    read.store(true);
    l.read_unlock();
  });
  crew.join();
  EXPECT_TRUE(read.load()) << "while the first reader is still in";
  l.read_unlock();
}

TEST_P(RWMutexOf, ExcludesWhatItMust) {
  RWMutex l;
  int plain = 0;
  std::atomic<int> readers{0};
  std::atomic<int> writers{0};
  std::atomic<int> writes{0};
  for (int k = 0; k < 6; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < test::rounds(4000); ++i) {
        const Time until = random.one_in(3) ? now() + static_cast<Time>(random.below(20'000)) : kForever;
        if (random.one_in(4)) {
          if (l.write_lock_until(until) != 0) continue;
          ASSERT_EQ(writers.fetch_add(1), 0);
          ASSERT_EQ(readers.load(), 0);
          ++plain;
          writes.fetch_add(1);
          writers.fetch_sub(1);
          l.write_unlock();
        } else {
          if (l.read_lock_until(until) != 0) continue;
          readers.fetch_add(1);
          ASSERT_EQ(writers.load(), 0);
          const volatile int seen = plain;
          (void)seen;
          readers.fetch_sub(1);
          l.read_unlock();
        }
      }
    });
  }
  crew.join();
  EXPECT_EQ(plain, writes.load());
  EXPECT_EQ(l.write_lock_until(kNoWait), 0);
  l.write_unlock();
}

}  // namespace
}  // namespace tri::sched
