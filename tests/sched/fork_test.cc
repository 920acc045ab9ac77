// fork_test.cc - Tests of sched/fork.cc: what a child is left with, and that forks do not wait for one another for ever.
#include <errno.h>
#include <signal.h>

#include "alloc/base/sys.h"
#include "sched/dump.h"
#include "sched/preempt.h"
#include "sched/syscall.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

template <class Fn>
int in_forked_child(Fn&& fn, pid_t (*how)() = fork) {
  fflush(stdout);
  const pid_t pid = how();
  if (pid == 0) _exit(fn());
  return wait_for(pid);
}

#if !defined __SANITIZE_THREAD__  // TSan does not start threads in a child of a process with threads.
TEST(Fork, GivesTheChildTheGoroutineThatForked) {
  for (const int procs : {1, 3}) {
    set_procs(procs);
    std::atomic<bool> stop{false};
    std::vector<TaskId> others;
    for (int i = 0; i < 10; ++i) {
      others.push_back(spawn([&] {
        while (!stop) sleep_until(now() + 10'000);
      }));
    }
    for (int k = 0; k < 10; ++k) {
      in_goroutine([&] {
        const int status = in_forked_child([] {
          // Waits, wakes and starts others, on its one P.
          std::atomic<int> n{0};
          for (int i = 0; i < 100; ++i) {
            TaskId id = 0;
            SpawnOptions options;
            options.id = &id;
            CHILD_CHECK(go([](void* p) { static_cast<std::atomic<int>*>(p)->fetch_add(1); }, &n, options) == 0);
            CHILD_CHECK(join(id, kForever) == 0);
          }
          CHILD_CHECK(n == 100);
          const Time until = now() + 1'000'000;
          sleep_until(until);
          CHILD_CHECK(now() >= until);
          return 42;
        });
        EXPECT_EQ(status, 42);
      });
    }
    // And from a plain thread: the child may start anew.
    for (int k = 0; k < 10; ++k) {
      const int status = in_forked_child([] {
        static std::atomic<int> n;
        n = 0;
        for (int i = 0; i < 10; ++i) {
          TaskId id = 0;
          SpawnOptions options;
          options.id = &id;
          CHILD_CHECK(go([](void*) { ++n; }, nullptr, options) == 0);
          CHILD_CHECK(join(id, kForever) == 0);
        }
        CHILD_CHECK(n == 10);
        return 42;
      });
      EXPECT_EQ(status, 42);
    }
    stop = true;
    for (const TaskId id : others) EXPECT_EQ(join(id, kForever), 0);
  }
}

TEST(Fork, InTheChildNeitherWhoComputesNorWhoBlocksHoldsUpTheOthers) {
  set_procs(1);
  for (const bool blocks : {false, true}) {
    in_goroutine([&] {
      const int status = in_forked_child(
          [&] {
            alarm(20);
            static std::atomic<bool> ran;
            ran = false;
            CHILD_CHECK(go([](void*) { ran = true; }, nullptr) == 0);
            if (blocks) blocking_begin();
            while (!ran.load(std::memory_order_relaxed)) {
            }
            if (blocks) blocking_end();
            return 42;
          },
          tri::test::fork_at_rest);
      EXPECT_EQ(status, 42) << blocks;
    });
  }
}
TEST(Fork, AChildThatStartsAnewPassesForeignSignalsOn) {
  in_goroutine([] {});
  // The parent's handler stands there already, and is not its own predecessor.
  const int status = in_forked_child(
      [] {
        in_goroutine([] {});
        alarm(10);
        CHILD_CHECK(kill(getpid(), SIGURG) == 0);  // which is ignored by default, and so by us
        return 42;
      },
      tri::test::fork_at_rest);
  EXPECT_EQ(status, 42);
}
#endif

#if !TRI_TEST_SANITIZED  // Their own allocators' locks do not bear it.
TEST(ForkDeathTest, BeginsWhenThoseWhoWerePreemptedInLibcHaveGoneOn) {
  // Handlers that are registered before the scheduler's run when it has taken its locks: so it must not have started yet.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr int kForks = kSlow ? 20 : 60;
  static std::atomic<int> too_early{0};
  const auto run = [] {
    pthread_atfork([] { too_early += anybody_is_preempted_in_libc(); }, nullptr, nullptr);
    set_procs(2);
    static std::atomic<bool> stop{false};
    std::vector<TaskId> hogs;
    for (int i = 0; i < 8; ++i) {
      hogs.push_back(spawn([] {
        std::vector<char> buffer(512 * 1024);
        volatile int n = 0;
        while (!stop) {
          memset(buffer.data(), n, buffer.size());
          for (int k = 0; k < 2000; ++k) n = n + 1;
        }
      }));
    }
    std::thread storm([] {
      while (!stop) {
        for (uint32_t i = 0; i < 2; ++i) {
          if (!sched.idle.is_idle(i)) preempt(sched.ps[i].load());
        }
      }
    });
    in_goroutine([] {
      for (int k = 0; k < kForks; ++k) {
        const pid_t pid = fork();
        if (pid == 0) _exit(0);
        wait_for(pid);
      }
    });
    stop = true;
    storm.join();
    for (const TaskId id : hogs) join(id, kForever);
    fprintf(stderr, "%d of %d", too_early.load(), kForks);
    // Not 0: on a busy machine turns come late, and patience ends. Who does not wait at all is too early four times in five.
    _exit(too_early <= kForks * 3 / 5 ? 0 : 1);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

TEST(Fork, WhoIsPreemptedOnItsWayHoldsNothingThatOthersForksNeed) {
  // libc takes a lock of its own before each handler of fork, and drops it for the time of the handler. Signals as thick as they can come find
  // somebody who holds it. There are more handlers than in most programs, outside of the scheduler's and inside, to meet at.
  const auto more_handlers = [] {
    constexpr auto kNothing = [] {};
    for (int i = 0; i < 200; ++i) EXPECT_EQ(pthread_atfork(kNothing, kNothing, kNothing), 0);
  };
  set_procs(2);
  more_handlers();
  in_goroutine([] {});  // the scheduler has its own, and its processors
  more_handlers();
  constexpr int kForks = kSlow ? 30 : 400;
  std::atomic<bool> stop{false};
  std::thread storm([&] {
    while (!stop) {
      for (uint32_t i = 0; i < 2; ++i) {
        if (!sched.idle.is_idle(i)) preempt(sched.ps[i].load());
      }
    }
  });
  std::vector<TaskId> forkers;
  std::atomic<int> forks{0};
  for (int i = 0; i < 4; ++i) {
    forkers.push_back(spawn([&forks] {
      for (int k = 0; k < kForks; ++k) {
        const pid_t pid = fork();
        if (pid == 0) _exit(0);
        EXPECT_EQ(wait_for(pid), 0);
        ++forks;
      }
    }));
  }
  // Slow where the machine is busy and the process is large; stuck if there is no fork at all for this long.
  for (const TaskId id : forkers) {
    for (int before = -1; join(id, now() + milliseconds(60'000)) != 0;) {
      if (forks != before) {
        before = forks;
        continue;
      }
      dump_tasks(2);
      abort();  // what holds the locks of fork keeps the test from ending otherwise
    }
  }
  stop = true;
  storm.join();
}
#endif

}  // namespace
}  // namespace tri::sched
