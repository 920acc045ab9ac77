// poll_desc_model_test.cc - Waiters, pollers and closers at once: none sleeps through an edge, none wakes for another's.
#include <atomic>

#include "sched/g.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

void wake(const ClaimedList& list) {
  for (G* g = list.first; g != nullptr;) {
    G* const next = g->next_claimed;
    ready(g, g->result);
    g = next;
  }
}

void renew(PollDesc* d, FdKind kind) {
  ClaimedList list;
  d->lock();
  PollWaiter* const to_free = d->renew_locked(kind, true, true, &list);
  d->unlock();
  free_poll_waiters(to_free);
  wake(list);
}

// A descriptor in small: a count of items, whose growth from nothing the poller reports at some later time, as epoll does.
struct Source {
  PollDesc d;
  std::atomic<int> items{0};
  std::atomic<bool> edge{false};  // reported to the "kernel", not yet to us

  void put() {
    items.fetch_add(1, std::memory_order_seq_cst);
    edge.store(true, std::memory_order_seq_cst);
  }
  // 1 or -EAGAIN
  int take() {
    int n = items.load(std::memory_order_seq_cst);
    while (n > 0) {
      if (items.compare_exchange_weak(n, n - 1, std::memory_order_seq_cst)) return 1;
    }
    return -EAGAIN;
  }
  // What the poller does now and then.
  void poll() {
    if (!edge.exchange(false, std::memory_order_seq_cst)) return;
    ClaimedList list;
    free_poll_waiters(d.on_event(d.generation(), PollDesc::kReadable, &list));
    wake(list);
  }
};

// Items are never lost to sleep: as many are taken as were put, by waiters some of which give up and come again.
TEST(PollDescModel, NoWaiterSleepsThroughAnEdge) {
  constexpr int kTakers = 3;
  const int items = static_cast<int>(tri::test::rounds(600'000));
  Source s;
  renew(&s.d, FdKind::kSocket);
  std::atomic<int> taken{0};
  std::atomic<bool> done{false};
  std::thread poller([&] {
    while (!done.load(std::memory_order_relaxed)) {
      s.poll();
      sched_yield();
    }
  });
  std::thread putter([&] {
    tri::test::Random random(1);
    for (int i = 0; i < items; ++i) {
      s.put();
      if (random.one_in(4)) sched_yield();
    }
  });
  std::vector<std::thread> takers;
  for (int t = 0; t < kTakers; ++t) {
    takers.emplace_back([&, t] {
      tri::test::Random random(10 + static_cast<uint64_t>(t));
      G* const g = current();
      while (taken.load(std::memory_order_relaxed) < items) {
        const Stamp stamp = s.d.side(false).stamp();
        if (s.take() == 1) {
          taken.fetch_add(1, std::memory_order_relaxed);
          continue;
        }
        // Only some have a deadline: a lost edge leaves the rest asleep, until the test's own time is up.
        const bool patient = !random.one_in(8);
        s.d.lock();
        const int r = s.d.wait_locked(false, stamp, g, now() + (patient ? 20 * kSecond : kMs / 20));
        if (patient && r == -ETIMEDOUT) {
          // The last items may have gone to others.
          EXPECT_GE(taken.load(), items) << "slept through an edge";
          break;
        }
      }
      s.put();  // wakes the others that wait for nothing more
    });
  }
  putter.join();
  for (std::thread& t : takers) t.join();
  done = true;
  poller.join();
  EXPECT_GE(taken.load(), items);
  s.d.verify();
}

// A number is closed and used again, while waiters of each generation wait and events of each are delivered late. A waiter of
// generation n wakes for an event of n, or with -EBADF; never for another generation's.
TEST(PollDescModel, EventsAndClosesReachTheirOwnGenerationOnly) {
  const int generations = static_cast<int>(tri::test::rounds(20'000));
  PollDesc d;
  renew(&d, FdKind::kSocket);
  std::atomic<bool> done{false};
  // For each generation (by its low bits), whether an event of it was ever delivered.
  std::vector<std::atomic<bool>> delivered(static_cast<size_t>(generations) * 8 + 64);
  std::atomic<int> closed{0};
  std::thread closer([&] {
    tri::test::Random random(2);
    // Until a waiter has seen a close, however slowly its thread starts.
    for (int i = 0; i < generations || (closed.load() == 0 && i < generations * 8); ++i) {
      if (i >= generations) usleep(100);
      for (size_t n = random.below(3); n > 0; --n) sched_yield();
      renew(&d, FdKind::kSocket);
    }
    done = true;
  });
  std::thread poller([&] {
    tri::test::Random random(3);
    uint32_t late = d.generation();
    while (!done.load(std::memory_order_relaxed)) {
      const uint32_t generation = random.one_in(2) ? late : d.generation();
      late = d.generation();
      delivered[generation].store(true, std::memory_order_seq_cst);
      ClaimedList list;
      free_poll_waiters(d.on_event(generation, PollDesc::kReadable | PollDesc::kWritable, &list));
      wake(list);
      if (random.one_in(3)) sched_yield();
    }
  });
  in_threads(2, [&](size_t t) {
    tri::test::Random random(20 + t);
    G* const g = current();
    while (!done.load(std::memory_order_relaxed)) {
      const bool write = random.one_in(2);
      const Stamp stamp = d.side(write).stamp();
      d.lock();
      const int r = d.wait_locked(write, stamp, g, now() + kMs);
      if (r == 0) {
        EXPECT_TRUE(delivered[stamp_generation(stamp)].load()) << "woken for another generation";
      } else if (r == -EBADF) {
        ++closed;
        EXPECT_NE(d.generation(), stamp_generation(stamp));
      } else {
        EXPECT_EQ(r, -ETIMEDOUT);
      }
    }
  });
  closer.join();
  poller.join();
  d.verify();
  EXPECT_GT(closed.load(), 0);
}

// Arming and disarming against events and closing: the entries of a wait are all gone when it is over, and each wait that was
// armed is claimed once at most.
TEST(PollDescModel, ArmingRacesWithEventsAndDisarming) {
  const int waits = static_cast<int>(tri::test::rounds(20'000));
  constexpr int kDescs = 4;
  PollDesc descs[kDescs];
  for (PollDesc& d : descs) renew(&d, FdKind::kSocket);
  std::atomic<bool> done{false};
  std::thread poller([&] {
    tri::test::Random random(4);
    while (!done.load(std::memory_order_relaxed)) {
      PollDesc& d = descs[random.below(kDescs)];
      if (random.one_in(50)) {
        renew(&d, FdKind::kSocket);
      } else {
        ClaimedList list;
        free_poll_waiters(
            d.on_event(d.generation(), random.one_in(2) ? PollDesc::kReadable : PollDesc::kWritable, &list));
        wake(list);
      }
      if (random.one_in(3)) sched_yield();
    }
  });
  in_threads(3, [&](size_t t) {
    tri::test::Random random(30 + t);
    G* const g = current();
    for (int i = 0; i < waits; ++i) {
      const WaitId id = begin_wait(g);
      const bool write = random.one_in(2);
      int armed = 0;
      int r = 0;
      for (; armed < kDescs; ++armed) {
        PollDesc& d = descs[armed];
        auto* spare = static_cast<PollWaiter*>(allocate(sizeof(PollWaiter)));
        *spare = PollWaiter{};
        spare->allocated = true;
        const Stamp stamp = d.side(write).stamp();
        d.lock();
        r = d.arm_locked(write, stamp, g, id, 100 + armed, &spare);
        d.unlock();
        deallocate(spare);
        if (r != 0) break;
      }
      // As select does: an arm that found something ready ends the wait, if nobody else has.
      const bool found = r != 0 && claim(g, id);
      if (!found) {
        const int result = park(WaitReason::kSelect, nullptr, random.one_in(4) ? now() + kMs / 50 : soon());
        if (result >= 100) {
          EXPECT_LT(result, 100 + kDescs);
        } else {
          EXPECT_TRUE(result == -ETIMEDOUT || result == -EBADF) << result;
        }
      }
      for (int n = 0; n < kDescs; ++n) {
        if (PollWaiter* const w = descs[n].remove(write, g, id)) deallocate(w);
      }
    }
  });
  done = true;
  poller.join();
  for (PollDesc& d : descs) {
    d.verify();
    d.lock();
    EXPECT_FALSE(d.has_waiters_locked());
    d.unlock();
  }
}

}  // namespace
}  // namespace tri::sched
