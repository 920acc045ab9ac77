// cycle_test.cc - Everything reachable is marked at the end of a cycle, whatever the program does meanwhile.
#include "gc/cycle.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/leaks.h"
#include "gc/stop.h"
#include "gc/worker.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

#if !defined __SANITIZE_THREAD__  // A signal reaches code under TSan only at its next call of libc: nobody stops.

namespace tri::gc {
namespace {

using test::Random;

struct Node {
  std::atomic<Node*> to[3];
  uint64_t id;
};

Node* make_node(uint64_t id) {
  auto* const n = static_cast<Node*>(allocate(sizeof(Node)));
  memset(static_cast<void*>(n), 0, sizeof(Node));
  n->id = id;
  return n;
}

/// Runs a cycle; calls at_end(shadow) in its last stop.
class Marking {
 public:
  explicit Marking(CycleOptions options = {}, std::function<void(Shadow&)> at_end = nullptr)
      : at_end_(std::move(at_end)), cycle_(with_verify(options)) {
    CycleClient client;
    client.arg = this;
    client.at_begin = [](void* arg, Shadow&) { ++static_cast<Marking*>(arg)->begun_; };
    client.at_end = [](void* arg, Shadow& shadow) {
      auto* const self = static_cast<Marking*>(arg);
      ++self->ended_;
      if (self->at_end_) self->at_end_(shadow);
    };
    error = below_program([&](uintptr_t sp) { return cycle_.run(client, sp); });
    if (error == 0) {
      EXPECT_GE(begun_, 1);
      EXPECT_EQ(ended_, 1);
    } else {
      EXPECT_EQ(ended_, 0);
    }
  }
  bool is_marked(const void* p) {
    Ref r;
    return cycle_.shadow().find(reinterpret_cast<uintptr_t>(p), &r) && r.is_marked();
  }
  const CycleStats& stats() { return cycle_.stats(); }
  Shadow& shadow() { return cycle_.shadow(); }
  int error = 0;

 private:
  static CycleOptions with_verify(CycleOptions o) {
    o.verify = true;
    return o;
  }
  std::function<void(Shadow&)> at_end_;
  Cycle cycle_;
  int begun_ = 0;
  int ended_ = 0;
};

/// Threads that call body() again and again until the object goes.
class Busy {
 public:
  Busy(int n, std::function<void(Random&)> body) {
    for (int i = 0; i < n; ++i) {
      threads_.emplace_back([this, body, i] {
        Random random(static_cast<uint64_t>(i) + 1);
        ++started_;
        while (!over_) body(random);
      });
    }
    while (started_ < n) std::this_thread::yield();
  }
  ~Busy() {
    over_ = true;
    for (std::thread& t : threads_) t.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> started_{0};
  std::vector<std::thread> threads_;
};

/// Not a pointer to any reader of memory.
uintptr_t hidden(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }
void* revealed(uintptr_t h) { return reinterpret_cast<void*>(~h); }

Node* root;

/// A tree of n nodes on `root`, and n hidden ones that nothing leads to but each other, two by two. No word of those is left on the stack: another thread makes them.
std::vector<uintptr_t> make_graph(size_t n) {
  std::vector<uintptr_t> lost;
  std::thread([&] {
    std::vector<uintptr_t> kept;
    for (size_t i = 0; i < n; ++i) {
      kept.push_back(hidden(make_node(i)));
      lost.push_back(hidden(make_node(i)));
    }
    const auto node = [](uintptr_t h) { return static_cast<Node*>(revealed(h)); };
    for (size_t i = 1; i < n; ++i) {
      node(kept[(i - 1) / 2])->to[(i - 1) % 2] = node(kept[i]);
      node(lost[i])->to[0] = node(lost[i ^ 1]);
    }
    root = node(kept[0]);
  }).join();
  return lost;
}

size_t count(const Node* n) { return n == nullptr ? 0 : 1 + count(n->to[0]) + count(n->to[1]); }

void each(Node* n, const std::function<void(Node*)>& fn) {
  if (n == nullptr) return;
  fn(n);
  each(n->to[0], fn);
  each(n->to[1], fn);
}

void expect_right(Marking& run, const std::vector<uintptr_t>& lost, size_t n) {
  ASSERT_EQ(run.error, 0);
  size_t marked = 0;
  each(root, [&](Node* node) { marked += run.is_marked(node); });
  EXPECT_EQ(marked, n);
  size_t wrong = 0;
  for (const uintptr_t h : lost) wrong += run.is_marked(revealed(h));
  EXPECT_LE(wrong, 50U) << "stale words keep a few, not most";
}

constexpr size_t kNodes = 20'000;

TEST(Cycle, MarksWhatIsReachableBesideTheProgram) {
  const auto lost = make_graph(kNodes);
  Marking run;
  EXPECT_EQ(run.stats().why_full, 0);
  EXPECT_GE(run.stats().rounds, 1U);
  EXPECT_GE(run.stats().marked_blocks, kNodes);
  expect_right(run, lost, kNodes);
}

TEST(Cycle, MarksTheSameWithTheWorldStopped) {
  const auto lost = make_graph(kNodes);
  CycleOptions options;
  options.concurrent = false;
  Marking run(options);
  EXPECT_EQ(run.stats().why_full, -EOPNOTSUPP);
  expect_right(run, lost, kNodes);
}

TEST(Cycle, MarksTheSameWithSeveralMarkers) {
  const auto lost = make_graph(kNodes);
  CycleOptions options;
  options.markers = 3;
  Marking run(options);
  EXPECT_EQ(run.stats().why_full, 0);
  expect_right(run, lost, kNodes);
}

TEST(Cycle, StopsTheWorldWhereverPagesCannotBeWatched) {
  const auto lost = make_graph(2000);
  int full = 0;
  for (long n = 0; n < 400; n += n < 40 ? 1 : 17) {
    DirtyPages::fail_after(n);
    Marking run;
    DirtyPages::fail_after(-1);
    full += run.stats().why_full != 0;
    expect_right(run, lost, 2000);
  }
  EXPECT_GE(full, 10);
}

TEST(Cycle, SaysSoWhereThereIsNoMemoryAndLosesNothing) {
  const auto lost = make_graph(2000);
  int failed = 0;
  for (long n = 0; n < 40; ++n) {
    os::fail_after(n);
    Marking run;
    os::fail_after(-1);
    if (run.error == 0) {
      expect_right(run, lost, 2000);
    } else {
      EXPECT_EQ(run.error, -ENOMEM);
      ++failed;
    }
  }
  EXPECT_GE(failed, 3);
  Marking run;
  expect_right(run, lost, 2000);
}

TEST(Cycle, RunsOnAThreadOfTheCollectorsOwn) {
  const auto lost = make_graph(kNodes);
  static int error;
  static Cycle* cycle;
  CycleOptions options;
  options.verify = true;
  Cycle c(options);
  cycle = &c;
  Workers workers;
  ASSERT_EQ(workers.start(
                1, [](void*, unsigned) { error = cycle->run({}, 0); }, nullptr),
            1U);
  workers.join();
  ASSERT_EQ(error, 0);
  EXPECT_EQ(c.stats().why_full, 0);
  size_t marked = 0;
  each(root, [&](Node* node) {
    Ref r;
    marked += c.shadow().find(reinterpret_cast<uintptr_t>(node), &r) && r.is_marked();
  });
  EXPECT_EQ(marked, kNodes);
}

TEST(Cycle, KnowsNothingIfAThreadCannotBeStopped) {
  make_graph(100);
  std::atomic<bool> blocked{false};
  std::atomic<bool> over{false};
  std::thread deaf([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    blocked = true;
    while (!over) usleep(1000);
  });
  while (!blocked) std::this_thread::yield();
  {
    Marking run;
    EXPECT_EQ(run.error, -EBUSY);
    EXPECT_EQ(run.stats().unstopped, 1U);
  }
  over = true;
  deaf.join();
  Marking run;
  EXPECT_EQ(run.error, 0);
}

TEST(Cycle, IsOneAtATime) {
  make_graph(100);
  static int second;
  Marking run({}, [](Shadow&) {
    Cycle other({});
    second = other.run({}, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
  });
  EXPECT_EQ(run.error, 0);
  EXPECT_EQ(second, -EAGAIN);
}

// ---- what the program does meanwhile; what must not be missed is found out by the verification ----------------------------------------

/// Blocks with one pointer to each, which goes from hand to hand: global, in blocks old and new, on stacks, in registers.
struct Shell {
  std::atomic<Node*> only;
  uint64_t rest[5];
};
constexpr size_t kShells = 3000;
std::atomic<Shell*> shells[kShells];

void move_pointers(Random& random) {
  Node* hand[8] = {};
  for (Node*& n : hand) {
    Shell* const s = shells[random.below(kShells)].load();
    n = s->only.exchange(nullptr);
    if (n != nullptr) {
      ASSERT_LT(n->id, kShells);
    }
  }
  for (Node*& n : hand) {
    while (n != nullptr) {
      Shell* const s = shells[random.below(kShells)].load();
      n = s->only.exchange(n);
    }
  }
}

void fill_shells() {
  for (size_t i = 0; i < kShells; ++i) {
    auto* const s = static_cast<Shell*>(allocate(sizeof(Shell)));
    memset(static_cast<void*>(s), 0, sizeof *s);
    s->only = make_node(i);
    shells[i] = s;
  }
}

size_t full_shells() {
  std::vector<bool> seen(kShells);
  size_t n = 0;
  for (const auto& s : shells) {
    Node* const node = s.load()->only;
    if (node == nullptr) continue;
    if (node->id < kShells && !seen[node->id]) ++n;
    seen[node->id] = true;
  }
  return n;
}

TEST(Cycle, MissesNoPointerThatGoesFromHandToHand) {
  make_graph(kNodes);
  fill_shells();
  {
    const Busy busy(3, move_pointers);
    for (int i = 0; i < 40; ++i) {
      CycleOptions options;
      options.markers = 1 + static_cast<unsigned>(i) % 2;
      Marking run(options);
      ASSERT_EQ(run.error, 0);
      ASSERT_EQ(run.stats().why_full, 0);
    }
  }
  EXPECT_EQ(full_shells(), kShells);
}

TEST(Cycle, MissesNoPointerThatMovesIntoNewBlocks) {
  make_graph(kNodes);
  fill_shells();
  {
    // A thread has its own shells, so that it may free the old one.
    std::atomic<size_t> next{0};
    const Busy busy(2, [&](Random& random) {
      static thread_local const size_t mine = next++ % 2;
      const size_t i = random.below(kShells / 2) * 2 + mine;
      Shell* const old = shells[i].load();
      auto* const fresh =
          static_cast<Shell*>(allocate(random.one_in(50) ? random.size_up_to(100'000) + sizeof(Shell) : sizeof(Shell)));
      memset(static_cast<void*>(fresh), 0, sizeof *fresh);
      fresh->only = old->only.exchange(nullptr);
      shells[i] = fresh;
      deallocate(old);
      // And the node into another of its own.
      Node* const n = fresh->only;
      Node* const copy = make_node(n->id);
      fresh->only = copy;
      deallocate(n);
    });
    for (int i = 0; i < 40; ++i) {
      Marking run;
      ASSERT_EQ(run.error, 0);
      ASSERT_EQ(run.stats().why_full, 0);
    }
  }
  EXPECT_EQ(full_shells(), kShells);
}

TEST(Cycle, SurvivesMemoryThatComesAndGoes) {
  make_graph(kNodes);
  {
    const Busy busy(2, [](Random& random) {
      // Huge blocks that grow, shrink, and go; full of pointers, so that they are read.
      const size_t bytes = (size_t{16} << 20) + random.below(size_t{8} << 20);
      auto** p = static_cast<Node**>(allocate(bytes));
      for (size_t i = 0; i < bytes / sizeof *p; i += 512) p[i] = root;
      p = static_cast<Node**>(reallocate(p, random.one_in(2) ? bytes / 2 : bytes * 2));
      ASSERT_EQ(p[0], root);
      p[1] = make_node(1);
      Node* const n = p[1];
      p = static_cast<Node**>(reallocate(p, random.one_in(2) ? 20 : bytes + 4096));
      ASSERT_EQ(p[1], n);
      deallocate(p[1]);
      deallocate(p);
      // Large ones, too.
      auto* q = static_cast<char*>(allocate(100'000 + random.below(1'000'000)));
      q = static_cast<char*>(reallocate(q, 100'000 + random.below(1'000'000)));
      q[99'999] = 1;
      deallocate(q);
      // And mappings of the program's own.
      constexpr size_t kMapped = size_t{2} << 20;
      void* const m = mmap(nullptr, kMapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(m, MAP_FAILED);
      for (size_t i = 0; i < kMapped / sizeof(void*); i += 512) static_cast<Node**>(m)[i] = root;
      mprotect(m, kMapped / 2, PROT_NONE);
      munmap(m, kMapped);
    });
    for (int i = 0; i < 40; ++i) {
      Marking run;
      ASSERT_EQ(run.error, 0);
      ASSERT_EQ(run.stats().why_full, 0);
    }
  }
  EXPECT_EQ(count(root), kNodes);
}

TEST(Cycle, BlocksThatGrowWhereTheyStandAreReadToTheirEnd) {
  static std::atomic<Node**> large;
  large = static_cast<Node**>(allocate(100'000));
  memset(static_cast<void*>(large), 0, 100'000);
  {
    const Busy busy(1, [](Random& random) {
      Node** p = large.load();
      const size_t bytes = 100'000 + random.below(20) * 50'000;
      Node* const n = p[10'000];
      p[10'000] = nullptr;
      p = static_cast<Node**>(reallocate(p, bytes));
      large = p;
      // The only pointer stands at the end of the block.
      p[bytes / sizeof(Node*) - 1] = n != nullptr ? n : make_node(7);
      std::this_thread::yield();
      ASSERT_EQ(p[bytes / sizeof(Node*) - 1]->id, 7U);
      p[10'000] = p[bytes / sizeof(Node*) - 1];
      p[bytes / sizeof(Node*) - 1] = bytes / sizeof(Node*) - 1 == 10'000 ? p[10'000] : nullptr;
    });
    for (int i = 0; i < 60; ++i) {
      Marking run;
      ASSERT_EQ(run.error, 0);
    }
  }
}

TEST(Cycle, AForkedChildHasItsOwn) {
  const auto lost = make_graph(2000);
  std::atomic<bool> over{false};
  std::thread cycles([&] {
    while (!over) {
      Marking run;
      ASSERT_EQ(run.error, 0);
    }
  });
  for (int i = 0; i < 100; ++i) {
    fork_prepare();
    const pid_t child = fork();
    if (child == 0) {
      fork_child();
      stop_reset_after_fork();
      workers_reset_after_fork();
      Cycle::reset_after_fork();
      Marking run;
      _exit(run.error == 0 && run.stats().why_full == 0 && run.is_marked(root) && run.is_marked(root->to[1].load())
                ? 0
                : 1);
    }
    fork_parent();
    ASSERT_GT(child, 0);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << i;
  }
  over = true;
  cycles.join();
}

TEST(Cycle, LeavesNothingWatchedAndNothingOpen) {
  make_graph(2000);
  const auto descriptors = [] {
    int n = 0;
    for (int fd = 0; fd < 2000; ++fd) n += fcntl(fd, F_GETFD) >= 0;
    return n;
  };
  const int before = descriptors();
  for (int i = 0; i < 10; ++i) {
    Marking run;
    ASSERT_EQ(run.stats().why_full, 0);
  }
  EXPECT_EQ(descriptors(), before);
  // Whoever finds a mapping watched already gets -EBUSY.
  DirtyPages pages;
  ASSERT_EQ(pages.begin(), 0);
  const auto at = reinterpret_cast<uintptr_t>(&root);
  EXPECT_EQ(pages.watch(at, at + 1), 0);
  EXPECT_EQ(pages.watch(reinterpret_cast<uintptr_t>(root), reinterpret_cast<uintptr_t>(root) + 1), 0);
  pages.unwatch(at, at + 1);
}

}  // namespace
}  // namespace tri::gc

#endif
