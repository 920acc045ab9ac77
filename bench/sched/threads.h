// threads.h - The backend of plain threads, on as many cores as there are processors: what a program has without a scheduler.
#ifndef TRI_BENCH_SCHED_THREADS_H
#define TRI_BENCH_SCHED_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

/// A channel of a mutex and two conditions, for libraries that have these; without capacity a sender waits until its value
/// is taken.
template <class T, class MutexT, class Condition>
class LockedChan {
 public:
  explicit LockedChan(size_t capacity) : is_rendezvous_(capacity == 0), ring_(capacity == 0 ? 1 : capacity) {}

  void send(T v) {
    std::unique_lock<MutexT> guard(lock_);
    while (count_ == ring_.size()) not_full_.wait(guard);
    ring_[(first_ + count_++) % ring_.size()] = v;
    const uint64_t mine = ++sent_;
    not_empty_.notify_one();
    while (is_rendezvous_ && taken_ < mine) all_taken_.wait(guard);
  }
  bool recv(T* out) {
    std::unique_lock<MutexT> guard(lock_);
    while (count_ == 0) {
      if (closed_) return false;
      not_empty_.wait(guard);
    }
    *out = ring_[first_];
    first_ = (first_ + 1) % ring_.size();
    --count_;
    ++taken_;
    not_full_.notify_one();
    if (is_rendezvous_) all_taken_.notify_all();
    return true;
  }
  void close() {
    std::unique_lock<MutexT> guard(lock_);
    closed_ = true;
    not_empty_.notify_all();
  }

 private:
  const bool is_rendezvous_;
  MutexT lock_;
  Condition not_empty_, not_full_, all_taken_;
  std::vector<T> ring_;
  size_t first_ = 0, count_ = 0;
  uint64_t sent_ = 0, taken_ = 0;
  bool closed_ = false;
};

template <class MutexT, class Condition>
class LockedWaitGroup {
 public:
  void add(int n) {
    std::unique_lock<MutexT> guard(lock_);
    count_ += n;
  }
  void done() {
    std::unique_lock<MutexT> guard(lock_);
    // Under the lock: the waiter may destroy us as soon as it has it.
    if (--count_ == 0) zero_.notify_all();
  }
  void wait() {
    std::unique_lock<MutexT> guard(lock_);
    while (count_ != 0) zero_.wait(guard);
  }

 private:
  MutexT lock_;
  Condition zero_;
  int count_ = 0;
};

struct ThreadsBackend {
  static constexpr bool kIsThreads = true;
  static constexpr bool kHasSelect = false;
  static constexpr bool kHasTimers = false;
  static constexpr bool kIsPreemptive = true;
  static constexpr bool kHasBlocking = true;
  static constexpr size_t kMaxTasks = 10'000;

  template <class T>
  using Chan = LockedChan<T, std::mutex, std::condition_variable>;
  using Mutex = std::mutex;
  using WaitGroup = LockedWaitGroup<std::mutex, std::condition_variable>;

  static void run(unsigned procs, void (*fn)()) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (unsigned i = 0; i < procs; ++i) CPU_SET(i, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) abort();
    fn();
  }
  template <class F>
  static void go(F f) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    auto* const boxed = new F(std::move(f));
    const auto start = [](void* p) -> void* {
      auto* const fn = static_cast<F*>(p);
      (*fn)();
      delete fn;
      return nullptr;
    };
    if (pthread_create(&thread, &attr, start, boxed) != 0) abort();
    pthread_attr_destroy(&attr);
  }
  static void yield() { sched_yield(); }
  static void sleep_until(int64_t ns) {
    const timespec t = {ns / 1'000'000'000, ns % 1'000'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr);
  }
  static void sleep_ns(int64_t ns) {
    const timespec t = {ns / 1'000'000'000, ns % 1'000'000'000};
    nanosleep(&t, nullptr);
  }
  static void block_ns(int64_t ns) { sleep_ns(ns); }
};

using Backend = ThreadsBackend;

#endif
