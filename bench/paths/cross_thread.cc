// cross_thread.cc - One thread allocates, the other frees, through a ring without locks.
#include <benchmark/benchmark.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>

namespace {

// Single producer, single consumer. Each side publishes its position once per batch, so that the ring costs a fraction of
// a cache miss per block.
class Ring {
 public:
  // The producer's side.
  void put(void* p) {
    while (put_ - taken_.load(std::memory_order_acquire) ==
           kSlots) {  // acquire: the slot has been read
      publish();
      sched_yield();
    }
    slots_[put_++ % kSlots] = p;
    if (put_ % kBatch == 0) publish();
  }
  void publish() { ready_.store(put_, std::memory_order_release); }  // release: pairs with take()

  // The consumer's side.
  void* take() {
    while (ready_.load(std::memory_order_acquire) == take_) {  // acquire: the slot has been written
      taken_.store(take_, std::memory_order_release);
      sched_yield();
    }
    void* p = slots_[take_++ % kSlots];
    if (take_ % kBatch == 0)
      taken_.store(take_, std::memory_order_release);  // release: pairs with put()
    return p;
  }

 private:
  static constexpr size_t kSlots = 4096, kBatch = 64;
  void* slots_[kSlots];
  alignas(64) size_t put_ = 0;  // producer
  std::atomic<size_t> ready_{0};
  alignas(64) size_t take_ = 0;  // consumer
  std::atomic<size_t> taken_{0};
};

// Both threads run the same number of iterations, hence as many blocks are taken as were put. The ring survives from one
// run to the next, and is empty between them.
void producer_consumer(benchmark::State& state) {
  static Ring ring;
  auto size = static_cast<size_t>(state.range(0));
  if (state.thread_index() == 0) {
    // The loop ends in a barrier, which the consumer reaches only with the last, incomplete batch.
    benchmark::IterationCount left = state.max_iterations;
    for (auto _ : state) {
      ring.put(std::malloc(size));
      if (--left == 0) ring.publish();
    }
  } else {
    for (auto _ : state) std::free(ring.take());
  }
}

BENCHMARK(producer_consumer)
    ->Arg(16)
    ->Arg(64)
    ->Arg(1 << 10)
    ->Arg(16 << 10)
    ->Threads(2)
    ->UseRealTime();

// The same pair on two threads that share nothing: what a lock or a shared line in the allocator costs.
void lifo_two_threads(benchmark::State& state) {
  auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = std::malloc(size);
    benchmark::DoNotOptimize(p);
    std::free(p);
  }
}

BENCHMARK(lifo_two_threads)->Arg(64)->Arg(32 << 10)->Threads(2)->UseRealTime();

}  // namespace
