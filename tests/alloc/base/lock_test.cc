// lock_test.cc - Tests of alloc/base/lock.h.
#include "alloc/base/lock.h"

#include "alloc/base/sys.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

TEST(Lock, IsFourBytesAndARank) { EXPECT_LE(sizeof(Lock), 8U); }

TEST(Lock, LetsOneThreadInAtATime) {
  constexpr size_t kThreads = 4;
  const size_t count = test::rounds(100'000);
  Lock lock(LockRank::kHeap);
  size_t n = 0;  // plain: only the lock makes this right
  test::in_threads(kThreads, [&](size_t) {
    for (size_t i = 0; i < count; ++i) {
      LockGuard guard(lock);
      ++n;
    }
  });
  EXPECT_EQ(n, kThreads * count);
}

TEST(Lock, WakesThoseWhoSleepOnIt) {
  // The holder yields inside, so the others stop spinning and sleep.
  const size_t count = test::rounds(2'000);
  Lock lock(LockRank::kHeap);
  size_t n = 0;
  test::in_threads(4, [&](size_t) {
    for (size_t i = 0; i < count; ++i) {
      LockGuard guard(lock);
      const size_t before = n;
      sys::yield();
      n = before + 1;
    }
  });
  EXPECT_EQ(n, 4 * count);
}

TEST(Lock, KnowsItsHolder) {
  Lock lock(LockRank::kHeap);
  EXPECT_FALSE(lock.held_by_me());
  lock.lock();
  EXPECT_TRUE(lock.held_by_me());
  EXPECT_TRUE(lock.was_held_by(sys::thread_id()));
  EXPECT_FALSE(lock.was_held_by(sys::thread_id() + 1));
  test::in_thread([&] { EXPECT_FALSE(lock.held_by_me()); });
  lock.unlock();
  EXPECT_FALSE(lock.held_by_me());
}

TEST(Lock, GivesUpWhenItsPatienceEnds) {
  Lock lock(LockRank::kHeap);
  lock.lock();
  test::in_thread([&] {
    EXPECT_FALSE(lock.try_lock_for(0));
    EXPECT_FALSE(lock.try_lock_for(50));
    EXPECT_FALSE(lock.held_by_me());
  });
  EXPECT_TRUE(lock.held_by_me());
  lock.unlock();
  test::in_thread([&] {
    ASSERT_TRUE(lock.try_lock_for(0));
    EXPECT_TRUE(lock.held_by_me());
    lock.unlock();
  });
  lock.lock();
  lock.unlock();
}

TEST(Lock, IsGotByWhoTriesLongEnough) {
  Lock lock(LockRank::kHeap);
  test::Barrier locked(2);
  std::thread holder([&] {
    lock.lock();
    locked.wait();
    for (int i = 0; i < 20; ++i) sys::yield();
    lock.unlock();
  });
  locked.wait();
  EXPECT_TRUE(lock.try_lock_for(10'000'000));
  holder.join();
  EXPECT_TRUE(lock.held_by_me());
  lock.unlock();
}

TEST(Lock, IsFreeAfterAReset) {
  Lock lock(LockRank::kMetadata);
  test::in_thread([&] { lock.lock(); });
  EXPECT_FALSE(lock.try_lock_for(0));
  lock.reset_after_fork();
  EXPECT_TRUE(lock.try_lock_for(0));
  lock.unlock();
}

TEST(LockDeathTest, NoticesAThreadThatWaitsForItself) {
  Lock lock(LockRank::kHeap);
  lock.lock();
  EXPECT_DEATH(lock.lock(), "tri: check failed: !held_by_me\\(\\) at .*lock\\.cc:[0-9]+ in ");
  lock.unlock();
}

#if TRI_DEBUG  // without assertions there is nothing to notice
TEST(LockDeathTest, NoticesTheWrongOrder) {
  Lock outer(LockRank::kCentral);
  Lock inner(LockRank::kHeap);
  EXPECT_DEATH(
      {
        inner.lock();
        outer.lock();
      },
      "tri: check failed: .*held_ranks");
  // The right order, and equal ranks, as around fork().
  Lock equal(LockRank::kCentral);
  outer.lock();
  equal.lock();
  inner.lock();
  inner.unlock();
  equal.unlock();
  outer.unlock();
}
#endif

#if TRI_DEBUG  // without assertions there is nothing to notice
TEST(LockDeathTest, NoticesAnUnlockTooMany) {
  Lock lock(LockRank::kHeap);
  EXPECT_DEATH(lock.unlock(), "tri: check failed: word != 0");
}
#endif

}  // namespace
}  // namespace tri
