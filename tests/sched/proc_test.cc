// proc_test.cc - Tests of sched/proc.h: goroutines start, switch, wait, end, and are joined.
#include "sched/proc.h"

#include <errno.h>
#include <fenv.h>

#include <set>

#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

TEST(Proc, RunsAGoroutine) {
  std::atomic<int> n{0};
  in_goroutine([&] { n = 1; });
  EXPECT_EQ(n, 1);
}

TEST(Proc, RunsManyOnOneProc) {
  set_procs(1);
  std::atomic<int> n{0};
  in_goroutine([&] {
    for (int i = 0; i < 100'000; ++i) {
      ASSERT_EQ(go([](void* p) { static_cast<std::atomic<int>*>(p)->fetch_add(1); }, &n), 0);
      if (i % 100 == 0) yield();
    }
  });
  EXPECT_TRUE(eventually([&] { return n == 100'000; }));
}

TEST(Proc, RunsManyOnSeveralProcs) {
  set_procs(4);
  std::atomic<int> n{0};
  for (int k = 0; k < 4; ++k) {
    in_goroutine([&] {
      for (int i = 0; i < 25'000; ++i) {
        ASSERT_EQ(go([](void* p) { static_cast<std::atomic<int>*>(p)->fetch_add(1); }, &n), 0);
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return n == 100'000; }));
}

TEST(Proc, YieldsInTurn) {
  set_procs(1);
  // Others, of an earlier test, leave service when they next look for work, and may run what they have found just then.
  ASSERT_TRUE(eventually([] { return busy_procs() == 0; }));
  // The last that was started runs first; from then on each has its turn. A machine that is busy elsewhere may end a time slice in
  // between, hence the repetitions.
  std::string order;
  for (int attempt = 0; attempt < 100 && order != "cabcabcab"; ++attempt) {
    order.clear();
    in_goroutine([&order] {
      std::vector<TaskId> ids;
      for (char c : {'a', 'b', 'c'}) {
        ids.push_back(spawn([&order, c] {
          for (int i = 0; i < 3; ++i) {
            order += c;
            yield();
          }
        }));
      }
      for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
    });
  }
  EXPECT_EQ(order, "cabcabcab");
}

TEST(Proc, SwitchesKeepRegistersAndRoundingModes) {
  set_procs(1);
  in_goroutine([] {
    std::vector<TaskId> ids;
    std::atomic<int> wrong{0};
    for (const int mode : {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
      ids.push_back(spawn([mode, &wrong] {
        fesetround(mode);
        volatile double third = 1.0;
        third = third / 3;
        const double mine = third;
        for (int i = 0; i < 1000; ++i) {
          yield();
          volatile double x = 1.0;
          x = x / 3;
          if (fegetround() != mode || x != mine) ++wrong;
        }
      }));
    }
    for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(fegetround(), FE_TONEAREST);
  });
}

TEST(Proc, AGoroutineBeginsWithTheModesOfWhoStartedIt) {
  set_procs(1);
  in_goroutine([] {
    std::vector<int> seen;
    const auto look = [&seen] { seen.push_back(fegetround()); };
    // On the stack of one that leaves others behind; first run by one that has others; started by one that has others.
    TaskId ends = spawn([] { fesetround(FE_UPWARD); });
    TaskId next = spawn(look);
    EXPECT_EQ(join(ends, kForever), 0);
    EXPECT_EQ(join(next, kForever), 0);
    next = spawn(look);
    fesetround(FE_DOWNWARD);
    EXPECT_EQ(join(next, kForever), 0);
    next = spawn(look);
    fesetround(FE_TONEAREST);
    EXPECT_EQ(join(next, kForever), 0);
    EXPECT_EQ(seen, (std::vector<int>{FE_TONEAREST, FE_TONEAREST, FE_DOWNWARD}));
  });
}

TEST(Proc, CopiesAnArgument) {
  struct Args {
    int a[32];
  } args;
  static_assert(sizeof args == kMaxCopiedArg);
  for (int i = 0; i < 32; ++i) args.a[i] = i;
  static std::atomic<int> sum;
  sum = 0;
  SpawnOptions options;
  TaskId id = 0;
  options.copied = &args;
  options.copied_bytes = sizeof args;
  options.id = &id;
  ASSERT_EQ(go(
                [](void* p) {
                  for (const int n : static_cast<Args*>(p)->a) sum += n;
                },
                nullptr, options),
            0);
  args = {};
  EXPECT_EQ(join(id, kForever), 0);
  EXPECT_EQ(sum, 31 * 32 / 2);
  options.copied_bytes = sizeof args + 1;
  EXPECT_EQ(go([](void*) {}, nullptr, options), -E2BIG);
}

TEST(Join, OfAFinishedTaskSucceedsForEver) {
  set_procs(1);
  const TaskId id = spawn([] {});
  EXPECT_EQ(join(id, kForever), 0);
  // The record is used again many times over; the id still speaks of the first.
  for (int i = 0; i < 200; ++i) in_goroutine([] {});
  EXPECT_EQ(join(id, kNoWait), 0);
  EXPECT_EQ(join(id, kForever), 0);
}

TEST(Join, EndsAtItsDeadline) {
  std::atomic<bool> stop{false};
  const TaskId id = spawn([&] {
    while (!stop) sleep_until(now() + milliseconds(1));
  });
  EXPECT_EQ(join(id, kNoWait), -ETIMEDOUT);
  const Time until = now() + milliseconds(5);
  EXPECT_EQ(join(id, until), -ETIMEDOUT);
  EXPECT_GE(now(), until);
  in_goroutine([&] { EXPECT_EQ(join(id, now() + milliseconds(5)), -ETIMEDOUT); });
  stop = true;
  EXPECT_EQ(join(id, kForever), 0);
}

TEST(Join, IsPossibleForMany) {
  std::atomic<bool> stop{false};
  std::atomic<int> joined{0};
  const TaskId id = spawn([&] {
    while (!stop) sleep_until(now() + milliseconds(1));
  });
  std::vector<TaskId> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(spawn([&] {
      EXPECT_EQ(join(id, kForever), 0);
      ++joined;
    }));
  }
  std::thread plain([&] { EXPECT_EQ(join(id, kForever), 0); });
  stop = true;
  plain.join();
  for (const TaskId i : ids) EXPECT_EQ(join(i, kForever), 0);
  EXPECT_EQ(joined, 10);
}

TEST(Join, RefusesWhatCannotBe) {
  EXPECT_EQ(join(0, kForever), -ESRCH);
  EXPECT_EQ(join(make_task_id(60'000'000, 0), kForever), -ESRCH);
  in_goroutine([] { EXPECT_EQ(join(self(), kForever), -EDEADLK); });
}

TEST(Join, OfAThreadEndsWithIt) {
  std::atomic<TaskId> id{0};
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    id = self();
    while (!stop) sleep_until(now() + milliseconds(1));
  });
  ASSERT_TRUE(eventually([&] { return id != 0; }));
  EXPECT_EQ(join(id, now() + milliseconds(1)), -ETIMEDOUT);
  const TaskId joiner = spawn([&] { EXPECT_EQ(join(id, kForever), 0); });
  std::thread plain([&] { EXPECT_EQ(join(id, kForever), 0); });
  EXPECT_TRUE(eventually([&] {
    SpinGuard guard(record_of(id)->join_lock);
    return record_of(id)->joiners != nullptr;
  }));
  stop = true;
  EXPECT_EQ(join(joiner, now() + milliseconds(20'000)), 0);
  plain.join();
  thread.join();
}

TEST(Join, TheNextOfAThreadsRecordFindsNothingOfIt) {
  G* record = nullptr;
  std::thread([&] {
    record = current();
    record->has_locals = true;
    record->locals[1] = &record;
    (void)self();
  }).join();
  EXPECT_FALSE(record->has_locals);
  EXPECT_FALSE(record->joinable);
  EXPECT_EQ(record->locals[1], nullptr);
  EXPECT_EQ(record->state, GState::kFree);
}

TEST(Exit, RunsWhatWasDeferredLastFirst) {
  std::string order;
  in_goroutine([&] {
    static std::string* s;
    s = &order;
    EXPECT_EQ(defer([](void*) { *s += "1"; }, nullptr), 0);
    EXPECT_EQ(defer(
                  [](void*) {
                    *s += "2";
                    defer([](void*) { *s += "3"; }, nullptr);
                  },
                  nullptr),
              0);
    yield();
    *s += "0";
  });
  EXPECT_EQ(order, "0231");
  EXPECT_EQ(defer([](void*) {}, nullptr), -EPERM);
}

TEST(Exit, EndsTheGoroutineFromAnyDepth) {
  static std::atomic<int> reached;
  reached = 0;
  SpawnOptions options;
  TaskId id = 0;
  options.id = &id;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(go(
                  [](void*) {
                    ++reached;
                    exit_goroutine();
                  },
                  nullptr, options),
              0);
    ASSERT_EQ(join(id, kForever), 0);
  }
  EXPECT_EQ(reached, 1000);
}

TEST(Sleep, LastsAtLeastAsLongAsAsked) {
  for (const int procs : {1, 2}) {
    set_procs(procs);
    std::vector<TaskId> ids;
    std::atomic<int> early{0};
    for (int i = 0; i < 100; ++i) {
      ids.push_back(spawn([i, &early] {
        for (int k = 0; k < 5; ++k) {
          const Time until = now() + 10'000 * i;
          sleep_until(until);
          if (now() < until) ++early;
        }
      }));
    }
    for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
    EXPECT_EQ(early, 0);
  }
}

TEST(Ready, CrossesBetweenGoroutinesAndThreads) {
  // Two parties hand a ball to and fro: both goroutines, both threads, and one of each.
  struct Side {
    SpinLock lock;
    G* g = nullptr;
    WaitId id = 0;
    bool ball = false;
    void take() {
      lock.lock();
      if (ball) {
        ball = false;
        return lock.unlock();
      }
      g = current();
      id = begin_wait(g);
      EXPECT_EQ(park(WaitReason::kReceive, &lock, kForever), 5);
    }
    void give() {
      lock.lock();
      G* const waiter = g;
      g = nullptr;
      if (waiter == nullptr) {
        ball = true;
        return lock.unlock();
      }
      EXPECT_TRUE(claim(waiter, id));
      lock.unlock();
      ready(waiter, 5);
    }
  };
  const auto n = static_cast<int>(rounds(20'000));
  for (const int procs : {1, 2, 4}) {
    set_procs(procs);
    for (const bool a_is_thread : {false, true}) {
      for (const bool b_is_thread : {false, true}) {
        Side a;
        Side b;
        const auto ping = [&] {
          for (int i = 0; i < n; ++i) {
            b.give();
            a.take();
          }
        };
        const auto pong = [&] {
          for (int i = 0; i < n; ++i) {
            b.take();
            a.give();
          }
        };
        std::thread ta([&] { a_is_thread ? ping() : in_goroutine(ping); });
        std::thread tb([&] { b_is_thread ? pong() : in_goroutine(pong); });
        ta.join();
        tb.join();
      }
    }
  }
}

TEST(Deadline, LosesOrWinsButNeverBoth) {
  // A waker and a deadline race for each wait; each wait has one result, and a late deadline never ends the next wait.
  const auto n = static_cast<int>(rounds(5'000));
  for (const int procs : {1, 2}) {
    set_procs(procs);
    in_goroutine([&] {
      struct Wait {
        SpinLock lock;
        G* g = nullptr;
        WaitId id = 0;
        bool stop = false;
      } w;
      std::atomic<int> woken{0};
      const TaskId waker = spawn([&] {
        Random random(1);
        for (;;) {
          sleep_until(now() + static_cast<Time>(random.below(30'000)));
          w.lock.lock();
          if (w.stop) return w.lock.unlock();
          G* g = w.g;
          w.g = nullptr;
          const bool won = g != nullptr && claim(g, w.id);
          w.lock.unlock();
          if (won) {
            ++woken;
            ready(g, 1);
          }
        }
      });
      Random random(2);
      int woken_here = 0;
      for (int i = 0; i < n; ++i) {
        w.lock.lock();
        w.g = current();
        w.id = begin_wait(w.g);
        const Time until = now() + static_cast<Time>(random.below(60'000));
        const int r = park(WaitReason::kReceive, &w.lock, until);
        if (r == -ETIMEDOUT) {
          ASSERT_GE(now(), until);
          SpinGuard guard(w.lock);
          w.g = nullptr;
        } else {
          ASSERT_EQ(r, 1);
          ++woken_here;
        }
      }
      w.lock.lock();
      w.stop = true;
      w.lock.unlock();
      join(waker, kForever);
      EXPECT_EQ(woken_here, woken);
    });
  }
}

TEST(Procs, ChangeWhileGoroutinesRun) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> turns{0};
  std::vector<TaskId> ids;
  for (int i = 0; i < 50; ++i) {
    ids.push_back(spawn([&, i] {
      while (!stop) {
        ++turns;
        if (i % 2 == 0) {
          yield();
        } else {
          sleep_until(now() + 50'000);
        }
      }
    }));
  }
  Random random;
  for (int i = 0; i < 100; ++i) {
    const int n = static_cast<int>(random.between(1, 8));
    set_procs(n);
    EXPECT_EQ(set_procs(0), n);
    const uint64_t before = turns;
    EXPECT_TRUE(eventually([&] { return turns > before + 100; }));
  }
  stop = true;
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
}

TEST(Procs, AreAtLeastOne) {
  EXPECT_GE(default_procs(), 1);
  EXPECT_LE(default_procs(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace tri::sched
