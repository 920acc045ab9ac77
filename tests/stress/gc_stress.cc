// gc_stress.cc - Threads and goroutines that build, change and drop graphs of collected memory at full speed, and look whether all is as they left it.
//
//   gc_stress --seconds N --threads N --seed N --only graphs
//
// Each node says what it is, and its checksum covers where its links lead; what a thread has not dropped must be whole. Meanwhile threads come
// and go, children are forked that collect for themselves, libraries are opened and closed, and somebody collects all the time. One that makes no
// progress is told by the watchdog. In a verifying build each cycle is checked by a second marking.
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "options.h"

namespace {

std::atomic<bool> g_end{false};
std::atomic<uint64_t> g_steps{0};
std::atomic<uint64_t> g_cleanups{0};

uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdU;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53U;
  return x ^ x >> 33;
}

struct Random {
  uint64_t state;
  uint64_t next() { return mix(state += 0x9e3779b97f4a7c15U); }
  size_t below(size_t n) { return next() % n; }
  bool one_in(size_t n) { return below(n) == 0; }
};

[[noreturn]] void fail(const char* what, const void* p) {
  fprintf(stderr, "gc_stress: %s at %p\n", what, p);
  abort();
}

struct Node {
  static constexpr uint64_t kMagic = 0x6e6f64652d6f6b21U;
  uint64_t magic;
  uint32_t links;
  uint32_t padding;  // bytes behind the links, each the low byte of tag
  uint64_t tag;
  uint64_t* data;  // pointer-free: tag, tag + 1 ...; or null
  uint32_t words;
  Node* to[];
};

Node* make(Random& random) {
  const auto links = static_cast<uint32_t>(random.below(6));
  const auto padding = static_cast<uint32_t>(random.one_in(300) ? random.below(100'000) : random.below(120));
  const size_t bytes = sizeof(Node) + links * sizeof(Node*) + padding;
  auto* const n = static_cast<Node*>(tri_alloc(bytes, TRI_GC));
  if (n == nullptr) fail("no memory", n);
  for (size_t i = 0; i < bytes; ++i) {
    if (reinterpret_cast<const char*>(n)[i] != 0) fail("a new block is not zero", n);
  }
  n->links = links;
  n->padding = padding;
  n->tag = random.next();
  n->magic = Node::kMagic;
  memset(&n->to[links], static_cast<int>(n->tag & 0xff), padding);
  if (random.one_in(4)) {
    n->words = static_cast<uint32_t>(random.below(60));
    n->data = static_cast<uint64_t*>(tri_alloc(n->words * 8, TRI_GC | TRI_NOSCAN));
    for (uint32_t i = 0; i < n->words; ++i) n->data[i] = n->tag + i;
  }
  return n;
}

void check(const Node* n) {
  if (n->magic != Node::kMagic) fail("a node is none any more", n);
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&n->to[n->links]);
  const uint32_t step = n->padding < 256 ? 1 : n->padding / 64;
  for (uint32_t i = 0; i < n->padding; i += step) {
    if (bytes[i] != (n->tag & 0xff)) fail("a node has changed", n);
  }
  for (uint32_t i = 0; n->data != nullptr && i < n->words; ++i) {
    if (n->data[i] != n->tag + i) fail("a node's data have changed", n);
  }
}

/// A thread's, or a goroutine's, own graph.
void graphs(uint64_t seed, bool is_task) {
  Random random{seed};
  Node* roots[40] = {};
  tri_weak* weak[10] = {};
  void* by_hand[20] = {};
  while (!g_end) {
    Node*& root = roots[random.below(40)];
    switch (random.below(8)) {
      case 0:
        root = nullptr;
        break;
      case 1:
      case 2:
      case 3: {  // in front of others
        Node* const n = make(random);
        for (uint32_t i = 0; i < n->links; ++i) n->to[i] = roots[random.below(40)];
        root = n;
        break;
      }
      case 4:
      case 5: {  // a walk that checks, and changes a link
        Node* n = root;
        for (size_t i = 0; n != nullptr && i < 200; ++i) {
          check(n);
          if (n->links == 0) break;
          Node*& link = n->to[random.below(n->links)];
          if (random.one_in(10)) {
            Node* const other = random.one_in(3) ? nullptr : make(random);
            if (random.one_in(2)) {
              tri_gc_write(&link, other);
            } else {
              link = other;
            }
          }
          n = link;
        }
        break;
      }
      case 6: {
        tri_weak*& w = weak[random.below(10)];
        if (w != nullptr) {
          if (const auto* const n = static_cast<const Node*>(tri_weak_get(w))) check(n);
          tri_weak_free(w);
          w = nullptr;
        }
        if (root != nullptr) w = tri_weak_new(root);
        if (root != nullptr && random.one_in(20)) {
          (void)tri_gc_add_cleanup(
              root, [](void*) { ++g_cleanups; }, nullptr);
        }
        break;
      }
      default: {
        void*& p = by_hand[random.below(20)];
        tri_free(p);
        p = random.one_in(4) ? malloc(random.below(2000)) : tri_alloc(random.below(2000), TRI_GC);
        break;
      }
    }
    if (random.one_in(1000)) {
      ++g_steps;
      if (is_task) tri_yield();
      // Not more than some thousand nodes: a graph that only grows is another test.
      if (random.one_in(5)) memset(roots, 0, sizeof roots / 2);
    }
  }
  for (tri_weak* const w : weak) tri_weak_free(w);
  for (void* const p : by_hand) tri_free(p);
}

void churn(uint64_t seed) {
  Random random{seed};
  while (!g_end) {
    std::thread([&] {
      Node* list = nullptr;
      for (int i = 0; i < 300; ++i) {
        Node* const n = make(random);
        if (n->links != 0) n->to[0] = list;
        list = n;
      }
      for (const Node* n = list; n != nullptr && n->links != 0; n = n->to[0]) check(n);
    }).join();
    ++g_steps;
  }
}

void forks(uint64_t seed) {
  Random random{seed};
  while (!g_end) {
    Node* const n = make(random);
    const pid_t child = fork();
    if (child == 0) {
      alarm(60);
      Random own{seed ^ 1};
      Node* list = nullptr;
      for (int i = 0; i < 1000; ++i) {
        Node* const m = make(own);
        if (m->links != 0) m->to[0] = list;
        list = m;
      }
      if (tri_gc() != 0) fail("a child cannot collect", nullptr);
      for (const Node* m = list; m != nullptr && m->links != 0; m = m->to[0]) check(m);
      check(n);
      _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("a child failed", n);
    check(n);
    ++g_steps;
  }
}

void libraries() {
  while (!g_end) {
    void* const library = dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL);
    void* const other = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) dlclose(library);
    if (other != nullptr) dlclose(other);
    ++g_steps;
    usleep(1000);
  }
}

void collect(uint64_t seed) {
  Random random{seed};
  while (!g_end) {
    if (const int error = tri_gc(); error != 0) {
      fprintf(stderr, "gc_stress: a cycle came to nothing: %d\n", error);
      abort();
    }
    ++g_steps;
    usleep(static_cast<useconds_t>(random.below(20'000)));
  }
}

/// The collector's signals end each sleep() early.
void wait_one_second() {
  timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  ++end.tv_sec;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  const stress::Options options(argc, argv);
  tri_set("gc", "50");
  std::vector<std::thread> threads;
  std::vector<tri_task> tasks;
  static uint64_t seed;
  seed = options.seed;
  for (long i = 0; i < options.threads; ++i) {
    threads.emplace_back(graphs, mix(seed + static_cast<uint64_t>(i)), false);
  }
  for (uintptr_t i = 0; i < 4; ++i) {
    const auto run = [](void* n) { graphs(mix(seed + reinterpret_cast<uintptr_t>(n)), true); };
    tri_task task;
    if (tri_spawn(&task, run, reinterpret_cast<void*>(1000 + i), nullptr) != 0) fail("no goroutine", nullptr);
    tasks.push_back(task);
  }
  if (options.only == nullptr) {
    threads.emplace_back(churn, mix(seed + 2000));
    threads.emplace_back(forks, mix(seed + 3000));
    threads.emplace_back(libraries);
    threads.emplace_back(collect, mix(seed + 4000));
  }
  uint64_t seen = 0;
  long still = 0;
  for (long second = 0; second < options.seconds; ++second) {
    wait_one_second();
    still = g_steps == seen ? still + 1 : 0;
    seen = g_steps;
    if (still >= options.patience) fail("no step any more", nullptr);
  }
  g_end = true;
  for (std::thread& t : threads) t.join();
  for (const tri_task t : tasks) tri_join(t, TRI_FOREVER);
  struct tri_gc_stats s;
  tri_gc_stats_get(&s, sizeof s);
  printf("steps %lu, cycles %lu, failed %lu, collected %lu MiB, cleanups %lu, longest pause %lu us\n",
         static_cast<unsigned long>(g_steps), static_cast<unsigned long>(s.cycles),
         static_cast<unsigned long>(s.failed_cycles), static_cast<unsigned long>(s.collected_bytes >> 20),
         static_cast<unsigned long>(g_cleanups), static_cast<unsigned long>(s.pause_ns_max / 1000));
  return s.cycles == 0;
}
