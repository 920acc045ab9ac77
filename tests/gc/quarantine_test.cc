// quarantine_test.cc - A block that something points to is not handed out again, wherever the pointer is kept; once it is gone, the block is.
#include "gc/quarantine.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "alloc/held.h"
#include "alloc/malloc.h"
#include "gc/roots.h"
#include "tests/alloc/support.h"

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc: nobody stops.

namespace tri::gc {
namespace {

using test::is_zero;

// Pointers are noted upside down where the test itself looks for the block later.
uintptr_t hidden(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }
/// Out of line, or the pointer would be in a register while somebody looks.
[[gnu::noinline]] bool is_held(uintptr_t hidden_block) {
  asm volatile("" : "+r"(hidden_block));
  return held::is_held(reinterpret_cast<void*>(~hidden_block));
}

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[16 * 1024];
  for (volatile char& c : space) c = 0;
}

[[gnu::noinline]] int look_below() {
  const int error = quarantine::look();
  asm volatile("" ::: "memory");  // no tail call
  return error;
}
/// The frame of the look lies where the stack was overwritten: what it does not use of it would else keep words of calls before.
[[gnu::always_inline]] inline int look() {
  overwrite_stack();
  return look_below();
}

class Quarantine : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(held::switch_on());
    held::set_trigger(SIZE_MAX);  // looks come when the test asks for them
  }
};

/// Allocates n bytes, has keep(p) store the pointer, frees the block; where no later call leaves its variables.
template <class Keep>
[[gnu::noinline]] uintptr_t free_kept(size_t n, Keep&& keep) {
  auto* const p = static_cast<char*>(allocate(n));
  memset(p, 'x', n);
  keep(p);
  deallocate(p);
  return hidden(p);
}

/// Sanitizers keep words of their own that look like the pointer: blocks may be held for longer in their builds.
[[gnu::always_inline]] inline void expect_gone(uintptr_t hidden_block) {
  ASSERT_EQ(look(), 0);
  EXPECT_TRUE(!is_held(hidden_block) || TRI_TEST_SANITIZED);
}
[[gnu::always_inline]] inline void expect_kept(uintptr_t hidden_block) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(look(), 0);
    ASSERT_TRUE(is_held(hidden_block));
  }
}

char* volatile in_data = reinterpret_cast<char*>(1);  // volatile, all of them: nobody reads them but the looks
char* volatile in_bss;
thread_local char* volatile in_tls;

constexpr size_t kSizes[] = {16, 48, 1000, 20'000, 50'000, 300'000};

TEST_F(Quarantine, PointersInStaticMemoryAreSeen) {
  for (size_t n : kSizes) {
    for (char* volatile* place : {&in_data, &in_bss}) {
      const uintptr_t p = free_kept(n, [&](char* block) { *place = block; });
      expect_kept(p);
      *place = nullptr;
      expect_gone(p);
    }
  }
}

TEST_F(Quarantine, PointersIntoHugeBlocksAreSeen) {
  // Its addresses were others' mappings before, to which stale words may point: when it goes is left to chance.
  const uintptr_t p = free_kept(17'000'000, [](char* block) { in_bss = block + 9'000'000; });
  expect_kept(p);
  in_bss = nullptr;
}

TEST_F(Quarantine, PointersIntoTheMiddleAreSeen) {
  for (size_t n : kSizes) {
    const uintptr_t p = free_kept(n, [&](char* block) { in_bss = block + n - 1; });
    expect_kept(p);
    in_bss = nullptr;
    expect_gone(p);
  }
}

TEST_F(Quarantine, PointersInThreadLocalStorageAreSeen) {
  const uintptr_t p = free_kept(64, [](char* block) { in_tls = block; });
  expect_kept(p);
  in_tls = nullptr;
  expect_gone(p);
}

TEST_F(Quarantine, PointersOnTheStackAreSeen) {
  char* volatile on_stack = nullptr;
  const uintptr_t p = free_kept(64, [&](char* block) { on_stack = block; });
  expect_kept(p);
  on_stack = nullptr;
  expect_gone(p);
}

TEST_F(Quarantine, PointersInBlocksAreSeen) {
  for (size_t n : {size_t{32}, size_t{3000}, size_t{100'000}, size_t{900'000}, size_t{18'000'000}}) {
    auto** const holder = static_cast<char**>(allocate_zeroed(n));
    const size_t last = n / sizeof(char*) - 1;
    const uintptr_t p = free_kept(64, [&](char* block) { holder[last] = block; });
    expect_kept(p);
    holder[last] = nullptr;
    expect_gone(p);
    deallocate(holder);
  }
}

TEST_F(Quarantine, PointersInMappingsAreSeen) {
  for (int flags : {MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS}) {
    auto** const memory = static_cast<char**>(mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0));
    ASSERT_NE(memory, MAP_FAILED);
    const uintptr_t p = free_kept(64, [&](char* block) { memory[5000] = block; });
    expect_kept(p);
    munmap(memory, 1 << 20);
    expect_gone(p);
  }
}

TEST_F(Quarantine, PointersOfOtherThreadsAreSeen) {
  uintptr_t on_stack = 0;
  uintptr_t in_register = 0;
  std::atomic<int> step{0};
  std::thread other([&] {
    [&]() __attribute__((noinline)) {
      char* volatile mine = nullptr;
      on_stack = free_kept(64, [&](char* block) { mine = block; });
      step = 1;
      while (step != 2) usleep(100);
      mine = nullptr;
    }
    ();
    overwrite_stack();
    in_register = free_kept(80, [](char*) {});
    overwrite_stack();
    [&]() __attribute__((noinline)) {
      uintptr_t r = ~in_register;
      step = 3;
      while (step.load(std::memory_order_relaxed) != 4) asm volatile("" : "+r"(r));
      asm volatile("" : : "r"(r));
    }
    ();
    overwrite_stack();
    step = 5;
    while (step != 6) usleep(100);
  });
  while (step != 1) usleep(100);
  expect_kept(on_stack);
  step = 2;
  while (step != 3) usleep(100);
  expect_kept(in_register);
  step = 4;
  while (step != 5) usleep(100);
  expect_gone(on_stack);
  expect_gone(in_register);
  step = 6;
  other.join();
}

TEST_F(Quarantine, HeldBlocksDoNotKeepEachOther) {
  static uintptr_t ring[3];
  [&]() __attribute__((noinline)) {
    void** blocks[3];
    for (auto& b : blocks) b = static_cast<void**>(allocate(64));
    for (int i = 0; i < 3; ++i) blocks[i][0] = blocks[i][3] = blocks[(i + 1) % 3];
    for (int i = 0; i < 3; ++i) ring[i] = hidden(blocks[i]);
    for (auto& b : blocks) deallocate(b);
  }
  ();
  for (uintptr_t p : ring) expect_gone(p);
}

TEST_F(Quarantine, WhatALargeHeldBlockPointsToIsKeptAsLongAsItIs) {
  static uintptr_t chain[4];
  // Large ones keep their contents. Each points to the next, and to itself, the last to a small one.
  [&]() __attribute__((noinline)) {
    void** next = static_cast<void**>(allocate(64));
    chain[3] = hidden(next);
    void** blocks[4] = {next};
    for (int i = 2; i >= 0; --i) {
      auto** const b = static_cast<void**>(allocate_zeroed(40'000 + static_cast<size_t>(i) * 30'000));
      b[4000] = next;
      b[4001] = b;
      chain[i] = hidden(b);
      blocks[3 - i] = next = b;
    }
    in_bss = reinterpret_cast<char*>(next);
    for (auto& b : blocks) deallocate(std::exchange(b, nullptr));
  }
  ();
  for (uintptr_t p : chain) expect_kept(p);
  in_bss = nullptr;
  for (uintptr_t p : chain) expect_gone(p);
}

TEST_F(Quarantine, WhatIsWrittenToAHeldBlockHarmsNobody) {
  const uintptr_t p = free_kept(64, [](char* block) { in_bss = block; });
  EXPECT_TRUE(is_zero(in_bss, 64));
  memset(in_bss, 0xff, 64);
  expect_kept(p);
  std::vector<void*> others;
  for (int i = 0; i < 1000; ++i) others.push_back(allocate(64));
  for (void* o : others) EXPECT_NE(o, in_bss);
  for (void* o : others) deallocate(o);
  memset(in_bss, 0xff, 64);
  in_bss = nullptr;
  expect_gone(p);
}

TEST_F(Quarantine, PagesThatTheProgramProtectsAreNotRead) {
  auto* const block = static_cast<char*>(allocate_aligned(64 * 1024, 4096));
  memset(block, 1, 64 * 1024);
  ASSERT_EQ(mprotect(block + 8192, 4096, PROT_NONE), 0);
  char** const behind = reinterpret_cast<char**>(block + 16384);
  const uintptr_t p = free_kept(64, [&](char* b) { *behind = b; });
  expect_kept(p);
  *behind = nullptr;
  expect_gone(p);
  ASSERT_EQ(mprotect(block + 8192, 4096, PROT_READ | PROT_WRITE), 0);
  deallocate(block);
}

TEST_F(Quarantine, WithoutDescriptorsNothingIsGivenBack) {
  const uintptr_t p = free_kept(64, [](char*) {});
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  const rlimit none = {0, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const int error = look();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(error, -EMFILE);
  EXPECT_TRUE(is_held(p));
  expect_gone(p);
}

TEST_F(Quarantine, WithoutMemoryNothingIsGivenBack) {
  const uintptr_t p = free_kept(64, [](char*) {});
  int error;
  {
    const test::Faults faults(0);
    error = look();
  }
  EXPECT_EQ(error, -ENOMEM);
  EXPECT_TRUE(is_held(p));
  expect_gone(p);
}

/// A look beside the program. Where pages cannot be watched it is one stop after all, and said so.
[[gnu::noinline]] int beside_below() {
  const uint64_t failed = quarantine::totals().failed;
  const int error = quarantine::look_beside();
  EXPECT_TRUE(error == 0 || error == -EPERM || error == -ENOSYS || error == -EINVAL) << error;
  EXPECT_TRUE(error != 0 || quarantine::totals().failed == failed);
  asm volatile("" ::: "memory");
  return error;
}
[[gnu::always_inline]] inline void look_beside() {
  overwrite_stack();
  (void)beside_below();
}

TEST_F(Quarantine, BesideTheProgramPointersAreSeenAsWell) {
  for (size_t n : kSizes) {
    auto** const holder = static_cast<char**>(allocate_zeroed(100'000));
    const uintptr_t p = free_kept(n, [&](char* block) { in_bss = block + n / 2; });
    const uintptr_t q = free_kept(n, [&](char* block) { holder[12'000] = block; });
    for (int i = 0; i < 2; ++i) {
      look_beside();
      ASSERT_TRUE(is_held(p));
      ASSERT_TRUE(is_held(q));
    }
    in_bss = nullptr;
    holder[12'000] = nullptr;
    look_beside();
    EXPECT_TRUE(!is_held(p) || TRI_TEST_SANITIZED);
    EXPECT_TRUE(!is_held(q) || TRI_TEST_SANITIZED);
    deallocate(holder);
  }
}

TEST_F(Quarantine, BesideTheProgramBlocksOfOthersGoBackToo) {
  static uintptr_t all[300];
  std::thread([] {
    for (size_t i = 0; i < 300; ++i) all[i] = free_kept(i % 3 == 0 ? 50'000 : 100, [](char*) {});
    overwrite_stack();
  }).join();
  look_beside();
  size_t left = 0;
  for (uintptr_t p : all) left += is_held(p);
  EXPECT_TRUE(left <= 3 || TRI_TEST_SANITIZED)
      << left;  // stale words of the thread's stack, which is kept for the next
}

TEST_F(Quarantine, AChildGoesOn) {
  const uintptr_t before = free_kept(64, [](char* block) { in_bss = block; });
  EXPECT_EQ(test::in_child([&] {
              CHILD_CHECK(look() == 0);
              CHILD_CHECK(is_held(before));
              in_bss = nullptr;
              CHILD_CHECK(look() == 0);
              CHILD_CHECK(!is_held(before) || TRI_TEST_SANITIZED);
              return 0;
            }),
            0);
  expect_kept(before);
  in_bss = nullptr;
}

// Blocks, each filled with its own pattern, in tables that are read and replaced by threads; beside each table one of pointers that dangle. No block that a pointer
// dangles to may be handed out, and none may change while it is in use.
TEST_F(Quarantine, NothingThatDanglesIsHandedOutWhileThreadsChangeAll) {
  static std::atomic<bool> stop;
  stop = false;
  constexpr size_t kThreads = 4;
  constexpr size_t kPlaces = 400;
  struct Table {
    char* live[kPlaces] = {};
    size_t bytes[kPlaces] = {};
    char* dangling[kPlaces] = {};
  };
  static Table tables[kThreads];
  std::thread looker([] {
    for (size_t i = 0; !stop; ++i) {
      if (i % 2 == 0) {
        ASSERT_EQ(quarantine::look(), 0);
      } else {
        (void)beside_below();
      }
      usleep(1000);
    }
  });
  test::in_threads(kThreads, [](size_t t) {
    test::Random random(t);
    Table& table = tables[t];
    for (size_t i = 0; i < test::rounds(300'000); ++i) {
      const size_t at = random.below(kPlaces);
      if (table.live[at] != nullptr) {
        ASSERT_TRUE(test::holds(table.live[at], table.bytes[at], at));
        table.dangling[random.below(kPlaces)] = table.live[at];
        deallocate(table.live[at]);
      }
      const size_t n = random.size_up_to(3000);
      char* const p = static_cast<char*>(allocate(n));
      if (i % 64 == 0) {
        for (const char* d : table.dangling) ASSERT_NE(d, p);
      }
      for (const char* d : {table.dangling[at], table.dangling[(at + 1) % kPlaces]}) ASSERT_NE(d, p);
      table.live[at] = p;
      table.bytes[at] = n;
      test::fill(p, n, at);
    }
    for (char*& p : table.live) deallocate(std::exchange(p, nullptr));
    for (char*& p : table.dangling) p = nullptr;
  });
  stop = true;
  looker.join();
}

}  // namespace
}  // namespace tri::gc

#endif
