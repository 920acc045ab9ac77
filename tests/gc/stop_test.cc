// stop_test.cc - Threads of every kind are stopped, with their registers, and go on as if nothing had been.
#include "gc/stop.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "alloc/base/sys.h"
#include "gtest/gtest.h"

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc: nobody stops.

namespace tri::gc {
namespace {

using namespace std::chrono_literals;

class Stopped {
 public:
  Stopped() { EXPECT_EQ(stop_world(), 0); }
  ~Stopped() { resume_world(); }
};

/// Threads that run `body` until the object goes.
class Threads {
 public:
  Threads(int n, std::function<void(std::atomic<bool>& over)> body) {
    for (int i = 0; i < n; ++i) {
      threads_.emplace_back([this, body] {
        ++started_;
        body(over_);
      });
    }
    while (started_ < n) std::this_thread::yield();
  }
  ~Threads() {
    over_ = true;
    for (std::thread& t : threads_) t.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> started_{0};
  std::vector<std::thread> threads_;
};

void in_child() {
  sys::forget_thread_id();  // the allocator does so in programs that use it
  stop_reset_after_fork();
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 60'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return condition();
}

TEST(Stop, AProgramWithoutOtherThreadsStandsAlready) {
  Stopped world;
  EXPECT_EQ(stopped_count(), 0u);
  EXPECT_EQ(unstopped_count(), 0u);
}

TEST(Stop, ThreadsThatComputeStandStill) {
  std::atomic<uint64_t> work{0};
  Threads threads(4, [&](std::atomic<bool>& over) {
    while (!over) work.fetch_add(1, std::memory_order_relaxed);
  });
  for (int round = 0; round < 100; ++round) {
    uint64_t before;
    {
      Stopped world;
      EXPECT_EQ(stopped_count(), 4u);
      before = work;
      for (int i = 0; i < 10'000; ++i) asm volatile("");
      EXPECT_EQ(work, before);
    }
    EXPECT_TRUE(eventually([&] { return work != before; }));
  }
}

TEST(Stop, ThreadsThatWaitDoNotNotice) {
  // A read is begun again by the kernel; a condition variable, a join and a mutex by libc.
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  std::atomic<int> got{0};
  std::thread reader([&] {
    char c = 0;
    if (read(pipe[0], &c, 1) == 1 && c == 'x') ++got;
  });
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  bool go = false;
  std::thread waiter([&] {
    pthread_mutex_lock(&mutex);
    while (!go) pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    ++got;
  });
  std::thread joiner([&] {
    waiter.join();
    ++got;
  });
  for (int i = 0; i < 1000; ++i) {
    Stopped world;
    EXPECT_EQ(stopped_count(), 3u);
  }
  pthread_mutex_lock(&mutex);
  go = true;
  pthread_cond_signal(&condition);
  pthread_mutex_unlock(&mutex);
  EXPECT_EQ(write(pipe[1], "x", 1), 1);
  reader.join();
  joiner.join();
  EXPECT_EQ(got, 3);
  close(pipe[0]);
  close(pipe[1]);
}

[[maybe_unused]] bool holds(const StoppedThread& t, uint64_t value) {
  for (const char* p = reinterpret_cast<const char*>(t.registers); p + sizeof value <= t.registers_end; p += 8) {
    if (memcmp(p, &value, sizeof value) == 0) return true;
  }
  return false;
}

#if defined(__x86_64__)
TEST(Stop, AllRegistersAreThere) {
  static constexpr uint64_t kGeneral = 0x1122334455667788, kVector = 0x8877665544332211;
  std::atomic<bool> ready{false};
  std::thread thread([&] {
    uint64_t general = ~kGeneral, vector = ~kVector;
    // Made in the registers, so that nothing but the frame of the signal has them.
    asm volatile(
        "notq %0\n\tmovq %0, %%r12\n\txorl %k0, %k0\n\t"
        "notq %1\n\tmovq %1, %%xmm11\n\txorl %k1, %k1\n\t"
        "movb $1, (%2)\n\t"
        "1: pause\n\tcmpb $1, (%2)\n\tje 1b\n\t"
        "xorl %%r12d, %%r12d\n\tpxor %%xmm11, %%xmm11"
        : "+r"(general), "+r"(vector)
        : "r"(&ready)
        : "r12", "xmm11", "memory", "cc");
  });
  while (!ready) std::this_thread::yield();
  int general = 0, vector = 0;
  {
    Stopped world;
    each_stopped([&](const StoppedThread& t) {
      general += holds(t, kGeneral);
      vector += holds(t, kVector);
    });
  }
  ready = false;
  thread.join();
  EXPECT_EQ(general, 1);
  EXPECT_EQ(vector, 1);
}
#endif

TEST(Stop, TheStackPointerIsThatOfTheThread) {
  std::atomic<uintptr_t> frame{0};
  std::atomic<bool> over{false};
  std::thread thread([&] {
    frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    while (!over) {
    }
  });
  while (frame == 0) std::this_thread::yield();
  {
    Stopped world;
    each_stopped([&](const StoppedThread& t) {
      EXPECT_LE(t.sp, frame);
      EXPECT_LT(frame - t.sp, 4096u);
    });
  }
  over = true;
  thread.join();
}

TEST(Stop, AThreadOnAnotherStackShowsThatOne) {
  // A handler on a signal stack; there the frame of our signal lies as well.
  static std::atomic<uintptr_t> frame;
  static std::atomic<bool> over;
  frame = 0;
  over = false;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    while (!over) {
    }
  };
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  constexpr size_t kBytes = 64 * 1024;
  const auto stack = std::make_unique<char[]>(kBytes);
  std::thread thread([&] {
    stack_t its = {};
    its.ss_sp = stack.get();
    its.ss_size = kBytes;
    stack_t before = {};
    sigaltstack(&its, &before);
    raise(SIGUSR1);
    sigaltstack(&before, nullptr);
  });
  while (frame == 0) std::this_thread::yield();
  {
    Stopped world;
    EXPECT_EQ(stopped_count(), 1u);
    each_stopped([&](const StoppedThread& t) {
      EXPECT_LT(t.sp - reinterpret_cast<uintptr_t>(stack.get()), kBytes);
      EXPECT_LE(t.sp, frame);
    });
  }
  over = true;
  thread.join();
}

TEST(Stop, ASignalThatTheProgramTakesMeanwhileIsTheProgramsFromThenOn) {
  std::atomic<bool> over{false};
  std::thread thread([&] {
    while (!over) std::this_thread::yield();
  });
  {
    Stopped world;
    EXPECT_EQ(stopped_count(), 1u);
  }
  const int first = get_stop_signal();
  static std::atomic<int> came;
  came = 0;
  struct sigaction action = {};
  action.sa_handler = [](int) { ++came; };
  ASSERT_EQ(sigaction(first, &action, nullptr), 0);
  {
    Stopped world;
    EXPECT_EQ(stopped_count(), 1u);
    EXPECT_EQ(unstopped_count(), 0u);
  }
  EXPECT_NE(get_stop_signal(), first);
  EXPECT_EQ(came, 0);
  raise(first);
  EXPECT_EQ(came, 1);
  over = true;
  thread.join();
}

TEST(Stop, ThreadsThatLibcDoesNotKnowAreStopped) {
  static std::atomic<uint64_t> work;
  static std::atomic<bool> over;
  work = 0;
  over = false;
  constexpr size_t kBytes = 64 * 1024;
  char* const stack =
      static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  ASSERT_NE(stack, MAP_FAILED);
  // Without thread-local storage of its own it shares ours: it must not even look at errno.
  const int id = clone(
      [](void*) {
        while (!over.load(std::memory_order_relaxed)) work.fetch_add(1, std::memory_order_relaxed);
        for (;;) syscall(SYS_exit, 0);
        return 0;
      },
      stack + kBytes, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, nullptr);
  ASSERT_GT(id, 0);
  while (work == 0) std::this_thread::yield();
  for (int round = 0; round < 100; ++round) {
    Stopped world;
    EXPECT_EQ(stopped_count(), 1u);
    const uint64_t before = work;
    for (int i = 0; i < 1000; ++i) asm volatile("");
    EXPECT_EQ(work, before);
  }
  over = true;
  EXPECT_TRUE(eventually([&] { return syscall(SYS_tgkill, getpid(), id, 0) != 0; }));
  munmap(stack, kBytes);
}

TEST(Stop, AThreadThatSleepsDeafIsCountedAndNotWaitedFor) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  std::thread deaf([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    char c;
    while (read(pipe[0], &c, 1) != 1 || c == 'x') {
    }
  });
  std::this_thread::sleep_for(10ms);
  for (int round = 0; round < 10; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    {
      Stopped world;
      EXPECT_EQ(stopped_count(), 0u);
      EXPECT_EQ(unstopped_count(), 1u);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
    // It runs for a moment, and goes to sleep again.
    EXPECT_EQ(write(pipe[1], "x", 1), 1);
  }
  EXPECT_EQ(write(pipe[1], "y", 1), 1);
  deaf.join();
}

TEST(Stop, ASignalThatComesTooLateDoesNothing) {
  std::atomic<int> phase{0};
  std::thread thread([&] {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    phase = 1;
    while (phase == 1) std::this_thread::sleep_for(1ms);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);  // here they come, all of them
    phase = 3;
    while (phase == 3) std::this_thread::yield();
  });
  while (phase == 0) std::this_thread::yield();
  size_t missed = 0;
  for (int i = 0; i < 3; ++i) {
    Stopped world;
    missed += unstopped_count();
  }
  phase = 2;
  EXPECT_TRUE(eventually([&] { return phase == 3; }));
  {
    Stopped world;
    EXPECT_EQ(stopped_count(), 1u);
  }
  phase = 4;
  thread.join();
  EXPECT_EQ(missed, 3u);
}

TEST(Stop, ThreadsComeAndGoMeanwhile) {
  // Makers that make threads which make threads; each writes what it finds and goes.
  std::atomic<bool> stands{false};
  std::atomic<int> moved{0};
  std::atomic<uint64_t> made{0};
  const auto live = [&] {
    if (stands) ++moved;  // it ran while it should have stood, or was born into a world that stood
    made.fetch_add(1, std::memory_order_relaxed);
  };
  Threads threads(3, [&](std::atomic<bool>& over) {
    while (!over) {
      std::thread child([&] {
        live();
        std::thread grandchild(live);
        grandchild.join();
      });
      child.join();
    }
  });
  for (int round = 0; round < 2000; ++round) {
    {
      Stopped world;
      // Whoever is deaf sleeps in libc's code that makes or ends a thread.
      stands = true;
      for (int i = 0; i < 1000; ++i) asm volatile("");
      stands = false;
    }
    std::this_thread::yield();
  }
  EXPECT_EQ(moved, 0);
  EXPECT_GT(made, 100u);
}

TEST(Stop, SeveralThreadsStopTheWorldInTurn) {
  std::atomic<int> inside{0};
  std::atomic<int> together{0};
  Threads threads(4, [&](std::atomic<bool>& over) {
    for (int i = 0; i < 500 || !over; ++i) {
      EXPECT_EQ(stop_world(), 0);
      if (++inside != 1) ++together;
      --inside;
      resume_world();
    }
  });
  for (int i = 0; i < 500; ++i) {
    Stopped world;
    if (++inside != 1) ++together;
    --inside;
  }
  EXPECT_EQ(together, 0);
}

TEST(Stop, IsNotNested) {
  Stopped world;
  EXPECT_EQ(stop_world(), -EBUSY);
}

TEST(Stop, TheMainThreadMayHaveLeft) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    in_child();
    static pthread_t other;
    pthread_create(
        &other, nullptr,
        [](void*) -> void* {
          usleep(10'000);
          const int r = stop_world();
          const bool right = r == 0 && stopped_count() == 0 && unstopped_count() == 0;
          resume_world();
          _exit(right ? 0 : 1);
        },
        nullptr);
    for (;;) syscall(SYS_exit, 0);  // pthread_exit() would unwind through googletest
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Stop, AForkedChildStopsItsOwnThreads) {
  Threads threads(2, [&](std::atomic<bool>& over) {
    while (!over) {
    }
  });
  for (int round = 0; round < 50; ++round) {
    { Stopped world; }
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      in_child();
      const int r = stop_world();
      const bool right = r == 0 && stopped_count() == 0;
      resume_world();
      _exit(right ? 0 : 1);
    }
    { Stopped world; }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

TEST(Stop, ManyThreadsManyTimes) {
  std::atomic<uint64_t> work{0};
  Threads threads(64, [&](std::atomic<bool>& over) {
    while (!over) {
      work.fetch_add(1, std::memory_order_relaxed);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 200; ++round) {
    Stopped world;
    EXPECT_EQ(stopped_count(), 64u);
    const uint64_t before = work;
    for (int i = 0; i < 1000; ++i) asm volatile("");
    EXPECT_EQ(work, before);
  }
}

TEST(StopSignal, CanBeChosen) {
  set_stop_signal(SIGRTMIN + 3);
  Threads threads(2, [&](std::atomic<bool>& over) {
    while (!over) {
    }
  });
  Stopped world;
  EXPECT_EQ(stopped_count(), 2u);
  struct sigaction action = {};
  sigaction(SIGRTMIN + 3, nullptr, &action);
  EXPECT_NE(action.sa_handler, SIG_DFL);
}

TEST(StopSignal, ThatIsNoneIsRefused) {
  set_stop_signal(1000);
  EXPECT_EQ(stop_world(), -EINVAL);
  set_stop_signal(0);
}

TEST(StopSignal, IsOneThatNobodyHandles) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGRTMAX, &action, nullptr);
  { Stopped world; }
  EXPECT_EQ(get_stop_signal(), SIGRTMAX - 1);
}

}  // namespace
}  // namespace tri::gc

#endif
