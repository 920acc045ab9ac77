// leaks_h_test.cc - Tests of tri/leaks.h by a program that links the library; and of what goroutines hold.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tri.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace {

// Addresses are noted upside down: not as pointers.
uintptr_t hidden(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[12 * 1024];
  for (volatile char& c : space) c = 0;
}

template <class Fn>
[[gnu::noinline]] void apart(Fn&& fn) {
  fn();
}

[[gnu::noinline]] size_t search(uintptr_t h) {
  struct Search {
    uintptr_t hidden;
    size_t bytes;
  } search{h, 0};
  EXPECT_EQ(tri_leaks(
                [](const struct tri_leak* leak, void* arg) {
                  auto* const s = static_cast<Search*>(arg);
                  if (hidden(leak->block) == s->hidden) s->bytes = leak->bytes;
                  return 0;
                },
                &search),
            0);
  return search.bytes;
}
/// The usable size of the leak; 0: it is none. The frame of the search lies where the stack was overwritten: what it does not use of it
/// would else keep words of calls before.
[[gnu::noinline]] size_t lost_bytes(uintptr_t h) {
  overwrite_stack();
  const size_t bytes = search(h);
  asm volatile("" ::: "memory");  // no tail call
  return bytes;
}
bool is_lost(uintptr_t h) { return lost_bytes(h) != 0; }

uintptr_t make_lost(size_t n) {
  uintptr_t h = 0;
  apart([&] { h = hidden(calloc(1, n)); });
  return h;
}

TEST(LeaksH, TellsOfEachUntilTheCallerHasEnough) {
  const uintptr_t a = make_lost(100);
  const uintptr_t b = make_lost(3000);
  EXPECT_EQ(lost_bytes(a), 112U);
  EXPECT_GE(lost_bytes(b), 3000U);
  int calls = 0;
  EXPECT_EQ(tri_leaks(
                [](const struct tri_leak*, void* n) {
                  ++*static_cast<int*>(n);
                  return 42;
                },
                &calls),
            42);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(tri_leaks(nullptr, nullptr), -EINVAL);
}

TEST(LeaksH, TheCallerMayFreeWhatItIsToldOf) {
  for (int i = 0; i < 100; ++i) (void)make_lost(200);
  overwrite_stack();
  const auto release = [](const struct tri_leak* leak, void* n) {
    free(const_cast<void*>(leak->block));
    ++*static_cast<int*>(n);
    return 0;
  };
  int first = 0;
  int second = 0;
  ASSERT_EQ(tri_leaks(release, &first), 0);
  EXPECT_GE(first, 99);
  ASSERT_EQ(tri_leaks(release, &second), 0);
  EXPECT_LE(second, 1);
}

TEST(LeaksH, RegisteredMemoryIsLookedAt) {
  static void** place;
  apart([] { place = static_cast<void**>(calloc(1, 3000)); });
  static uintptr_t h, p;
  p = hidden(place);
  apart([] { h = hidden(place[3] = calloc(1, 3000)); });
  ASSERT_EQ(tri_roots_add(place, 3000), 0);
  place = nullptr;
  EXPECT_FALSE(is_lost(h));
  apart([] {
    EXPECT_EQ(tri_roots_remove(reinterpret_cast<void*>(~p)), 0);
    EXPECT_EQ(tri_roots_remove(reinterpret_cast<void*>(~p)), -EINVAL);
  });
  EXPECT_TRUE(is_lost(p));
  EXPECT_EQ(tri_roots_add(nullptr, 64), -EINVAL);
}

TEST(LeaksH, NeedsDescriptorsAndSaysSo) {
  const uintptr_t h = make_lost(100);
  std::vector<int> all;
  for (int fd; (fd = dup(0)) >= 0;) all.push_back(fd);
  ASSERT_EQ(errno, EMFILE);
  const auto look = [] { return tri_leaks([](const struct tri_leak*, void*) { return 1; }, nullptr); };
  for (int free = 0; free < 2; ++free) {
    EXPECT_EQ(look(), -EMFILE) << free;
    close(all.back());
    all.pop_back();
  }
  EXPECT_EQ(look(), 1);
  for (const int fd : all) close(fd);
  EXPECT_TRUE(is_lost(h));
}

struct Link {
  Link* next;
  char rest[1200];
};
Link* volatile why_root;
thread_local Link* volatile why_local;

std::string why(const void* p, int* result) {
  char text[10'000];
  const int fd = memfd_create("why", 0);
  *result = tri_why(fd, p);
  const ssize_t n = pread(fd, text, sizeof text, 0);
  close(fd);
  return std::string(text, n > 0 ? static_cast<size_t>(n) : 0);
}

/// A chain of n blocks; its last to *h, noted upside down.
[[gnu::noinline]] Link* make_chain(int n, uintptr_t* h) {
  Link* first = nullptr;
  for (int i = 0; i < n; ++i) {
    auto* const l = static_cast<Link*>(calloc(1, sizeof(Link)));
    if (i == 0) *h = hidden(l);
    l->next = first;
    first = l;
  }
  return first;
}

TEST(Why, TellsTheChainFromAGlobal) {
  static uintptr_t h;
  int n = 0;
  apart([] { why_root = make_chain(3, &h); });
  overwrite_stack();
  const std::string text = why(reinterpret_cast<void*>(~h + 40), &n);
  EXPECT_EQ(n, 3) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex(R"(^tri: why 0x[0-9a-f]+: 3 references lead to it in .*\n)"
                                                 R"(  the data of shim_leaks_h_test.*, at 0x[0-9a-f]+\n)"
                                                 R"(  -> 0x[0-9a-f]+ \(1\.2 KiB\), its byte 0\n)"
                                                 R"(  -> 0x[0-9a-f]+ \(1\.2 KiB\), its byte 0\n)"
                                                 R"(  -> 0x[0-9a-f]+ \(1\.2 KiB\), its byte 40\n$)")))
      << text;
  // The shortest of two ways.
  [[maybe_unused]] static Link* volatile shortcut;
  shortcut = reinterpret_cast<Link*>(~h);
  (void)why(reinterpret_cast<void*>(~h), &n);
  EXPECT_EQ(n, 1);
  shortcut = nullptr;
  why_root = nullptr;
}

TEST(Why, AChainOfManyIsCutInTheMiddle) {
  static uintptr_t h;
  int n = 0;
  apart([] { why_root = make_chain(1000, &h); });
  overwrite_stack();
  const std::string text = why(reinterpret_cast<void*>(~h), &n);
  EXPECT_EQ(n, 1000);
  EXPECT_NE(text.find("\n  -> ... 936 more\n"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2 + 64 + 1);
  why_root = nullptr;
}

TEST(Why, NamesThreadLocalStorageAndStacksOfThreads) {
  static uintptr_t h;
  static std::atomic<int> step;
  step = 0;
  int n = 0;
  std::thread other([] {
    apart([] { why_local = make_chain(2, &h); });
    overwrite_stack();
    step = 1;
    while (step == 1) usleep(1000);
    why_local = nullptr;
    [[maybe_unused]] Link* volatile on_stack = make_chain(2, &h);
    overwrite_stack();
    step = 3;
    while (step == 3) usleep(1000);
    on_stack = nullptr;
  });
  const auto wait_for = [](int s) {
    while (step != s) usleep(1000);
  };
  wait_for(1);
  std::string text = why(reinterpret_cast<void*>(~h), &n);
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  (a register|thread-local storage|the stack) of thread \\d+, at 0x")))
      << text;
  EXPECT_EQ(n, 2);
  step = 2;
  wait_for(3);
  text = why(reinterpret_cast<void*>(~h), &n);
  EXPECT_TRUE(std::regex_search(text, std::regex("\n  (a register|the stack) of thread \\d+, at 0x"))) << text;
  EXPECT_EQ(n, 2);
  step = 4;
  other.join();
}

TEST(Why, SaysThatNothingReachesItOrThatItIsNoBlock) {
  static uintptr_t h;
  int n = -1;
  apart([] { h = hidden(calloc(1, 1777)); });
  overwrite_stack();
  const std::string text = why(reinterpret_cast<void*>(~h), &n);
  // Unless the caller's own frames hold it.
  EXPECT_TRUE(n == 0 || text.find("the stack of the thread that asks") != std::string::npos) << text;
  EXPECT_EQ(tri_why(1, nullptr), -EINVAL);
  EXPECT_EQ(tri_why(1, &n), -EINVAL);
  apart([] {
    void* const p = calloc(1, 1777);
    const auto address = reinterpret_cast<uintptr_t>(p);
    free(p);
    EXPECT_EQ(tri_why(1, reinterpret_cast<void*>(address)), -EINVAL);
  });
}

TEST(LeaksH, AForkedChildLooksByItself) {
  // Whatever the parent's other thread was about just then.
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) EXPECT_GE(tri_leaks([](const struct tri_leak*, void*) { return 1; }, nullptr), 0);
  });
  for (int i = 0; i < 300; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      _exit(tri_leaks([](const struct tri_leak*, void*) { return 1; }, nullptr) >= 0 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << i;
  }
  stop = true;
  other.join();
}

TEST(LeaksH, ReportsAreTextOrJson) {
  const auto report = [](const char* what) {
    char text[100'000];
    const int fd = memfd_create("report", 0);
    EXPECT_EQ(tri_report(fd, what), 0);
    const ssize_t n = pread(fd, text, sizeof text, 0);
    close(fd);
    return std::string(text, n > 0 ? static_cast<size_t>(n) : 0);
  };
  (void)make_lost(3000);
  overwrite_stack();
  EXPECT_TRUE(
      std::regex_search(report("leaks"), std::regex("^tri: leaks: nothing reaches 1 block \\(3\\.0 KiB\\) of \\d+ ")));
  const std::string json = report("leaks-json");
  EXPECT_TRUE(std::regex_search(
      json,
      std::regex(
          R"(^\{"program":"shim_leaks_h_te\w*","pid":\d+,"in_use":\{"blocks":\d+,"bytes":\d+\},)"
          R"("direct":\{"blocks":1,"bytes":3072\},"indirect":\{"blocks":0,"bytes":0\},"suppressed":\{"blocks":0,"bytes":0\},"unstopped_threads":0,"leaks":\[\n)"
          R"(\{"address":"0x[0-9a-f]+","bytes":3072,"indirect_blocks":0,"indirect_bytes":0\}\],"sites":\[\],"goroutines":\[\]\}\n$)")))
      << json;
}

// ---- what the scheduler holds

struct Held {
  std::atomic<uintptr_t> hidden{0};
  std::atomic<bool> over{false};
  tri_chan* gate = nullptr;
};
Held held;

/// Runs fn in a goroutine, which notes a block in `held` and keeps it; then it is not lost, and afterwards it is.
void held_by_goroutine(void (*fn)(void*), int procs) {
  tri_procs(procs);
  held.hidden = 0;
  held.over = false;
  held.gate = tri_chan_new(0, 0);
  tri_task task = 0;
  struct tri_attr attr = {};
  attr.size = sizeof attr;
  ASSERT_EQ(tri_spawn(&task, fn, nullptr, &attr), 0);
  while (held.hidden == 0) usleep(1000);
  usleep(20'000);  // it waits, or was preempted
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(is_lost(held.hidden));
  held.over = true;
  tri_chan_close(held.gate);
  ASSERT_EQ(tri_join(task, TRI_FOREVER), 0);
  EXPECT_TRUE(is_lost(held.hidden));
  tri_chan_unref(held.gate);
}

TEST(LeaksOfGoroutines, TheStackOfOneThatWaits) {
  held_by_goroutine(
      [](void*) {
        void* volatile kept = calloc(1, 200);
        held.hidden = hidden(kept);
        (void)tri_chan_recv(held.gate, nullptr, TRI_FOREVER);
        kept = nullptr;
        overwrite_stack();
      },
      2);
}

TEST(LeaksOfGoroutines, TheStackOfOneThatComputes) {
  for (const int procs : {1, 2}) {
    held_by_goroutine(
        [](void*) {
          void* volatile kept = calloc(1, 200);
          held.hidden = hidden(kept);
          while (!held.over) {
          }
          kept = nullptr;
          overwrite_stack();
        },
        procs);
  }
}

TEST(LeaksOfGoroutines, TheStackOfOneInABlockingCall) {
  held_by_goroutine(
      [](void*) {
        void* volatile kept = calloc(1, 200);
        held.hidden = hidden(kept);
        tri_blocking(
            [](void*) {
              while (!held.over) usleep(1000);
            },
            nullptr);
        kept = nullptr;
        overwrite_stack();
      },
      2);
}

TEST(LeaksOfGoroutines, TheSchedulersOwnThreadsAreNotMissed) {
  tri_procs(2);
  EXPECT_EQ(tri_main([](void*) { tri_sleep(TRI_MS(50)); }, nullptr), 0);  // what watches them is there now
  const int fd = memfd_create("report", 0);
  ASSERT_EQ(tri_report(fd, "leaks-json"), 0);
  char text[2000] = {};
  EXPECT_GT(pread(fd, text, sizeof text - 1, 0), 0);
  close(fd);
  EXPECT_NE(strstr(text, "\"unstopped_threads\":0"), nullptr) << text;
}

TEST(LeaksOfGoroutines, WhatOneWillGetWhenItBegins) {
  // One processor, and somebody has it: the argument stands in the record alone.
  tri_procs(1);
  EXPECT_EQ(tri_main(
                [](void*) {
                  static uintptr_t h;
                  tri_task task = 0;
                  struct tri_attr attr = {};
                  attr.size = sizeof attr;
                  apart([&] {
                    void* const p = calloc(1, 300);
                    h = hidden(p);
                    (void)tri_spawn(
                        &task, [](void* arg) { free(arg); }, p, &attr);
                  });
                  EXPECT_FALSE(is_lost(h));
                  (void)tri_join(task, TRI_FOREVER);
                },
                nullptr),
            0);
}

TEST(LeaksOfGoroutines, ElementsOfChannelsLocalsAndContextsValues) {
  static tri_chan* chan;
  static uintptr_t in_chan, in_local;
  chan = tri_chan_new(sizeof(void*), 4);
  EXPECT_EQ(tri_main(
                [](void*) {
                  apart([] {
                    void* p = calloc(1, 300);
                    in_chan = hidden(p);
                    (void)tri_chan_send(chan, &p, TRI_FOREVER);
                    p = calloc(1, 300);
                    in_local = hidden(p);
                    (void)tri_local_set(2, p);
                  });
                  EXPECT_FALSE(is_lost(in_chan));
                  EXPECT_FALSE(is_lost(in_local));
                },
                nullptr),
            0);
  EXPECT_FALSE(is_lost(in_chan));
  EXPECT_TRUE(is_lost(in_local));
  tri_chan_unref(chan);
  chan = nullptr;
  EXPECT_TRUE(is_lost(in_chan));
}

TEST(LeaksOfGoroutines, TimersThatNothingElseNames) {
  static uintptr_t h, argument;
  static std::atomic<bool> fired;
  EXPECT_EQ(tri_main(
                [](void*) {
                  apart([] {
                    auto* const t = static_cast<struct tri_timer*>(calloc(1, sizeof(struct tri_timer)));
                    h = hidden(t);
                    void* const arg = calloc(1, 500);
                    argument = hidden(arg);
                    (void)tri_timer_start(
                        t, tri_after(TRI_MS(800)), 0, [](void*) { fired = true; }, arg);
                  });
                  EXPECT_FALSE(is_lost(h));
                  EXPECT_FALSE(is_lost(argument));
                  while (!fired) tri_sleep(TRI_MS(10));
                },
                nullptr),
            0);
}

TEST(LeaksOfGoroutines, FoundByGoroutinesWhileOthersRun) {
  tri_procs(2);
  static constexpr int kLooks = 30;
  static std::atomic<bool> stop;
  stop = false;
  static int found;
  found = 0;
  EXPECT_EQ(tri_main(
                [](void*) {
                  tri_wg wg = {};
                  for (int i = 0; i < 8; ++i) {
                    tri_wg_add(&wg, 1);
                    (void)tri_go(
                        [](void* arg) {
                          for (unsigned n = 0; !stop; ++n) {
                            void* volatile p = malloc(16 << (n % 10));
                            if (n % 64 == 0) tri_yield();
                            free(p);
                          }
                          tri_wg_done(static_cast<tri_wg*>(arg));
                        },
                        &wg);
                  }
                  // What was interrupted at the wrong moment left its registers where they are still seen: now and then one is hidden.
                  for (int i = 0; i < kLooks; ++i) found += is_lost(make_lost(777));
                  stop = true;
                  (void)tri_wg_wait(&wg, TRI_FOREVER);
                },
                nullptr),
            0);
  EXPECT_GE(found, kLooks / 2);
}

}  // namespace
