// same_thread.cc - Pairs of malloc and free on one thread, by order and size.
//
// LIFO is the friendliest order; batches show what a cache of some length adds; random sizes defeat what a single list
// does well.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kBatch = 100;

void lifo(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::malloc(size);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}

// One block waits in line at any time: the block that is freed is never the one that comes next.
void fifo(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  void* older = std::malloc(size);
  for (auto _ : state) {
    void* p = std::malloc(size);
    benchmark::DoNotOptimize(p);
    std::free(older);
    older = p;
  }
  std::free(older);
}

void batch_lifo(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  void* blocks[kBatch];
  while (state.KeepRunningBatch(kBatch)) {
    for (void*& p : blocks) p = std::malloc(size);
    benchmark::ClobberMemory();
    for (int i = kBatch; i-- > 0;) std::free(blocks[i]);
  }
}

void batch_fifo(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  void* blocks[kBatch];
  while (state.KeepRunningBatch(kBatch)) {
    for (void*& p : blocks) p = std::malloc(size);
    benchmark::ClobberMemory();
    for (void* p : blocks) std::free(p);
  }
}

// range(0) live blocks of 16 to 512 bytes; slots and sizes are drawn beforehand, so that no generator is measured.
void random_sizes(benchmark::State& state) {
  struct Step {
    uint32_t slot, size;
  };
  constexpr size_t kSteps = 1u << 16;
  auto live_count = static_cast<uint32_t>(state.range(0));
  std::vector<void*> live(live_count);
  std::vector<Step> steps(kSteps);
  uint64_t seed = 1;
  auto draw = [&](uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(((seed >> 33) * n) >> 31);
  };
  for (Step& step : steps) step = {draw(live_count), 16 + draw(497)};
  size_t i = 0;
  for (auto _ : state) {
    Step step = steps[i++ % kSteps];
    std::free(live[step.slot]);
    live[step.slot] = std::malloc(step.size);
  }
  for (void* p : live) std::free(p);
}

void zeroed(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::calloc(1, size);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}

void aligned(benchmark::State& state) {
  auto alignment = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::aligned_alloc(alignment, 4 * alignment);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}

// Blocks that every allocator takes from its page heap, each page touched as a user would.
void large_touched(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    auto* p = static_cast<volatile char*>(std::malloc(size));
    for (size_t i = 0; i < size; i += 4096) p[i] = 1;
    std::free(const_cast<char*>(p));
  }
}

void cpp_object(benchmark::State& state) {
  struct Object {
    uint64_t words[6];
  };
  for (auto _ : state) {
    auto* p = new Object;
    benchmark::DoNotOptimize(p);
    delete p;
  }
}

// Around the ends of what allocators call small, each from another one's point of view.
void by_size(benchmark::internal::Benchmark* it) {
  for (int size : {8, 16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 32 << 10, 64 << 10, 256 << 10}) it->Arg(size);
}

BENCHMARK(lifo)->Apply(by_size);
BENCHMARK(fifo)->Apply(by_size);
BENCHMARK(batch_lifo)->Arg(16)->Arg(64)->Arg(1 << 10)->Arg(8 << 10);
BENCHMARK(batch_fifo)->Arg(16)->Arg(64)->Arg(1 << 10)->Arg(8 << 10);
BENCHMARK(random_sizes)->Arg(1000)->Arg(10000)->Arg(200000);
BENCHMARK(zeroed)->Arg(64)->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(aligned)->Arg(64)->Arg(4096);
BENCHMARK(large_touched)->Arg(128 << 10)->Arg(1 << 20)->Arg(8 << 20);
BENCHMARK(cpp_object);

}  // namespace
