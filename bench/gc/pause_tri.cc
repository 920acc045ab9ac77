// pause_tri.cc - How long a program stands still for a collection that runs beside it.
//
//   pause MIB RATE [MUTATORS] [CYCLES]
//
// A random graph (graph.h), and threads that work on it: each operation takes two of 8,192 nodes spread over the heap, exchanges a pointer of theirs,
// and every eighth one replaces a small block by a new one. RATE operations a second, all threads together; 0: as fast as they can. Meanwhile one cycle
// after another; the first is not counted.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "alloc/malloc.h"
#include "bench/gc/graph.h"
#include "gc/cycle.h"
#include "gc/leaks.h"

namespace {

using namespace tri;

constexpr size_t kHot = 8192;
constexpr size_t kShort = 1024;  // short-lived blocks of a thread

void* allocate_node(size_t bytes, int) {
  void* const p = allocate_zeroed(bytes);
  if (p == nullptr) abort();
  return p;
}

Graph graph;
GraphNode* hot[kHot];
std::atomic<bool> over{false};
std::atomic<uint64_t> operations{0};

void mutate(uint64_t seed, uint64_t rate) {
  static thread_local void* blocks[kShort];
  constexpr uint64_t kBatch = 64;
  const double begin = graph_ms();
  uint64_t done = 0;
  for (; !over.load(std::memory_order_relaxed); done += kBatch) {
    for (uint64_t i = 0; i < kBatch; ++i) {
      const uint64_t r = graph_random(&seed);
      GraphNode* const a = hot[r % kHot];
      GraphNode* const b = hot[(r >> 16) % kHot];
      GraphNode* const c = __atomic_load_n(&a->to[2], __ATOMIC_RELAXED);
      __atomic_store_n(&a->to[2], __atomic_load_n(&b->to[2], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
      __atomic_store_n(&b->to[2], c, __ATOMIC_RELAXED);
      if (i % 8 == 0) {
        void*& slot = blocks[(r >> 32) % kShort];
        deallocate(slot);
        slot = allocate_zeroed(32 + (r >> 60));
        *static_cast<void**>(slot) = c;
      }
    }
    operations.fetch_add(kBatch, std::memory_order_relaxed);
    while (rate != 0 && static_cast<double>(done) > (graph_ms() - begin) * static_cast<double>(rate) / 1e3) usleep(200);
  }
}

double ms(int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s MIB RATE [MUTATORS] [CYCLES]\n", argv[0]);
    return 2;
  }
  const size_t mib = strtoull(argv[1], nullptr, 0);
  const uint64_t rate = strtoull(argv[2], nullptr, 0);
  const unsigned mutators = argc > 3 ? static_cast<unsigned>(atoi(argv[3])) : 1;
  const int cycles = argc > 4 ? atoi(argv[4]) : 20;
  graph = graph_build('r', mib << 20, allocate_node);
  // Evenly spread: down the tree by the bits of a number.
  for (size_t i = 0; i < kHot; ++i) {
    auto* n = static_cast<GraphNode*>(graph.root);
    uint64_t seed = i;
    const uint64_t path = graph_random(&seed);
    for (int bit = 0; bit < 40 && n->to[(path >> bit) & 1] != nullptr; ++bit) n = n->to[(path >> bit) & 1];
    hot[i] = n;
  }
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < mutators; ++i) threads.emplace_back(mutate, i + 1, rate / mutators);
  const auto speed = [](double begin, uint64_t before) {
    return static_cast<double>(operations.load() - before) / (graph_ms() - begin) * 1e3;
  };
  usleep(200'000);
  double begin = graph_ms();
  uint64_t before = operations.load();
  usleep(1'000'000);
  const double undisturbed = speed(begin, before);
  std::vector<double> first, last, mark, rounds, pages;
  for (int i = -1; i < cycles; ++i) {
    if (i == 0) {
      begin = graph_ms();
      before = operations.load();
    }
    gc::Cycle cycle({});
    if (gc::below_program([&](uintptr_t sp) { return cycle.run({}, sp); }) != 0 || cycle.stats().why_full != 0) {
      fprintf(stderr, "pause: no concurrent cycle (%d)\n", cycle.stats().why_full);
      return 1;
    }
    if (i < 0) continue;
    first.push_back(ms(cycle.stats().first_stop_ns));
    last.push_back(ms(cycle.stats().last_stop_ns));
    mark.push_back(ms(cycle.stats().concurrent_ns));
    rounds.push_back(cycle.stats().rounds);
    pages.push_back(static_cast<double>(cycle.stats().last_pages));
  }
  const double disturbed = speed(begin, before);
  over = true;
  for (std::thread& t : threads) t.join();
  const auto at = [](std::vector<double>& v, double q) {
    std::sort(v.begin(), v.end());
    return v[static_cast<size_t>(q * static_cast<double>(v.size() - 1) + 0.5)];
  };
  printf(
      "{\"workload\": \"pause-%zu-%llu\", \"procs\": %u, \"unit\": \"ms\", \"value\": %.3f, \"p50\": %.3f, \"max\": "
      "%.3f, "
      "\"first_p50\": %.3f, \"first_max\": %.3f, \"mark\": %.1f, \"rounds\": %.0f, \"pages\": %.0f, \"speed\": %.3f}\n",
      mib, static_cast<unsigned long long>(rate), mutators, at(last, 0.99), at(last, 0.5), at(last, 1), at(first, 0.5),
      at(first, 1), at(mark, 0.5), at(rounds, 0.5), at(pages, 0.5), disturbed / undisturbed);
  return 0;
}
