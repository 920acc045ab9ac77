// worker_test.cc - Threads of the collector work once each, alone as well as beside a stopped world, and are gone.
#include "gc/worker.h"

#include <dirent.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "gc/stop.h"
#include "gc/tasks.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

/// What the threads do: they may not use libc's errno, so system calls are made directly.
struct Work {
  std::atomic<uint32_t> calls[Workers::kMost] = {};
  std::atomic<uint32_t> ids[Workers::kMost] = {};
  std::atomic<uint64_t> blocked[Workers::kMost] = {};
  std::atomic<uintptr_t> stacks[Workers::kMost] = {};
  std::atomic<bool> hold{false};
  uint64_t plain[Workers::kMost] = {};
};

void work(void* arg, unsigned i) {
  auto& w = *static_cast<Work*>(arg);
  uint64_t mask = 0;
  arch::system_call(SYS_rt_sigprocmask, SIG_BLOCK, 0, reinterpret_cast<long>(&mask), 8);
  w.blocked[i] = mask;
  w.stacks[i] = reinterpret_cast<uintptr_t>(&mask);
  w.plain[i] = 7 + i;
  w.ids[i] = static_cast<uint32_t>(arch::system_call(SYS_gettid));
  ++w.calls[i];
  while (w.hold) sys::yield();
}

size_t tasks() {
  size_t n = 0;
  EXPECT_EQ(each_task([&](uint32_t) { ++n; }), 0);
  return n;
}

bool eventually(auto&& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    usleep(500);
  }
  return false;
}

#if !defined __SANITIZE_THREAD__  // There libc makes them, on stacks of its own.
// In a process of its own, as ctest runs it: memory that a worker once had is kept for the next.
TEST(Workers, AreFewerWhereMemoryIsShort) {
  Work w;
  Workers workers;
  const auto start_with = [&](long calls) {
    os::fail_after(calls);
    const unsigned started = workers.start(4, work, &w);
    os::fail_after(-1);
    workers.join();
    return started;
  };
  EXPECT_EQ(start_with(0), 0U);
  const unsigned some = start_with(3);  // a stack for each, and something to note it in
  EXPECT_GT(some, 0U);
  EXPECT_LT(some, 4U);
  EXPECT_EQ(workers.start(4, work, &w), 4U);
  workers.join();
}
#endif

TEST(Workers, EachWorksOnceAndIsGone) {
  constexpr size_t kBefore = test::kTsan ? 2 : 1;  // TSan has a thread of its own once there are threads
  for (const unsigned n : {1U, 2U, 4U, Workers::kMost}) {
    Work w;
    Workers workers;
    ASSERT_EQ(workers.start(n, work, &w), n);
    EXPECT_EQ(workers.count(), n);
    workers.join();
    EXPECT_EQ(workers.count(), 0U);
    for (unsigned i = 0; i < Workers::kMost; ++i) {
      EXPECT_EQ(w.calls[i], i < n ? 1U : 0U);
      EXPECT_EQ(w.plain[i], i < n ? 7 + i : 0U);
    }
    EXPECT_TRUE(eventually([&] { return tasks() == kBefore; }));
  }
}

TEST(Workers, TakeNoSignal) {
  Work w;
  Workers workers;
  ASSERT_EQ(workers.start(3, work, &w), 3U);
  workers.join();
  for (int i = 0; i < 3; ++i) {
    for (int s = 1; s <= SIGRTMAX; ++s) {
      const bool may_be = s == SIGKILL || s == SIGSTOP || (s > SIGSYS && s < SIGRTMIN);
      EXPECT_TRUE((w.blocked[i] >> (s - 1) & 1) != 0 || may_be) << s;
    }
  }
}

TEST(Workers, AreNoMoreThanThereAre) {
  Work w;
  w.hold = true;
  Workers first, second;
  ASSERT_EQ(first.start(Workers::kMost - 1, work, &w), Workers::kMost - 1);
  Work others;
  EXPECT_EQ(second.start(4, work, &others), 1U);
  w.hold = false;
  first.join();
  second.join();
  EXPECT_EQ(first.start(2, work, &w), 2U);
  first.join();
}

#if !defined __SANITIZE_THREAD__  // There libc makes them, on stacks of its own.
TEST(Workers, TheirStacksAreTheLibrarysOwn) {
  Work w;
  Workers workers;
  ASSERT_EQ(workers.start(4, work, &w), 4U);
  workers.join();
  for (int i = 0; i < 4; ++i) {
    bool found = false;
    for (const own_memory::Region* r = own_memory::first(); r != nullptr; r = r->next) {
      found = found || w.stacks[i] - reinterpret_cast<uintptr_t>(r->start) < r->bytes;
    }
    EXPECT_TRUE(found);
  }
}
#endif

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc: nobody stops.
TEST(Workers, WorkOnWhileTheWorldStands) {
  std::atomic<bool> over{false};
  std::thread other([&] {
    while (!over) std::this_thread::yield();
  });
  Work w;
  w.hold = true;
  Workers workers;
  ASSERT_EQ(workers.start(2, work, &w), 2U);
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(stop_world(), 0);
    EXPECT_EQ(stopped_count(), 1U);
    EXPECT_EQ(unstopped_count(), 0U);
    // And others can be started in it.
    Work in_stop;
    Workers more;
    const unsigned n = more.start(2, work, &in_stop);
    more.join();
    resume_world();
    EXPECT_EQ(n, 2U);
    EXPECT_EQ(in_stop.plain[1], 8U);
  }
  EXPECT_TRUE(os::is_bare_thread(w.ids[0]) && os::is_bare_thread(w.ids[1]));
  w.hold = false;
  workers.join();
  EXPECT_FALSE(os::is_bare_thread(w.ids[0]));
  over = true;
  other.join();
}
#endif

TEST(Workers, SeveralTakeThemAtOnce) {
  test::in_threads(4, [](size_t) {
    for (int i = 0; i < 100; ++i) {
      Work w;
      Workers workers;
      const unsigned n = workers.start(2, work, &w);
      workers.join();
      for (unsigned k = 0; k < n; ++k) ASSERT_EQ(w.plain[k], 7 + k);
    }
  });
}

}  // namespace
}  // namespace tri::gc
