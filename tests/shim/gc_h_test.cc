// gc_h_test.cc - Tests of tri/gc.h by a program that links the library.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "../gc/stack_support.h"

namespace {

uintptr_t hidden(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }

using tri::gc::test::apart;
using tri::gc::test::forgotten;
using tri::gc::test::overwrite_stack;

[[gnu::noinline]] int collect() {
  overwrite_stack();
  const int error = tri_gc();
  asm volatile("" ::: "memory");
  return error;
}
struct tri_gc_stats get_stats() {
  struct tri_gc_stats s;
  EXPECT_EQ(tri_gc_stats_get(&s, sizeof s), 0);
  return s;
}
size_t process_threads() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "Threads:" && status >> word) return std::stoul(word);
  }
  return 0;
}

tri_task go(void (*fn)(void*)) {
  tri_task task;
  EXPECT_EQ(tri_spawn(&task, fn, nullptr, nullptr), 0);
  return task;
}

std::atomic<int> ran{0};
void count(void*) { ++ran; }

TEST(GcH, BlocksServeEveryFunctionOfTheAllocator) {
  auto* p = static_cast<char*>(tri_alloc(100, TRI_GC));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(tri_size(p), 112U);
  EXPECT_EQ(tri_base(p + 50), p);
  EXPECT_TRUE(tri_owns(p + 50));
  p = static_cast<char*>(tri_realloc(p, 5000, 0));
  ASSERT_NE(p, nullptr);
  tri_free(p);
  p = static_cast<char*>(tri_alloc(100, TRI_GC | TRI_NOSCAN | TRI_ALIGN(4096) | TRI_ZERO));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 4096, 0U);
  tri_free_sized(p, 4096);
  const struct tri_block b = tri_alloc_at_least(70, TRI_GC);
  EXPECT_EQ(b.size, 80U);
  void* all[] = {b.ptr, nullptr};
  tri_free_batch(all, 2);
  errno = 0;
  EXPECT_EQ(tri_alloc(SIZE_MAX / 2, TRI_GC), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(GcH, WithoutACollectedBlockThereIsNothing) {
  EXPECT_EQ(get_stats().cycles, 0U);
  EXPECT_EQ(process_threads(), 1U);
  for (int s = SIGRTMIN; s <= SIGRTMAX; ++s) {
    struct sigaction action;
    ASSERT_EQ(sigaction(s, nullptr, &action), 0);
    EXPECT_EQ(action.sa_handler, SIG_DFL);
  }
}

TEST(GcH, AListThatGrowsAndIsDroppedTakesNoMoreThanItself) {
  struct Node {
    Node* next;
    char data[56];
  };
  uint64_t peak = 0;
  for (int round = 0; round < 50; ++round) {
    forgotten([] {
      Node* list = nullptr;
      for (int i = 0; i < 20'000; ++i) {
        auto* const n = static_cast<Node*>(tri_alloc(sizeof(Node), TRI_GC));
        n->next = list;
        list = n;
      }
    });
    struct tri_stats s;
    tri_stats_get(&s, sizeof s);
    peak = s.used_bytes > peak ? s.used_bytes : peak;
  }
  EXPECT_GT(get_stats().cycles, 3U);
  EXPECT_LT(peak, 20U << 20);  // 61 MiB were allocated
}

TEST(GcH, GoroutinesKeepWhatOnlyTheyHold) {
  constexpr int kTasks = 50;
  static tri_chan* go_on;
  static std::atomic<int> ready, good;
  go_on = tri_chan_new(sizeof(int), 0);
  std::vector<tri_task> tasks;
  for (int i = 0; i < kTasks; ++i) {
    tasks.push_back(go([](void*) {
      auto** const p = static_cast<uint64_t**>(tri_alloc(64, TRI_GC));
      p[3] = static_cast<uint64_t*>(tri_alloc(200, TRI_GC | TRI_NOSCAN));
      for (int k = 0; k < 25; ++k) p[3][k] = 0x1234567 + static_cast<uint64_t>(k);
      ++ready;
      int n;
      tri_chan_recv(go_on, &n, TRI_FOREVER);
      bool same = true;
      for (int k = 0; k < 25; ++k) same = same && p[3][k] == 0x1234567 + static_cast<uint64_t>(k);
      good += same;
    }));
  }
  while (ready != kTasks) usleep(1000);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(collect(), 0);
    for (int i = 0; i < 3000; ++i) memset(tri_alloc(200, TRI_GC), 0xff, 200);
  }
  for (int i = 0; i < kTasks; ++i) tri_chan_send(go_on, &i, TRI_FOREVER);
  for (const tri_task t : tasks) tri_join(t, TRI_FOREVER);
  EXPECT_EQ(good, kTasks);
}

TEST(GcH, GoroutinesMayCollect) {
  static std::atomic<int> errors;
  std::vector<tri_task> tasks;
  for (int i = 0; i < 8; ++i) {
    tasks.push_back(go([](void*) {
      for (int k = 0; k < 10; ++k) {
        for (int n = 0; n < 3000; ++n) errors += tri_alloc(100, TRI_GC) == nullptr;
        errors += tri_gc() != 0;
      }
    }));
  }
  for (const tri_task t : tasks) tri_join(t, TRI_FOREVER);
  EXPECT_EQ(errors, 0);
}

TEST(GcH, ACleanupRunsOnItsOwnThread) {
  static std::thread::id other;
  forgotten([] {
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(tri_gc_add_cleanup(
                    tri_alloc(100, TRI_GC),
                    [](void*) {
                      other = std::this_thread::get_id();
                      ++ran;
                    },
                    nullptr),
                0);
    }
  });
  ASSERT_EQ(collect(), 0);
  for (int i = 0; ran < 9 && i < 5000; ++i) usleep(1000);
  EXPECT_GE(ran, 9);
  EXPECT_NE(other, std::this_thread::get_id());
  int local = 0;
  EXPECT_EQ(tri_gc_add_cleanup(&local, count, nullptr), -EINVAL);
}

TEST(GcH, WeakReferencesPinsAndHiddenBlocks) {
  static uintptr_t h;
  static tri_weak* w;
  forgotten([] {
    void* const p = tri_alloc(100, TRI_GC);
    h = hidden(p);
    w = tri_weak_new(p);
    ASSERT_EQ(tri_gc_pin(p), 0);
  });
  ASSERT_EQ(collect(), 0);
  forgotten([] {
    EXPECT_EQ(hidden(tri_weak_get(w)), h);
    EXPECT_EQ(tri_gc_unpin(tri_weak_get(w)), 0);
  });
  ASSERT_EQ(collect(), 0);
  EXPECT_EQ(tri_weak_get(w), nullptr);
  tri_weak_free(w);
  tri_weak_free(nullptr);
  errno = 0;
  EXPECT_EQ(tri_weak_new(&h), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(GcH, WritesThroughTheBarrierAreWrites) {
  auto** const p = static_cast<void**>(tri_alloc(64, TRI_GC));
  for (size_t i = 0; i < 8; ++i) tri_gc_write(&p[i], p + i);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(p[i], p + i);
}

TEST(GcH, DisableAndEnableNest) {
  ASSERT_NE(tri_alloc(10, TRI_GC), nullptr);
  tri_gc_disable();
  tri_gc_disable();
  EXPECT_EQ(tri_gc(), -EAGAIN);
  for (int i = 0; i < 300'000; ++i) ASSERT_NE(tri_alloc(64, TRI_GC), nullptr);
  EXPECT_EQ(get_stats().cycles, 0U);
  EXPECT_EQ(tri_gc_enable(), 0);
  EXPECT_EQ(tri_gc_enable(), 0);
  EXPECT_EQ(tri_gc_enable(), -EINVAL);
  EXPECT_EQ(tri_gc(), 0);
  EXPECT_EQ(get_stats().cycles, 1U);
}

TEST(GcH, TheOptionsSay) {
  char value[16];
  EXPECT_EQ(tri_get("gc", value, sizeof value), 2);
  EXPECT_STREQ(value, "on");
  EXPECT_EQ(tri_set("gc", "off"), 0);
  for (int i = 0; i < 300'000; ++i) ASSERT_NE(tri_alloc(64, TRI_GC), nullptr);
  EXPECT_EQ(get_stats().cycles, 0U);
  EXPECT_EQ(tri_set("gc", "200"), 0);
  EXPECT_EQ(tri_get("gc", value, sizeof value), 3);
  EXPECT_STREQ(value, "200");
  EXPECT_EQ(tri_set("gc", "0"), -EINVAL);
  EXPECT_EQ(tri_set("gc", "sometimes"), -EINVAL);
  EXPECT_EQ(tri_set("trace", "gc"), 0);
  EXPECT_EQ(tri_get("trace", value, sizeof value), 2);
  EXPECT_EQ(tri_set("trace", "all"), 0);
  EXPECT_EQ(tri_set("trace", "off"), 0);
  struct tri_gc_stats s;
  EXPECT_EQ(tri_gc_stats_get(nullptr, sizeof s), -EINVAL);
  EXPECT_EQ(tri_gc_stats_get(&s, 0), -EINVAL);
}

TEST(GcH, TheTraceHasALineForEachCycle) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int saved = dup(2);
  dup2(ends[1], 2);
  EXPECT_EQ(tri_set("trace", "gc"), 0);
  ASSERT_NE(tri_alloc(10, TRI_GC), nullptr);
  const int error = tri_gc();
  tri_set("trace", "off");
  dup2(saved, 2);
  EXPECT_EQ(error, 0);
  char text[1000] = "";
  ASSERT_GT(read(ends[0], text, sizeof text - 1), 0);
  EXPECT_TRUE(std::regex_match(
      std::string(text),
      std::regex(
          "tri gc 1 @[0-9.]+s asked: [0-9.]+\\+[0-9.]+\\+[0-9.]+ ms, sweep [0-9.]+ ms, .*->.* in .* blocks, goal "
          ".*, [0-9]+ markers?(, [0-9]+ rounds)?\n")))
      << text;
}

TEST(GcH, AThreadThatBlocksAllSignalsKeepsEverythingUntilItIsGone) {
  static std::atomic<bool> blocked, leave;
  std::thread deaf([] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    blocked = true;
    while (!leave) usleep(1000);
  });
  while (!blocked) usleep(1000);
  void* const p = tri_alloc(100, TRI_GC);
  memset(p, 0x77, 100);
  EXPECT_EQ(tri_gc(), -EBUSY);
  EXPECT_EQ(get_stats().failed_cycles, 1U);
  for (int i = 0; i < 1000; ++i) memset(tri_alloc(100, TRI_GC), 0x11, 100);
  EXPECT_EQ(static_cast<char*>(p)[50], 0x77);
  leave = true;
  deaf.join();
  EXPECT_EQ(tri_gc(), 0);
  EXPECT_EQ(get_stats().cycles, 1U);
  tri_free(p);
}

struct Node {
  Node* next;
  uint64_t tag;
};
bool list_holds(const Node* list, size_t n) {
  for (size_t i = 0; i < n; ++i, list = list->next) {
    if (list == nullptr || list->tag != i) return false;
  }
  return list == nullptr;
}
Node* make_list(size_t n) {
  Node* list = nullptr;
  for (size_t i = n; i-- > 0;) {
    auto* const node = static_cast<Node*>(tri_alloc(sizeof(Node), TRI_GC));
    node->next = list;
    node->tag = i;
    list = node;
  }
  return list;
}

TEST(GcH, AForkedChildCollectsForItself) {
  static std::atomic<bool> stop;
  std::vector<std::thread> others;
  for (int t = 0; t < 2; ++t) {
    others.emplace_back([] {
      while (!stop) {
        if (!list_holds(make_list(500), 500)) abort();
      }
    });
  }
  Node* const list = make_list(5000);
  for (int i = 0; i < 100; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool good = list_holds(list, 5000);
      for (int k = 0; k < 3; ++k) {
        good = good && tri_gc() == 0;
        good = good && list_holds(make_list(3000), 3000) && list_holds(list, 5000);
      }
      _exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 0) << i;
  }
  stop = true;
  for (std::thread& t : others) t.join();
  EXPECT_TRUE(list_holds(list, 5000));
}

}  // namespace
