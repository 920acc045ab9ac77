// thread_test.cc - Threads come and go: their memory is not lost, their end may allocate, their number is no limit.
#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/api.h"
#include "support/memory.h"
#include "support/process.h"

namespace tri_test {
namespace {

void use_all_sizes() {
  for (size_t n : interesting_sizes()) {
    if (n > 300000) break;
    auto* p = static_cast<char*>(malloc(n + 1));
    p[0] = p[n] = 1;
    free(p);
  }
}

TEST(Thread, TenThousandShortThreadsLeaveNothingBehind) {
  auto batch = [](int count) {
    for (int i = 0; i < count; i += 4) {
      std::thread threads[4];
      for (auto& t : threads) t = std::thread(use_all_sizes);
      for (auto& t : threads) t.join();
    }
  };
  batch(1000);
  long before = rss_kib();
  batch(10000);
  long growth = rss_kib() - before;
  printf("growth %ld KiB\n", growth);
  EXPECT_LT(growth, 4 * 1024);
}

TEST(Thread, ShortThreadsThatLeaveTheirBlocksToOthersLeaveNothingBehind) {
  // Each thread's blocks outlive it and are freed by the next one.
  std::vector<void*> left;
  auto batch = [&](int count) {
    for (int i = 0; i < count; ++i) {
      std::thread([&] {
        for (void* p : left) free(p);
        left.clear();
        for (int k = 0; k < 100; ++k) left.push_back(malloc(static_cast<size_t>(k) * 20));
      }).join();
    }
  };
  batch(300);
  long before = rss_kib();
  batch(3000);
  long growth = rss_kib() - before;
  printf("growth %ld KiB\n", growth);
  EXPECT_LT(growth, 4 * 1024);
  for (void* p : left) free(p);
}

TEST(Thread, MemoryOfADeadThreadIsUsedByTheLiving) {
  auto dead_threads_memory = [] {
    std::thread([] {
      std::vector<void*> blocks;
      for (int i = 0; i < 40000; ++i) {
        blocks.push_back(malloc(1000));
        memset(blocks.back(), 1, 1000);
      }
      for (void* p : blocks) free(p);
    }).join();
  };
  dead_threads_memory();
  long before = rss_kib();
  for (int i = 0; i < 10; ++i) dead_threads_memory();
  EXPECT_LT(rss_kib() - before, 10 * 1024) << "each of ten threads used 40 MB in turn";
}

// --- the end of a thread -----------------------------------------------------------------------------------------

pthread_key_t g_key;
std::atomic<int> g_rounds{0};

void allocate_at_the_end(void* value) {
  // glibc calls destructors in up to four rounds as long as values reappear; ours may come before or after.
  auto round = reinterpret_cast<uintptr_t>(value);
  void* blocks[50];
  for (size_t i = 0; i < 50; ++i) {
    blocks[i] = malloc(i * 30);
    fill(blocks[i], i * 30, i);
  }
  for (size_t i = 0; i < 50; ++i) {
    if (!holds(blocks[i], i * 30, i)) abort();
    free(blocks[i]);
  }
  ++g_rounds;
  if (round < PTHREAD_DESTRUCTOR_ITERATIONS)
    pthread_setspecific(g_key, reinterpret_cast<void*>(round + 1));
}

TEST(Thread, DestructorsOfThreadKeysAllocateInEveryRound) {
  ASSERT_EQ(pthread_key_create(&g_key, allocate_at_the_end), 0);
  long before = 0;
  for (int i = 0; i < 2000; ++i) {
    std::thread([] {
      pthread_setspecific(g_key, reinterpret_cast<void*>(1));
      use_all_sizes();
    }).join();
    if (i == 200) before = rss_kib();
  }
  EXPECT_EQ(g_rounds, 2000 * PTHREAD_DESTRUCTOR_ITERATIONS);
  EXPECT_LT(rss_kib() - before, 4 * 1024)
      << "what came alive again after the thread's end was kept";
  pthread_key_delete(g_key);
}

struct Last {
  std::vector<std::string> words{1000, "a word of the thread's own"};
  ~Last() {
    for (const auto& w : words)
      if (w != "a word of the thread's own") abort();
    words.assign(3000, "allocated while the thread ends, long enough for the heap");
    free(opaque(malloc(100000)));
  }
};

TEST(Thread, DestructorsOfThreadLocalObjectsAllocate) {
  for (int i = 0; i < 500; ++i) {
    std::thread([] {
      static thread_local Last last;
      if (last.words.size() != 1000) abort();
    }).join();
  }
}

TEST(Thread, CancelledThreadsAndThreadsThatCallPthreadExitLeaveTheHeapWhole) {
  for (int i = 0; i < 300; ++i) {
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* argument) -> void* {
                    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, nullptr);
                    if (argument != nullptr) pthread_exit(malloc(100));
                    for (size_t n = 0;; ++n) {
                      free(opaque(malloc(n % 5000)));
                      pthread_testcancel();
                    }
                  },
                  i % 2 == 0 ? &g_key : nullptr),
              0);
    if (i % 2 != 0) pthread_cancel(thread);
    void* result = nullptr;
    pthread_join(thread, &result);
    if (i % 2 == 0) free(result);
  }
}

// --- many, small and poor threads --------------------------------------------------------------------------------

TEST(Thread, TwoThousandLiveThreadsNeedLittle) {
  Command base;
  base.argv = {probe("many_threads"), "2000", "idle"};
  base.preload = false;
  base.timeout_seconds = 60;
  Command busy = base;
  busy.argv[2] = "allocate";
  busy.preload = true;
  Outcome without = run(base);
  Outcome with = run(busy);
  ASSERT_TRUE(without.exited(0)) << without.describe();
  ASSERT_TRUE(with.exited(0)) << with.describe();
  long extra = atol(with.out.c_str()) - atol(without.out.c_str());
  printf("threads alone %s KiB, with the heap %ld KiB more\n", without.out.c_str(), extra);
  // A kernel page for each of 21 sizes, a buffer and the record: about 100 KiB a thread, half of what jemalloc takes here.
  EXPECT_LT(extra, 220 * 1024);
}

TEST(Thread, StacksOfSixteenKibibytesSuffice) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 16384), 0);
  for (int i = 0; i < 200; ++i) {
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, &attributes,
                  [](void*) -> void* {
                    for (size_t n : {1u, 100u, 5000u, 32768u, 100000u, 3000000u, 70000000u}) {
                      void* p = malloc(n);
                      p = realloc(p, n * 2);
                      free(p);
                      free(memalign(8192, n));
                      free(calloc(1, n));
                    }
                    malloc_trim(0);
                    return nullptr;
                  },
                  nullptr),
              0);
    pthread_join(thread, nullptr);
  }
  pthread_attr_destroy(&attributes);
}

TEST(Thread, ThreadsWorkWhenAllThreadKeysWereTakenBeforeTheLibraryCouldWantOne) {
  for (bool before : {true, false}) {
    Command command;
    command.argv = {probe("many_threads"), "400", "short"};
    (before ? command.preload_before : command.preload_after) = probe("libkeys.so");
    Outcome o = run(command);
    ASSERT_TRUE(o.exited(0)) << o.describe();
    EXPECT_NE(o.out.find("keys taken"), std::string::npos) << o.describe();
  }
}

}  // namespace
}  // namespace tri_test
