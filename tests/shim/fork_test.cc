// fork_test.cc - fork() from a program whose other threads are inside malloc; the child's heap is whole.
#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

// Threads that allocate, resize and free all sizes until told to end.
class Churn {
 public:
  explicit Churn(int threads) {
    for (int t = 0; t < threads; ++t) {
      threads_.emplace_back([this, t] {
        Random random(static_cast<uint64_t>(t) + 1);
        void* held[64] = {};
        while (!end_.load(std::memory_order_relaxed)) {
          void*& p = held[random.below(64)];
          size_t n = random.below(100) == 0 ? random.below(300000) : random.below(3000);
          p = random.below(4) == 0 ? realloc(p, n + 1) : (free(p), malloc(n + 1));
        }
        for (void* p : held) free(p);
      });
    }
  }
  ~Churn() {
    end_ = true;
    for (auto& t : threads_) t.join();
  }

 private:
  std::atomic<bool> end_{false};
  std::vector<std::thread> threads_;
};

constexpr size_t kLargest = 140000;  // large blocks too, but none that costs a child a millisecond

struct Known {
  void* p;
  size_t size;
};

std::vector<Known> known_blocks() {
  std::vector<Known> known;
  for (size_t n : interesting_sizes()) {
    if (n > kLargest) break;
    known.push_back({malloc(n), n});
    fill(known.back().p, n, n);
  }
  return known;
}

// What a child does with its parent's blocks: checks, resizes, frees; then allocates all sizes. Returns success.
bool child_uses_heap(const std::vector<Known>& known) {
  for (const auto& k : known) {
    if (!holds(k.p, k.size, k.size)) return false;
    if (k.size % 2 == 0) {
      void* q = realloc(k.p, k.size + 100);
      if (!holds(q, k.size, k.size)) return false;
      free(q);
    } else {
      free(k.p);
    }
  }
  for (size_t n : interesting_sizes()) {
    if (n > kLargest) break;
    void* p = calloc(1, n);
    if (p == nullptr || !all_zero(p, n)) return false;
    free(p);
  }
  return true;
}

// Waits without trusting the child to end.
int status_of(pid_t child, int seconds = 20) {
  int status = 0;
  for (int i = 0; i < seconds * 1000; ++i) {
    if (waitpid(child, &status, WNOHANG) == child) return status;
    usleep(1000);
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return -1;
}

TEST(Fork, ChildrenOfABusyProgramAllocateAndFreeTheParentsBlocks) {
  Churn churn(3);
  auto known = known_blocks();
  for (int i = 0; i < 500; ++i) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(child_uses_heap(known) ? 0 : 1);
    ASSERT_EQ(status_of(child), 0) << "child " << i;
  }
  for (auto& k : known) {
    ASSERT_TRUE(holds(k.p, k.size, k.size)) << "the parent's copy";
    free(k.p);
  }
}

TEST(Fork, AChildMayStartThreadsThatAllocate) {
  Churn churn(2);
  for (int i = 0; i < 50; ++i) {
    pid_t child = fork();
    if (child == 0) {
      std::vector<std::thread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([] {
          for (size_t n = 0; n < 3000; ++n) free(opaque(malloc(n)));
        });
      for (auto& t : threads) t.join();
      _exit(0);
    }
    ASSERT_EQ(status_of(child), 0) << "child " << i;
  }
}

TEST(Fork, GrandchildrenWorkToo) {
  Churn churn(2);
  auto known = known_blocks();
  for (int i = 0; i < 20; ++i) {
    pid_t child = fork();
    if (child == 0) {
      for (int depth = 0; depth < 5; ++depth) {
        free(opaque(malloc(1000)));
        pid_t next = fork();
        if (next != 0) {
          int status = 0;
          waitpid(next, &status, 0);
          _exit(status == 0 ? 0 : 1);
        }
      }
      _exit(child_uses_heap(known) ? 0 : 1);
    }
    ASSERT_EQ(status_of(child), 0) << "child " << i;
  }
  for (auto& k : known) free(k.p);
}

TEST(Fork, ThreadsMayForkAllAtOnce) {
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        void* p = malloc(500);
        fill(p, 500, 7);
        pid_t child = fork();
        if (child == 0) {
          bool whole = holds(p, 500, 7);
          free(p);
          free(opaque(malloc(100000)));
          _exit(whole ? 0 : 1);
        }
        failures += status_of(child) != 0;
        free(p);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(failures, 0);
}

TEST(Fork, TheChildMayUseStdioWhileItsParentsThreadsHeldItsLocks) {
  // fork() takes stdio's locks as well as malloc's: the order of the two must not let them wait for each other.
  std::atomic<bool> end{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (!end) {
        char* line = nullptr;
        size_t room = 0;
        FILE* stream = fopen("/proc/self/status", "r");
        while (getline(&line, &room, stream) > 0) {
        }
        fclose(stream);
        free(line);
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    pid_t child = fork();
    if (child == 0) {
      FILE* stream = fopen("/dev/null", "w");
      setvbuf(stream, nullptr, _IOFBF, 1 << 16);
      fprintf(stream, "%d %s", i, "child");
      fclose(stream);
      fflush(nullptr);
      _exit(0);
    }
    int status = status_of(child);
    if (status != 0) end = true;
    ASSERT_EQ(status, 0) << "child " << i;
  }
  end = true;
  for (auto& t : threads) t.join();
}

TEST(Fork, HandlersOfPthreadAtforkMayAllocate) {
  static void* held;
  pthread_atfork([] { held = malloc(100); },
                 [] {
                   free(held);
                   free(opaque(malloc(50)));
                 },
                 [] {
                   free(held);
                   free(opaque(malloc(5000)));
                 });
  Churn churn(2);
  for (int i = 0; i < 100; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    ASSERT_EQ(status_of(child), 0) << "child " << i;
  }
}

// --- fork in a signal handler ------------------------------------------------------------------------------------

std::atomic<int> g_handler_forks{0};
std::atomic<int> g_handler_failures{0};

void fork_in_handler(int) {
  int saved = errno;
  pid_t child = fork();
  if (child == 0) {
    alarm(10);  // a deadlock ends the child by a signal, and the parent counts it
    for (size_t n : {10u, 100u, 1000u, 40000u, 300000u}) {
      void* p = malloc(n);
      if (p == nullptr) _exit(1);
      memset(p, 1, n);
      free(p);
    }
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) ++g_handler_failures;
  ++g_handler_forks;
  errno = saved;
}

constexpr int kForks = 2000;

void fork_on(int signal) {
  struct sigaction action {};
  action.sa_handler = fork_in_handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

// Keeps the processor inside malloc and free until enough handlers have run.
void allocate_until_done() {
  void* held[32] = {};
  Random random(2);
  while (g_handler_forks < kForks) {
    void*& p = held[random.below(32)];
    free(p);
    p = malloc(random.below(50) == 0 ? random.below(200000) : random.below(2000));
  }
}

// Signals one by one, each after the last handler has ended, at moments that vary by some microseconds.
void send_signals(pid_t to, const std::atomic<int>& handled) {
  Random random(1);
  while (handled < kForks) {
    int before = handled;
    for (size_t spin = random.below(2000); spin > 0; --spin) opaque(spin);
    if (kill(to, SIGALRM) != 0) return;
    while (handled == before && kill(to, 0) == 0) usleep(20);
  }
}

// The judge is a child, so that a hang costs this test and not the run.
template <class Body>
void expect_judged_well(Body body) {
  pid_t judge = fork();
  if (judge == 0) {
    body();
    _exit(g_handler_failures == 0 ? 0 : 1);
  }
  EXPECT_EQ(status_of(judge, 60), 0) << "256: a child failed; -1: hung";
}

TEST(Fork, ForkInASignalHandlerThatInterruptedMallocOfTheOnlyThreadLeavesTheChildAHeap) {
  expect_judged_well([] {
    fork_on(SIGALRM);
    // A timer of random length, set anew by each handler's end, needs neither a thread nor a process beside.
    Random random(3);
    itimerval next{};
    int seen = -1;
    void* held[32] = {};
    while (g_handler_forks < kForks) {
      if (seen != g_handler_forks) {
        seen = g_handler_forks;
        next.it_value.tv_usec = static_cast<suseconds_t>(1 + random.below(120));
        setitimer(ITIMER_REAL, &next, nullptr);
      }
      void*& p = held[random.below(32)];
      free(p);
      p = malloc(random.below(50) == 0 ? random.below(200000) : random.below(2000));
    }
  });
}

TEST(Fork, ForkInASignalHandlerThatInterruptedMallocOfOneOfManyThreadsLeavesTheChildAHeap) {
  expect_judged_well([] {
    fork_on(SIGALRM);
    Churn churn(1);
    pid_t me = getpid();
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, nullptr);
    std::thread sender([me] { send_signals(me, g_handler_forks); });
    pthread_sigmask(SIG_UNBLOCK, &alarms, nullptr);
    allocate_until_done();
    sender.join();
  });
}

}  // namespace
}  // namespace tri_test
