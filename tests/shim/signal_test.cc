// signal_test.cc - A signal may arrive at any instruction of malloc and free; nothing is lost by it.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <cstdlib>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"

namespace tri_test {
namespace {

std::atomic<unsigned> g_signals{0};
volatile unsigned char g_scratch[512];

void count_signal(int) {
  // Dirties the registers and the stack below the interrupted code, but does not allocate.
  for (unsigned i = 0; i < 512; ++i) g_scratch[i] = static_cast<unsigned char>(i * 7);
  g_signals.fetch_add(1, std::memory_order_relaxed);
}

void on_signal(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(number, &action, nullptr);
}

// Checks the content of every block that it holds, each time that one is freed.
bool allocate_and_check(uint64_t seed, const std::atomic<bool>& end) {
  struct Held {
    void* p = nullptr;
    size_t size = 0;
    uint64_t pattern = 0;
  };
  std::vector<Held> held(200);
  Random random(seed);
  bool whole = true;
  while (!end.load(std::memory_order_relaxed)) {
    Held& h = held[random.below(held.size())];
    whole &= holds(h.p, h.size, h.pattern);
    size_t size = random.below(200) == 0 ? random.below(200000) : random.below(500);
    if (h.p != nullptr && random.below(4) == 0) {
      void* q = realloc(h.p, size + 1);
      whole &= holds(q, std::min(size, h.size), h.pattern);
      h.p = q;
    } else {
      free(h.p);
      h.p = random.below(8) == 0 ? calloc(1, size + 1) : malloc(size + 1);
    }
    h.size = size + 1;
    h.pattern = random.next();
    fill(h.p, h.size, h.pattern);
  }
  for (auto& h : held) {
    whole &= holds(h.p, h.size, h.pattern);
    free(h.p);
  }
  return whole;
}

TEST(Signal, AStormOfSignalsLeavesEveryBlockWhole) {
  on_signal(SIGUSR1, count_signal);
  std::atomic<bool> end{false};
  std::atomic<int> broken{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 2; ++t)
    threads.emplace_back([&, t] { broken += !allocate_and_check(t + 1, end); });
  for (int i = 0; i < 2000000 && g_signals < 20000;
       ++i) {  // signals that find one pending are lost
    pthread_kill(threads[static_cast<size_t>(i % 2)].native_handle(), SIGUSR1);
    if (i % 16 == 0) sched_yield();
  }
  end = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(broken, 0) << "threads found a block with another's content";
  EXPECT_GT(g_signals, 5000u) << "hardly a signal arrived: the test proves nothing";
}

TEST(Signal, ATimerStormInASingleThreadLeavesEveryBlockWhole) {
  g_signals = 0;
  on_signal(SIGALRM, count_signal);
  itimerval every{{0, 50}, {0, 50}};
  setitimer(ITIMER_REAL, &every, nullptr);
  std::atomic<bool> end{false};
  std::thread stopper;
  {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    stopper = std::thread([&] {
      sleep(3);
      end = true;
    });
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
  bool whole = allocate_and_check(3, end);
  itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  stopper.join();
  EXPECT_TRUE(whole);
  EXPECT_GT(g_signals, 500u) << "hardly a signal arrived: the test proves nothing";
}

TEST(Signal, HandlersRunOnAnAlternateStackWhileMallocIsInterrupted) {
  static char stack[64 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = count_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigaction(SIGALRM, &action, nullptr);
  g_signals = 0;
  itimerval every{{0, 100}, {0, 100}};
  setitimer(ITIMER_REAL, &every, nullptr);
  while (g_signals < 300) free(opaque(malloc(g_signals % 3000)));
  itimerval never{};
  setitimer(ITIMER_REAL, &never, nullptr);
  stack_t off{};
  off.ss_flags = SS_DISABLE;
  sigaltstack(&off, nullptr);
  SUCCEED();
}

}  // namespace
}  // namespace tri_test
