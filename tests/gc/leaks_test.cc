// leaks_test.cc - What is lost is found, and nothing else: wherever its pointer is kept.
#include "gc/leaks.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/remote_free.h"
#include "gc/roots.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc: nobody stops.

namespace tri::gc {
namespace {

// Pointers are noted upside down, where a test looks for the block later: not as pointers.
uintptr_t hidden(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }

/// Runs fn where no later call leaves its variables: on a stack that is overwritten.
template <class Fn>
[[gnu::noinline]] void apart(Fn&& fn) {
  fn();
}
[[gnu::noinline]] void overwrite_stack() {
  volatile char space[16 * 1024];
  for (volatile char& c : space) c = 0;
}

int look(Leaks* leaks) {
  return below_program([leaks](uintptr_t sp) { return leaks->find(sp); });
}

const Leak* find(const Leaks& leaks, uintptr_t hidden_block) {
  for (const Leak& leak : leaks) {
    if (hidden(leak.block) == hidden_block) return &leak;
  }
  return nullptr;
}

/// What tests before this one have lost in this process.
struct Before {
  Before() {
    overwrite_stack();
    Leaks leaks;
    EXPECT_EQ(look(&leaks), 0);
    direct = leaks.direct_blocks();
    indirect = leaks.indirect_blocks();
    bytes = leaks.direct_bytes() + leaks.indirect_bytes();
  }
  size_t direct;
  size_t indirect;
  size_t bytes;
};

[[gnu::noinline]] bool search(uintptr_t hidden_block) {
  Leaks leaks;
  EXPECT_EQ(look(&leaks), 0);
  return find(leaks, hidden_block) != nullptr;
}
/// The frame of the search lies where the stack was overwritten: what it does not use of it would else keep words of calls before.
[[gnu::noinline]] bool is_lost(uintptr_t hidden_block) {
  overwrite_stack();
  const bool found = search(hidden_block);
  asm volatile("" ::: "memory");  // no tail call
  return found;
}

/// Sanitizers keep words of their own that look like the pointer: leaks may be hidden in their builds.
void expect_lost(uintptr_t hidden_block) { EXPECT_TRUE(is_lost(hidden_block) || TRI_TEST_SANITIZED); }

void* make(size_t n) {
  void* const p = allocate(n);
  memset(p, 0, n);
  return p;
}

TEST(Leaks, AProgramWithoutHasNone) {
  const Before before;
  static std::vector<void*> kept;
  for (size_t n = 1; n < 100'000; n += n / 3 + 1) kept.push_back(make(n));
  Leaks leaks;
  ASSERT_EQ(look(&leaks), 0);
  EXPECT_EQ(leaks.direct_blocks() - before.direct, 0U);
  EXPECT_EQ(leaks.indirect_blocks() - before.indirect, 0U);
  EXPECT_GE(leaks.blocks(), kept.size());
  for (void*& p : kept) deallocate(std::exchange(p, nullptr));
}

#if !TRI_TEST_SANITIZED  // Their own records point to blocks: a lost one may be hidden.
struct Node {
  Node* next;
  Node* other;
  char rest[48];
};
Node* make_node(Node* next = nullptr, Node* other = nullptr) {
  auto* const n = static_cast<Node*>(make(sizeof(Node)));
  n->next = next;
  n->other = other;
  return n;
}

TEST(Leaks, OfEachSizeIsFound) {
  const Before before;
  static std::vector<uintptr_t> lost;
  apart([] {
    for (size_t n : {8, 16, 24, 100, 1000, 5000, 30'000, 100'000, 1'000'000, 40'000'000}) {
      for (int i = 0; i < 3; ++i) lost.push_back(hidden(make(n)));
    }
  });
  overwrite_stack();
  Leaks leaks;
  ASSERT_EQ(look(&leaks), 0);
  size_t found = 0;
  for (const uintptr_t h : lost) found += find(leaks, h) != nullptr;
  EXPECT_EQ(found, lost.size());
  EXPECT_EQ(leaks.direct_blocks() - before.direct, lost.size());
  EXPECT_TRUE(std::is_sorted(leaks.begin(), leaks.end(), [](auto& a, auto& b) { return a.block < b.block; }));
}

TEST(Leaks, WhatHangsOnOneIsCountedWithIt) {
  const Before before;
  static uintptr_t head;
  apart([] {
    Node* list = nullptr;
    for (int i = 0; i < 100; ++i) list = make_node(list);
    head = hidden(list);
    // A circle of five, on which another hangs.
    Node* const first = make_node();
    Node* last = first;
    for (int i = 0; i < 4; ++i) last = make_node(last);
    first->next = last;
    first->other = make_node();
  });
  overwrite_stack();
  Leaks leaks;
  ASSERT_EQ(look(&leaks), 0);
  const Leak* const l = find(leaks, head);
  ASSERT_NE(l, nullptr);
  EXPECT_EQ(l->indirect_blocks, 99U);
  EXPECT_EQ(l->indirect_bytes, 99 * l->bytes);
  EXPECT_EQ(leaks.direct_blocks() - before.direct, 2U);
  EXPECT_EQ(leaks.indirect_blocks() - before.indirect, 99U + 5U);
  EXPECT_EQ(leaks.direct_bytes() + leaks.indirect_bytes() - before.bytes, 106 * l->bytes);
}

TEST(Leaks, OneThatPointsToItselfIsDirect) {
  const Before before;
  static uintptr_t self;
  apart([] {
    Node* const n = make_node();
    n->next = n;
    self = hidden(n);
  });
  overwrite_stack();
  Leaks leaks;
  ASSERT_EQ(look(&leaks), 0);
  ASSERT_NE(find(leaks, self), nullptr);
  EXPECT_EQ(leaks.indirect_blocks() - before.indirect, 0U);
}
#endif

TEST(Leaks, BlocksThatWereFreedAreNone) {
  const Before before;
  // Also those that another thread has freed, and that have not come home.
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(make(64));
  std::thread other([&] {
    for (void*& p : blocks) deallocate(std::exchange(p, nullptr));
    Leaks leaks;
    ASSERT_EQ(look(&leaks), 0);
    EXPECT_EQ(leaks.direct_blocks() - before.direct, 0U);
  });
  other.join();
}

// ---- one for each kind of root: lost before, reached by it, lost again

char* global;
thread_local char* volatile in_tls;

TEST(LeakRoots, GlobalsAndTheirInnerPointers) {
  static uintptr_t h;
  apart([] {
    global = static_cast<char*>(make(200));
    h = hidden(global);
  });
  EXPECT_FALSE(is_lost(h));
  global += 150;
  EXPECT_FALSE(is_lost(h));
  global += 50;  // past the end of what was asked for
  EXPECT_FALSE(is_lost(h));
  global = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(global - 200) | 7);  // tagged
  EXPECT_FALSE(is_lost(h));
  global = nullptr;
  expect_lost(h);
}

TEST(LeakRoots, TheMainThreadsThreadLocalStorage) {
  static uintptr_t h;
  apart([] {
    in_tls = static_cast<char*>(make(200));
    h = hidden(in_tls);
  });
  EXPECT_FALSE(is_lost(h));
  in_tls = nullptr;
  expect_lost(h);
}

TEST(LeakRoots, TheStackOfTheCaller) {
  uintptr_t h = 0;
  void* volatile kept = nullptr;
  apart([&] {
    kept = make(100);
    h = hidden(kept);
  });
  EXPECT_FALSE(is_lost(h));
  kept = nullptr;
  expect_lost(h);
}

/// A thread that keeps a block somewhere until it is told to let go, while another looks.
class Holder {
 public:
  /// By the thread: it holds the block from now on; then, it does no more. Each waits for the other to have looked.
  void holds(uintptr_t h) {
    hidden_block = h;
    overwrite_stack();
    reach(1);
  }
  void holds_no_more() {
    overwrite_stack();
    reach(3);
  }
  /// The same, in the caller's own way of waiting: while is_before(2), and is_before(4).
  std::atomic<int> step{0};
  bool is_before(int n) const { return step.load(std::memory_order_relaxed) < n; }

  template <class Body>
  void check(Body&& body) {
    std::thread thread([&] { body(*this); });
    wait_for(1);
    EXPECT_FALSE(is_lost(hidden_block));
    step = 2;
    wait_for(3);
    expect_lost(hidden_block);
    step = 4;
    thread.join();
  }
  std::atomic<uintptr_t> hidden_block{0};

 private:
  void wait_for(int n) const {
    while (is_before(n)) usleep(100);
  }
  void reach(int n) {
    step = n;
    wait_for(n + 1);
  }
};

TEST(LeakRoots, TheThreadLocalStorageOfAThread) {
  Holder().check([](Holder& holder) {
    uintptr_t h = 0;
    apart([&h] {
      in_tls = static_cast<char*>(make(300));
      h = hidden(in_tls);
    });
    holder.holds(h);
    in_tls = nullptr;
    holder.holds_no_more();
  });
}

TEST(LeakRoots, TheStackOfAThread) {
  Holder().check([](Holder& holder) {
    void* volatile kept = nullptr;
    uintptr_t h = 0;
    apart([&] {
      kept = make(300);
      h = hidden(kept);
    });
    holder.holds(h);
    kept = nullptr;
    holder.holds_no_more();
  });
}

#ifdef __x86_64__  // Nothing tells a control block elsewhere.
TEST(LeakRoots, NotWhatAThreadThatHasEndedLeftOnItsStack) {
  static uintptr_t h;
  std::thread([] {
    apart([] {
      in_tls = static_cast<char*>(make(300));
      h = hidden(in_tls);
    });
    overwrite_stack();
  }).join();
  expect_lost(h);
  // The next one has the same stack, and what stands there counts again.
  Holder().check([](Holder& holder) {
    uintptr_t its = 0;
    apart([&its] {
      in_tls = static_cast<char*>(make(300));
      its = hidden(in_tls);
    });
    holder.holds(its);
    in_tls = nullptr;
    holder.holds_no_more();
  });
}
#endif

TEST(LeakRoots, AVectorRegister) {
#if defined(__SSE2__) || defined(__ARM_NEON)
#ifdef __SSE2__
#define IN_VECTOR "x"
#define FLIP_VECTOR "pxor %1, %0"
#else
#define IN_VECTOR "w"
#define FLIP_VECTOR "eor %0.16b, %0.16b, %1.16b"
#endif
#define IN_VECTOR_REGISTER "+" IN_VECTOR
  using Vector = uint64_t __attribute__((vector_size(16)));
  Holder vector;
  apart([&] { vector.hidden_block = hidden(make(300)); });
  vector.check([](Holder& holder) {
    const Vector ones = {~uint64_t{0}, ~uint64_t{0}};
    Vector v = {holder.hidden_block, holder.hidden_block};
    const auto flip = [&v, &ones] { asm volatile(FLIP_VECTOR : IN_VECTOR_REGISTER(v) : IN_VECTOR(ones)); };
    flip();
    holder.step = 1;
    // Nowhere else but in this register.
    while (holder.is_before(2)) asm volatile("" : IN_VECTOR_REGISTER(v));
    flip();
    holder.step = 3;
    // At the same depth: below it lies what the kernel saved at the last stop.
    while (holder.is_before(4)) asm volatile("");
  });
#endif
}

/// A block whose address stands at `place` alone.
void held_at(void* volatile* place) {
  uintptr_t h = 0;
  apart([&] {
    *place = make(500);
    h = hidden(*place);
  });
  EXPECT_FALSE(is_lost(h));
  *place = nullptr;
  expect_lost(h);
}

TEST(LeakRoots, MappingsOfTheProgram) {
  for (const int flags : {MAP_PRIVATE, MAP_SHARED}) {
    // Sparse: looked at where it was written to.
    constexpr size_t kBytes = size_t{64} << 30;
    void* const p = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    held_at(reinterpret_cast<void**>(static_cast<char*>(p) + kBytes / 2 + 24));
    munmap(p, kBytes);
  }
}

TEST(LeakRoots, AMappingThatIsReadOnlyByNow) {
  void* const p = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(p, MAP_FAILED);
  static uintptr_t h;
  apart([&] {
    void* const block = make(40);
    h = hidden(block);
    *static_cast<void**>(p) = block;
  });
  mprotect(p, 4096, PROT_READ);
  EXPECT_FALSE(is_lost(h));
  munmap(p, 4096);
  expect_lost(h);
}

TEST(LeakRoots, AFileThatWasCutDoesNotStopTheSearch) {
  FILE* const file = tmpfile();
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(ftruncate(fileno(file), 8192), 0);
  for (const int flags : {MAP_PRIVATE, MAP_SHARED}) {
    ASSERT_EQ(ftruncate(fileno(file), 8192), 0);
    auto* const p = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, flags, fileno(file), 0));
    ASSERT_NE(p, MAP_FAILED);
    p[0] = p[4096] = 1;
    held_at(reinterpret_cast<void**>(p + 8));
    ASSERT_EQ(ftruncate(fileno(file), 4096), 0);
    held_at(reinterpret_cast<void**>(p + 8));
    munmap(p, 8192);
  }
  fclose(file);
}

TEST(LeakRoots, TheBreakArea) {
  void* const p = sbrk(4096);
  ASSERT_NE(p, reinterpret_cast<void*>(-1));
  held_at(static_cast<void**>(p));
}

TEST(LeakRoots, AnotherAllocatorsBlocks) {
  auto** const p = static_cast<void**>(malloc(sizeof(void*)));
  held_at(p);
  free(p);
}

TEST(LeakRoots, RegisteredRanges) {
  // Memory that is not looked at else; of a size whose addresses no block of the framework's had before, which stale words remember.
  static char* block;
  apart([] { block = static_cast<char*>(make(3000)); });
  EXPECT_EQ(add_root_range(nullptr, 8), -EINVAL);
  EXPECT_EQ(add_root_range(block, 0), -EINVAL);
  EXPECT_EQ(remove_root_range(block), -EINVAL);
  static uintptr_t hidden_range, h;
  hidden_range = hidden(block);
  apart([] {
    void* const p = make(3000);
    h = hidden(p);
    *reinterpret_cast<void**>(block) = p;
  });
  ASSERT_EQ(add_root_range(block, 3000), 0);
  block = nullptr;
  EXPECT_FALSE(is_lost(h));
  apart([] { EXPECT_EQ(remove_root_range(reinterpret_cast<void*>(~hidden_range)), 0); });
  EXPECT_FALSE(is_lost(h)) << "indirect by now";
  expect_lost(hidden_range);
}

TEST(LeakRoots, ASignalStackInABlock) {
  // The kernel alone knows of it.
  Holder().check([](Holder& holder) {
    stack_t before = {};
    uintptr_t h = 0;
    apart([&] {
      stack_t s = {};
      s.ss_size = 64 * 1024;
      s.ss_sp = make(s.ss_size);
      ASSERT_EQ(sigaltstack(&s, &before), 0);
      h = hidden(s.ss_sp);
    });
    holder.holds(h);
    EXPECT_EQ(sigaltstack(&before, nullptr), 0);
    holder.holds_no_more();
  });
}

TEST(LeakRoots, ThreadsOnStacksOfTheirOwnMaking) {
  // Two of them side by side in one mapping, without guards.
  constexpr size_t kBytes = 256 * 1024;
  void* const both = mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(both, MAP_FAILED);
  struct Shared {
    std::atomic<int> ready{0};
    std::atomic<bool> over{false};
    std::atomic<uintptr_t> hidden[2];
  } shared;
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, static_cast<char*>(both) + i * kBytes, kBytes);
    ASSERT_EQ(pthread_create(
                  &threads[i], &attributes,
                  [](void* arg) -> void* {
                    auto& s = *static_cast<Shared*>(arg);
                    void* volatile kept = make(100);
                    s.hidden[s.ready++] = hidden(kept);
                    while (!s.over) usleep(100);
                    return kept == nullptr ? nullptr : arg;
                  },
                  &shared),
              0);
    while (shared.ready != i + 1 || shared.hidden[i] == 0) usleep(100);
  }
  for (const auto& h : shared.hidden) EXPECT_FALSE(is_lost(h));
  shared.over = true;
  for (const pthread_t t : threads) pthread_join(t, nullptr);
  munmap(both, 2 * kBytes);
  for (const auto& h : shared.hidden) expect_lost(h);
}

TEST(Leaks, AreFoundWhileOthersAllocate) {
  constexpr uint64_t kTheirs = 0x7468656972732121;
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  for (int t = 0; t < 3; ++t) {
    others.emplace_back([&] {
      std::vector<void*> held(64);
      for (size_t i = 0; !stop; ++i) {
        void*& p = held[i % held.size()];
        deallocate(p);
        p = make(16 << (i % 10));
        static_cast<uint64_t*>(p)[1] = kTheirs;  // stays there when it is freed, and taken anew
      }
      // Memory of other allocators that is free is looked at like any other: nothing of it may stay.
      for (void*& p : held) deallocate(std::exchange(p, nullptr));
    });
  }
  static uintptr_t h;
  apart([] { h = hidden(make(777)); });
  overwrite_stack();
  for (int i = 0; i < 50; ++i) {
    Leaks leaks;
    ASSERT_EQ(look(&leaks), 0);
    EXPECT_EQ(leaks.unstopped_threads(), 0U);
    // What a thread has just been given, and has not stored yet, is in its registers.
    for (const Leak& leak : leaks) EXPECT_NE(static_cast<const uint64_t*>(leak.block)[1], kTheirs);
    EXPECT_TRUE(find(leaks, h) != nullptr || TRI_TEST_SANITIZED);
  }
  stop = true;
  for (std::thread& t : others) t.join();
}

}  // namespace
}  // namespace tri::gc

#endif
