// poll_desc_test.cc - Tests of sched/poll_desc.h: the state machine, under events made by hand.
#include "sched/poll_desc.h"

#include "sched/g.h"
#include "sched/globq.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

constexpr uint32_t kRead = PollDesc::kReadable;
constexpr uint32_t kWrite = PollDesc::kWritable;

// A descriptor in use. Records of the table are never reset, so each test has one of its own.
class PollDescTest : public ::testing::Test {
 protected:
  void SetUp() override {
    d.lock();
    EXPECT_EQ(d.renew_locked(FdKind::kSocket, true, true, &woken), nullptr);
    d.unlock();
  }
  void TearDown() override { d.verify(); }

  int wait(uint32_t events, Stamp read, Stamp write, Time deadline = soon()) {
    G* const g = current();
    d.lock();
    if (events == (kRead | kWrite)) return d.wait_both_locked(read, write, g, deadline);
    return d.wait_locked(events == kWrite, events == kWrite ? write : read, g, deadline);
  }
  int wait_to_read(Time deadline = soon()) { return wait(kRead, d.side(false).stamp(), 0, deadline); }
  bool has_waiters() {
    d.lock();
    const bool has = d.has_waiters_locked();
    d.unlock();
    return has;
  }
  // Delivers an event, and wakes who was claimed.
  int event(uint32_t events) { return event(d.generation(), events); }
  int event(uint32_t generation, uint32_t events) {
    ClaimedList list;
    free_poll_waiters(d.on_event(generation, events, &list));
    return wake(list);
  }
  int close() {
    ClaimedList list;
    d.lock();
    PollWaiter* const to_free = d.renew_locked(FdKind::kUnknown, false, false, &list);
    d.unlock();
    free_poll_waiters(to_free);
    return wake(list);
  }
  static int wake(const ClaimedList& list) {
    int n = 0;
    for (G* g = list.first; g != nullptr; ++n) {
      G* const next = g->next_claimed;
      ready(g, g->result);
      g = next;
    }
    return n;
  }

  PollDesc d;
  ClaimedList woken;
};

TEST_F(PollDescTest, AnEdgeThatCameAfterTheLookEndsTheWaitBeforeItBegins) {
  const Stamp seen = d.side(false).stamp();
  EXPECT_EQ(event(kRead), 0);
  EXPECT_EQ(wait(kRead, seen, 0), 0);
  EXPECT_FALSE(has_waiters());
}

TEST_F(PollDescTest, AnEdgeOfOneSideDoesNotConcernTheOther) {
  const Stamp seen = d.side(false).stamp();
  EXPECT_EQ(event(kWrite), 0);
  EXPECT_EQ(d.side(false).stamp(), seen);
  EXPECT_EQ(wait(kRead, seen, 0, now() + kMs), -ETIMEDOUT);
}

TEST_F(PollDescTest, AnEdgeThatWasSeenAlreadyWakesNobody) {
  EXPECT_EQ(event(kRead), 0);
  EXPECT_EQ(wait_to_read(now() + kMs), -ETIMEDOUT);
  EXPECT_FALSE(has_waiters());
}

TEST_F(PollDescTest, AnEdgeWakesTheWaiter) {
  std::thread waiter([&] { EXPECT_EQ(wait_to_read(), 0); });
  ASSERT_TRUE(eventually([&] { return has_waiters(); }));
  EXPECT_EQ(event(kWrite), 0);
  EXPECT_EQ(event(kRead), 1);
  waiter.join();
}

TEST_F(PollDescTest, AnEdgeWakesAllWhoWait) {
  constexpr size_t kWaiters = 8;
  std::atomic<int> woken_count{0};
  std::vector<std::thread> waiters;
  const Stamp seen = d.side(false).stamp();
  for (size_t i = 0; i < kWaiters; ++i) {
    waiters.emplace_back([&] {
      EXPECT_EQ(wait(kRead, seen, 0), 0);
      ++woken_count;
    });
  }
  int woken_now = 0;
  // Those that come after the edge find a stamp that has moved on.
  ASSERT_TRUE(eventually([&] { return has_waiters(); }));
  woken_now += event(kRead);
  for (std::thread& t : waiters) t.join();
  EXPECT_GE(woken_now, 1);
  EXPECT_EQ(woken_count.load(), static_cast<int>(kWaiters));
}

TEST_F(PollDescTest, AHangUpWakesBothSides) {
  std::atomic<int> ended{0};
  std::thread reader([&] {
    EXPECT_EQ(wait(kRead, d.side(false).stamp(), 0), 0);
    ++ended;
  });
  std::thread writer([&] {
    EXPECT_EQ(wait(kWrite, 0, d.side(true).stamp()), 0);
    ++ended;
  });
  // Again and again: one that comes between a waiter's look at its stamp and its wait ends that before it has begun.
  ASSERT_TRUE(eventually([&] {
    (void)event(kRead | kWrite | PollDesc::kHangUp);
    return ended == 2;
  }));
  reader.join();
  writer.join();
}

TEST_F(PollDescTest, AWaitForEitherSideEndsWithEither) {
  for (const uint32_t side : {kRead, kWrite, kRead | kWrite}) {
    std::thread waiter([&] { EXPECT_EQ(wait(kRead | kWrite, d.side(false).stamp(), d.side(true).stamp()), 0); });
    ASSERT_TRUE(eventually([&] { return has_waiters(); }));
    EXPECT_EQ(event(side), 1);
    waiter.join();
    EXPECT_FALSE(has_waiters());
    d.verify();
  }
}

TEST_F(PollDescTest, AWaiterWhoseTimeIsUpLeavesTheQueue) {
  EXPECT_EQ(wait(kRead | kWrite, d.side(false).stamp(), d.side(true).stamp(), now() + kMs), -ETIMEDOUT);
  EXPECT_FALSE(has_waiters());
  EXPECT_EQ(event(kRead | kWrite), 0);
}

TEST_F(PollDescTest, AnEventOfAnEarlierGenerationIsDropped) {
  const uint32_t old = d.generation();
  close();
  const Stamp seen = d.side(false).stamp();
  EXPECT_EQ(event(old, kRead | kWrite | PollDesc::kHangUp), 0);
  EXPECT_EQ(d.side(false).stamp(), seen);
  d.set_drained(seen);
  EXPECT_TRUE(d.is_drained(seen));  // so the hang-up was not believed either
}

TEST_F(PollDescTest, ClosingWakesWhoWaits) {
  std::thread reader([&] { EXPECT_EQ(wait_to_read(), -EBADF); });
  ASSERT_TRUE(eventually([&] { return has_waiters(); }));
  EXPECT_EQ(close(), 1);
  reader.join();
}

TEST_F(PollDescTest, WhoLookedBeforeTheClosingDoesNotWaitForTheNextDescriptor) {
  const Stamp read = d.side(false).stamp();
  const Stamp write = d.side(true).stamp();
  close();
  EXPECT_EQ(wait(kRead, read, 0), -EBADF);
  EXPECT_EQ(wait(kWrite, 0, write), -EBADF);
  EXPECT_EQ(wait(kRead | kWrite, read, write), -EBADF);
}

TEST_F(PollDescTest, AnArmedWaitWakesWithItsResult) {
  G* const g = current();
  const WaitId id = begin_wait(g);
  PollWaiter* none = nullptr;
  d.lock();
  EXPECT_EQ(d.arm_locked(true, d.side(true).stamp(), g, id, 7, &none), 0);
  d.unlock();
  EXPECT_EQ(event(kRead), 0);
  EXPECT_EQ(event(kWrite), 1);
  EXPECT_EQ(park(WaitReason::kSelect, nullptr, soon()), 7);
}

TEST_F(PollDescTest, AnArmedWaitIsTakenBack) {
  G* const g = current();
  const WaitId id = begin_wait(g);
  PollWaiter* none = nullptr;
  d.lock();
  EXPECT_EQ(d.arm_locked(false, d.side(false).stamp(), g, id, 7, &none), 0);
  d.unlock();
  EXPECT_EQ(d.remove(true, g, id), nullptr);  // of the other side
  EXPECT_TRUE(has_waiters());
  EXPECT_EQ(d.remove(false, g, id), nullptr);
  EXPECT_FALSE(has_waiters());
  EXPECT_EQ(d.remove(false, g, id), nullptr);
  EXPECT_EQ(event(kRead), 0);
}

TEST_F(PollDescTest, ArmingNeedsAnEntryOnceTheRecordsOwnIsTaken) {
  G* const g = current();
  const WaitId id = begin_wait(g);
  PollWaiter* spare = nullptr;
  const Stamp seen = d.side(false).stamp();
  d.lock();
  EXPECT_EQ(d.arm_locked(false, seen, g, id, 1, &spare), 0);
  EXPECT_EQ(d.arm_locked(false, seen, g, id, 2, &spare), -ENOMEM);
  spare = static_cast<PollWaiter*>(allocate(sizeof(PollWaiter)));
  *spare = PollWaiter{};
  spare->allocated = true;
  PollWaiter* const given = spare;
  EXPECT_EQ(d.arm_locked(false, seen, g, id, 2, &spare), 0);
  EXPECT_EQ(spare, nullptr);
  d.unlock();
  d.verify();
  // The entries of a wait that was claimed elsewhere are thrown away.
  ASSERT_TRUE(claim(g, id));
  ClaimedList list;
  PollWaiter* const to_free = d.on_event(d.generation(), kRead, &list);
  EXPECT_EQ(list.first, nullptr);
  EXPECT_EQ(to_free, given);
  EXPECT_EQ(to_free->next, nullptr);
  free_poll_waiters(to_free);
}

TEST_F(PollDescTest, ArmingAfterAnEdgeSaysSo) {
  G* const g = current();
  const WaitId id = begin_wait(g);
  PollWaiter* none = nullptr;
  const Stamp seen = d.side(false).stamp();
  event(kRead);
  d.lock();
  EXPECT_EQ(d.arm_locked(false, seen, g, id, 7, &none), 1);
  d.unlock();
  close();
  d.lock();
  EXPECT_EQ(d.arm_locked(false, seen, g, id, 7, &none), -EBADF);
  d.unlock();
}

TEST_F(PollDescTest, AShortReadIsBelievedUntilTheNextEdge) {
  EXPECT_TRUE(d.short_read_means_empty());
  const Stamp before = d.side(false).stamp();
  d.set_drained(before);
  EXPECT_TRUE(d.is_drained(d.side(false).stamp()));
  event(kWrite);
  EXPECT_TRUE(d.is_drained(d.side(false).stamp()));
  event(kRead);
  EXPECT_FALSE(d.is_drained(d.side(false).stamp()));
  // A read that began before that edge says nothing about what came with it.
  d.set_drained(before);
  EXPECT_FALSE(d.is_drained(d.side(false).stamp()));
}

TEST_F(PollDescTest, AShortReadProvesNothingAfterAHangUp) {
  event(kRead | PollDesc::kHangUp);
  EXPECT_FALSE(d.short_read_means_empty());
  d.set_drained(d.side(false).stamp());
  EXPECT_FALSE(d.is_drained(d.side(false).stamp()));
  // The next descriptor of this number begins anew.
  d.lock();
  (void)d.renew_locked(FdKind::kSocket, true, true, &woken);
  d.unlock();
  EXPECT_TRUE(d.short_read_means_empty());
}

TEST_F(PollDescTest, WhoeverIsClaimedMayStandInAQueueOfThoseThatCanRun) {
  // It armed its wait, and was preempted before it parked: it queues up for a processor, and is claimed meanwhile.
  G gs[3];
  GlobQ queue;
  ClaimedList list;
  for (G& g : gs) queue.put(&g);
  for (const int i : {0, 2, 1}) list.append(&gs[i], 0);
  G* queued = queue.take(3);
  for (G& g : gs) {
    EXPECT_EQ(queued, &g);
    if (queued != nullptr) queued = queued->next;
  }
  EXPECT_EQ(queued, nullptr);
}

TEST_F(PollDescTest, AForkedChildHasNoWaiters) {
  std::thread waiter([&] { EXPECT_EQ(wait_to_read(), 0); });
  ASSERT_TRUE(eventually([&] { return has_waiters(); }));
  const int status = tri::test::wait_for([&] {
    const pid_t pid = tri::test::fork_at_rest();
    if (pid == 0) {
      d.reset_after_fork();
      d.verify();
      _exit(has_waiters() ? 1 : 0);
    }
    return pid;
  }());
  EXPECT_EQ(status, 0);
  EXPECT_EQ(event(kRead), 1);
  waiter.join();
}

TEST(PollDescTable, KnowsWhatNumbersDescriptorsHave) {
  PollDesc* d = nullptr;
  EXPECT_EQ(get_poll_desc(-1, &d), -EBADF);
  EXPECT_EQ(get_poll_desc(INT32_MAX, &d), -EMFILE);
  EXPECT_EQ(find_poll_desc(-1), nullptr);
  EXPECT_EQ(find_poll_desc(INT32_MAX), nullptr);
  ASSERT_EQ(get_poll_desc(5000, &d), 0);
  EXPECT_EQ(find_poll_desc(5000), d);
  PollDesc* again = nullptr;
  ASSERT_EQ(get_poll_desc(5000, &again), 0);
  EXPECT_EQ(again, d);
}

/// A number for whose records there is no memory yet, however often a test is repeated in one process.
int fresh_number() {
  static int chunk = 100;
  return chunk++ * 1024;
}

TEST(PollDescTable, SurvivesARefusalOfMemory) {
  PollDesc* d = nullptr;
  const int number = fresh_number();
  {
    tri::test::Faults faults(0);
    EXPECT_EQ(get_poll_desc(number, &d), -ENOMEM);
    EXPECT_EQ(find_poll_desc(number), nullptr);
  }
  EXPECT_EQ(get_poll_desc(number, &d), 0);
}

TEST(PollDescTable, IsMadeOnceByManyThreads) {
  for (int i = 0; i < 50; ++i) {
    PollDesc* found[4] = {};
    const int number = fresh_number();
    in_threads(4, [&](size_t k) { EXPECT_EQ(get_poll_desc(number, &found[k]), 0); });
    for (PollDesc* d : found) EXPECT_EQ(d, found[0]);
  }
}

}  // namespace
}  // namespace tri::sched
