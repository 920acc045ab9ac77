// pacing_test.cc - When cycles begin in a program, and on whose thread.
#include <gtest/gtest.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "alloc/counters.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "alloc/scavenger.h"
#include "gc/gc.h"
#include "gc/heap.h"
#include "tests/alloc/support.h"
#include "tests/gc/collected_support.h"

#if !TRI_TEST_SANITIZED  // Their own records keep words that look like pointers to dead blocks; and under TSan nobody stops.

namespace tri::gc {
namespace {

constexpr size_t kMiB = 1 << 20;
constexpr uint32_t kNever = 100'000;  // percent

uint64_t cycles() { return get_stats().cycles; }
uint64_t in_use() { return counters->used_bytes.load(std::memory_order_relaxed); }
uint64_t held() { return in_use() + counters->free_bytes.load(std::memory_order_relaxed); }

/// Allocates so much, in blocks that nobody keeps; the most that was in use meanwhile.
[[gnu::noinline]] uint64_t waste(size_t bytes, size_t block = 64) {
  uint64_t most = 0;
  for (size_t done = 0; done < bytes; done += block) {
    void* volatile p = allocate_collected(block, false);
    EXPECT_NE(p, nullptr);
    p = nullptr;
    if (done % kMiB < block) most = std::max(most, in_use());
  }
  return most;
}

constinit std::atomic<int64_t> fake_ns{1'000'000'000};

class Pacing : public ::testing::Test {
 protected:
  Pacing() {
    set_mode(Mode::kOn, kNever);
    waste(64);
  }
  ~Pacing() override {
    os::set_clock(nullptr);
    set_limit(UINT64_MAX);
    scavenger::set_half_life(1'000'000'000);
    set_mode(Mode::kOff, 100);
    collected_heap.verify();
  }
};

TEST_F(Pacing, ACycleBeginsAfterTwoMinutesInWhichSomethingIsAllocated) {
  os::set_clock([] { return fake_ns.load(std::memory_order_relaxed); });
  ASSERT_EQ(collect(), 0);
  const uint64_t before = cycles();
  fake_ns += 119'000'000'000;
  waste(kMiB);
  EXPECT_EQ(cycles(), before);
  fake_ns += 2'000'000'000;
  waste(kMiB);
  EXPECT_EQ(cycles(), before + 1);
}

TEST_F(Pacing, ThePercentageBeginsCycles) {
  set_mode(Mode::kOn, 100);
  const uint64_t before = cycles();
  const uint64_t most = waste(128 * kMiB);
  EXPECT_GE(cycles(), before + 10);
  EXPECT_LT(most, 24 * kMiB);
}

TEST_F(Pacing, TheLimitBeginsThemBeforeThePercentageWould) {
  set_limit(64 * kMiB);
  const uint64_t before = cycles();
  EXPECT_LT(waste(400 * kMiB), 68 * kMiB);
  EXPECT_GE(cycles(), before + 4);
  EXPECT_LT(cycles(), before + 100) << "not more than there is room for";
}

TEST_F(Pacing, WhatMallocHasCountsAgainstTheLimit) {
  std::vector<void*> blocks;
  for (int i = 0; i < 40; ++i) blocks.push_back(memset(allocate(kMiB), 1, kMiB));
  set_limit(64 * kMiB);
  const uint64_t before = cycles();
  EXPECT_LT(waste(200 * kMiB), 68 * kMiB);
  EXPECT_GE(cycles(), before + 4);
  for (void* const p : blocks) deallocate(p);
}

TEST_F(Pacing, AHeapThatIsAliveGrowsBeyondItsLimit) {
  set_limit(16 * kMiB);
  struct Node {
    Node* next;
    uint64_t id;
    char rest[496];
  };
  static Node* root;
  constexpr uint64_t kNodes = 64 * kMiB / sizeof(Node);
  for (uint64_t i = 0; i < kNodes; ++i) {
    auto* const n = static_cast<Node*>(allocate_collected(sizeof(Node), false));
    ASSERT_NE(n, nullptr);
    n->next = root;
    n->id = i;
    root = n;
  }
  EXPECT_LT(cycles(), 100u) << "each brings room for a MiB at least";
  uint64_t id = kNodes;
  for (Node* n = root; n != nullptr;) {
    ASSERT_EQ(n->id, --id);
    Node* const next = n->next;
    deallocate(n);
    n = next;
  }
  EXPECT_EQ(id, 0u);
  root = nullptr;
}

TEST_F(Pacing, WhatIsFreeGoesBackFirst) {
  scavenger::set_half_life(scavenger::kPurgeNever);
  ASSERT_EQ(collect(), 0);
  scavenger::purge_all();
  const uint64_t base = held();
  std::vector<void*> blocks;
  for (int i = 0; i < 400; ++i) blocks.push_back(memset(allocate(100'000), 1, 100'000));
  set_limit(base + 20 * kMiB);
  EXPECT_GT(held(), base + 38 * kMiB);
  for (void* const p : blocks) deallocate(p);
  const uint64_t before = cycles();
  scavenger::poll();
  EXPECT_LT(held(), base + 22 * kMiB);
  waste(4 * kMiB);
  EXPECT_EQ(cycles(), before) << "there is room again: nothing to collect for";
}

// ---- on the thread that allocates --------------------------------------------------------------------------------------

std::atomic<uint64_t> alarms{0};

TEST_F(Pacing, AThreadWithASmallStackCollectsForItself) {
  set_mode(Mode::kOn, 100);
  struct sigaction action = {};
  action.sa_handler = [](int) { ++alarms; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  const itimerval every = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &every, nullptr);
  const uint64_t before = cycles();
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
  pthread_t threads[3];
  for (pthread_t& t : threads) {
    const auto run = [](void*) -> void* {
      for (size_t i = 0; i < 64 * kMiB / 64; ++i) {
        auto* volatile p = static_cast<char*>(allocate_collected(64, false));
        if (p[0] != 0 || p[63] != 0) abort();
        memset(p, 0xee, 64);
      }
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&t, &attr, run, nullptr), 0);
  }
  for (const pthread_t t : threads) pthread_join(t, nullptr);
  pthread_attr_destroy(&attr);
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  EXPECT_GE(cycles(), before + 10);
  EXPECT_GT(alarms.load(), 0u);
}

}  // namespace
}  // namespace tri::gc

#endif
