// blocking_test.cc - Tests of sched/syscall.h, sysmon.h and preempt.h: goroutines that do not give way by themselves.
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "sched/preempt.h"
#include "sched/syscall.h"
#include "sched/sysmon.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

void sleep_in_kernel(Time ns) {
  timespec t{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&t, nullptr);
}

TEST(Blocking, LeavesTheProcToOthers) {
  set_procs(1);
  std::atomic<bool> stop{false};
  std::atomic<int> turns{0};
  const TaskId blocked = spawn([&] {
    blocking_begin();
    while (!stop) sleep_in_kernel(milliseconds(1));
    blocking_end();
    EXPECT_NE(current_m()->p, nullptr);
  });
  const TaskId other = spawn([&] {
    while (!stop) {
      ++turns;
      yield();
    }
  });
  EXPECT_TRUE(eventually([&] { return turns > 1000; }));
  stop = true;
  EXPECT_EQ(join(blocked, kForever), 0);
  EXPECT_EQ(join(other, kForever), 0);
}

TEST(Blocking, ShortCallsKeepTheProc) {
  set_procs(1);
  in_goroutine([] {
    const P* const p = current_m()->p;
    int lost = 0;
    for (int i = 0; i < 10'000; ++i) {
      blocking_begin();
      blocking_begin();  // they nest
      EXPECT_EQ(current_m()->p, nullptr);
      blocking_end();
      EXPECT_EQ(current_m()->p, nullptr);
      blocking_end();
      lost += current_m()->p == p ? 0 : 1;
    }
    EXPECT_EQ(lost, 0);
  });
}

TEST(Blocking, ManyCallsAtOnce) {
  set_procs(2);
  std::vector<TaskId> ids;
  std::atomic<int> done{0};
  for (int i = 0; i < 50; ++i) {
    ids.push_back(spawn([&, i] {
      for (int k = 0; k < 10; ++k) {
        blocking_begin();
        sleep_in_kernel(100'000 * (i % 7));
        blocking_end();
        yield();
      }
      ++done;
    }));
  }
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
  EXPECT_EQ(done, 50);
}

TEST(Blocking, CallRunsOnALargeStack) {
  set_procs(1);
  in_goroutine([] {
    int reached = 0;
    call_blocking(
        [](void* p) {
          volatile char room[256 * 1024];
          for (size_t i = 0; i < sizeof room; i += 4096) room[i] = 1;
          call_blocking([](void* q) { ++*static_cast<int*>(q); }, p);
          sleep_in_kernel(milliseconds(2));
        },
        &reached);
    EXPECT_EQ(reached, 1);
  });
}

TEST(Blocking, EndsWithTheGoroutine) {
  set_procs(1);
  in_goroutine([] {
    blocking_begin();
    blocking_begin();
  });
  in_goroutine([] { EXPECT_EQ(current_m()->blocking_depth, 0U); });
}

TEST(BlockingDeathTest, DoesNotWaitForOthers) {
  EXPECT_DEATH(
      {
        in_goroutine([] {
          blocking_begin();
          sleep_until(now() + milliseconds(1));
        });
      },
      "a goroutine between tri_blocking_begin\\(\\) and tri_blocking_end\\(\\) does not wait for others");
  EXPECT_DEATH(in_goroutine([] { blocking_end(); }), "tri_blocking_end\\(\\) without tri_blocking_begin");
}

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, AHogAndATickerShareAProc) {
  for (const int procs : {1, 2}) {
    set_procs(procs);
    std::atomic<bool> stop{false};
    std::vector<TaskId> hogs;
    for (int i = 0; i < procs; ++i) {
      hogs.push_back(spawn([&] {
        uint64_t x = 0;
        while (!stop.load(std::memory_order_relaxed)) x = mix(x);
      }));
    }
    int ticks = 0;
    std::vector<Time> late;
    const TaskId ticker = spawn([&] {
      for (; ticks < 100; ++ticks) {
        const Time until = now() + milliseconds(1);
        sleep_until(until);
        late.push_back(now() - until);
      }
    });
    EXPECT_EQ(join(ticker, now() + milliseconds(20'000)), 0);
    stop = true;
    for (const TaskId id : hogs) EXPECT_EQ(join(id, kForever), 0);
    EXPECT_EQ(ticks, 100);
    std::sort(late.begin(), late.end());
    printf("%d procs: late by %.2f ms at the median, %.2f at most\n", procs, double(late[50]) / 1e6,
           double(late[99]) / 1e6);
  }
  EXPECT_GT(preemptions(), 0U);
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, HogsTakeTurns) {
  set_procs(1);
  constexpr int kHogs = 4;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> work[kHogs] = {};
  std::vector<TaskId> hogs;
  for (auto& w : work) {
    hogs.push_back(spawn([&] {
      while (!stop.load(std::memory_order_relaxed)) w.fetch_add(1, std::memory_order_relaxed);
    }));
  }
  EXPECT_TRUE(eventually([&] {
    for (auto& w : work) {
      if (w < 1'000'000) return false;
    }
    return true;
  }));
  stop = true;
  for (const TaskId id : hogs) EXPECT_EQ(join(id, kForever), 0);
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, LocksOfLibcDoNotDeadlock) {
  // Each is interrupted inside stdio, whose lock the others then wait for, and inside malloc.
  set_procs(1);
  FILE* const out = fopen("/dev/null", "w");
  ASSERT_NE(out, nullptr);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> lines[4] = {};
  std::vector<TaskId> ids;
  const uint64_t before = preemptions();
  for (auto& n : lines) {
    ids.push_back(spawn(
        [&] {
          while (!stop.load(std::memory_order_relaxed)) {
            fprintf(out, "%d %s\n", 12345, "a line of some length, so that time passes under the lock");
            free(malloc(100 + n % 100'000));
            deallocate(allocate(1 + n % 100'000));
            n.fetch_add(1, std::memory_order_relaxed);
          }
        },
        nullptr, 256 * 1024));
  }
  EXPECT_TRUE(eventually([&] {
    for (auto& n : lines) {
      if (n < 20'000) return false;
    }
    return preemptions() > before + 20;
  }));
  stop = true;
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
  fclose(out);
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, ThreadsThatGoroutinesMakeDoNotDeadlock) {
  // libc keeps the stacks of threads in a list under a lock. Who is interrupted inside of it has to come back, although everybody who has a
  // processor then waits for that lock, and new threads for the scheduler would need it.
  set_procs(2);
  std::atomic<bool> stop{false};
  std::atomic<size_t> made{0};
  std::vector<TaskId> ids;
  for (int i = 0; i < 8; ++i) {
    ids.push_back(spawn([&] {
      while (!stop) {
        std::thread([] {}).join();
        ++made;
      }
    }, nullptr, size_t{256} << 10));
  }
  for (int i = 0; i < 2; ++i) {
    ids.push_back(spawn([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    }));
    // Needs more threads as it goes.
    ids.push_back(spawn([&] {
      while (!stop) {
        std::vector<TaskId> sleepers;
        for (int k = 0; k < 8; ++k) {
          sleepers.push_back(spawn([] {
            blocking_begin();
            usleep(200);
            blocking_end();
          }));
        }
        for (const TaskId id : sleepers) EXPECT_EQ(join(id, kForever), 0);
      }
    }));
  }
  const size_t wanted = kSlow ? 500 : 5'000;
  EXPECT_TRUE(eventually([&] { return made >= wanted; })) << made;
  stop = true;
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
}

TEST(Preempt, TenThousandTimesInTheMiddleOfAnything) {
  // As often as it goes, rather than once a slice: inside malloc, stdio, the scheduler's own calls.
  set_procs(2);
  const uint64_t wanted = preemptions() + (kSlow ? 1'000 : 10'000);
  FILE* const out = fopen("/dev/null", "w");
  ASSERT_NE(out, nullptr);
  std::atomic<bool> stop{false};
  std::vector<TaskId> ids;
  for (uint64_t i = 0; i < 6; ++i) {
    ids.push_back(spawn(
        [&, i] {
          Random random(i);
          std::vector<void*> blocks(16);
          while (!stop.load(std::memory_order_relaxed)) {
            char text[64];
            const uint64_t number = random.below(1'000'000);
            EXPECT_EQ(fprintf(out, "%lu\n", number), snprintf(text, sizeof text, "%lu\n", number));
            EXPECT_EQ(strtoul(text, nullptr, 10), number);
            void*& block = blocks[number % blocks.size()];
            free(block);
            block = malloc(number % 3000);
            deallocate(allocate(1 + number % 100'000));
            if (i % 2 == 0 && number % 16 == 0) yield();
            if (i % 3 == 0 && number % 64 == 0) sleep_until(now() + 10'000);
          }
          for (void* const block : blocks) free(block);
        },
        nullptr, 256 * 1024));
  }
  while (preemptions() < wanted) {
    for (uint32_t i = 0; i < 2; ++i) {
      if (!sched.idle.is_idle(i)) preempt(sched.ps[i].load());
    }
    sleep_until(now() + 100'000);
  }
  stop = true;
  for (const TaskId id : ids) EXPECT_EQ(join(id, now() + milliseconds(20'000)), 0);
  fclose(out);
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, BetweenTheBeginOfAWaitAndItsSleep) {
  // One that has published its wait is preempted before it parks, and is called while it queues up for a processor, before others.
  set_procs(1);
  std::atomic<WaitId> published{0};
  std::atomic<bool> go_on{false};
  std::atomic<bool> stop{false};
  std::atomic<G*> waiter{nullptr};
  const uint64_t before = preemptions();
  TaskId hog = 0;
  const TaskId slow = spawn([&] {
    // In the queue of this processor: who comes after us finds it there, and leaves us in the global one.
    hog = spawn([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
    waiter = current();
    published = begin_wait(current());
    while (!go_on.load(std::memory_order_relaxed)) {
    }
    EXPECT_EQ(park(WaitReason::kSelect, nullptr, kForever), 5);
  });
  ASSERT_TRUE(eventually([&] { return published != 0; }));
  ASSERT_TRUE(eventually([&] { return preemptions() > before; }));
  std::vector<TaskId> behind;
  for (int i = 0; i < 10; ++i) behind.push_back(spawn([] {}));
  EXPECT_TRUE(claim(waiter, published));
  ready(waiter, 5);
  go_on = true;
  for (const TaskId id : behind) EXPECT_EQ(join(id, now() + milliseconds(20'000)), 0);
  EXPECT_EQ(join(slow, now() + milliseconds(20'000)), 0);
  stop = true;
  EXPECT_EQ(join(hog, now() + milliseconds(20'000)), 0);
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc.
TEST(Preempt, KeepsErrnoAndRegisters) {
  set_procs(1);
  std::vector<TaskId> ids;
  for (int k = 0; k < 3; ++k) {
    ids.push_back(spawn([k] {
      const Time until = now() + milliseconds(200);
      errno = 100 + k;
      uint64_t x = static_cast<uint64_t>(k);
      double y = k;
      uint64_t n = 0;
      do {
        for (int i = 0; i < 1000; ++i) {
          x = mix(x);
          y = y * 1.0000001 + 1;
        }
        ++n;
      } while (now() < until);
      EXPECT_EQ(errno, 100 + k);
      uint64_t x2 = static_cast<uint64_t>(k);
      double y2 = k;
      for (uint64_t i = 0; i < n * 1000; ++i) {
        x2 = mix(x2);
        y2 = y2 * 1.0000001 + 1;
      }
      EXPECT_EQ(x, x2);
      EXPECT_EQ(y, y2);
    }));
  }
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
}
#endif

TEST(Sysmon, SleepsWhileAllIsIdle) {
  set_procs(2);
  in_goroutine([] {});
  // It slows down first: about a tenth of a second after the last event it stops.
  EXPECT_TRUE(eventually([] { return sched.sysmon_asleep.load(); }));
  const TaskId sleeper = spawn([] { sleep_until(now() + milliseconds(600)); });
  EXPECT_TRUE(eventually([] { return sched.sysmon_asleep.load(); }));
  const uint64_t rounds_before = sysmon_rounds();
  rusage before{};
  rusage after{};
  getrusage(RUSAGE_SELF, &before);
  EXPECT_EQ(join(sleeper, kForever), 0);
  getrusage(RUSAGE_SELF, &after);
  // Once more from 20 us to 10 ms, and then none; at 20 us there would be 10,000.
  EXPECT_LE(sysmon_rounds(), rounds_before + 200);
  // Sysmon sleeps once a round; besides that only the sleeper's end wakes a few threads.
  EXPECT_LE(after.ru_nvcsw - before.ru_nvcsw, static_cast<long>(sysmon_rounds() - rounds_before) + 20);
}

}  // namespace
}  // namespace tri::sched
