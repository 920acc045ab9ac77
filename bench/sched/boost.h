// boost.h - The backend of Boost.Fiber: one scheduler per thread, and work stealing between them when there are more than one.
// It has no select, no preemption, and nothing for calls that block.
#ifndef TRI_BENCH_SCHED_BOOST_H
#define TRI_BENCH_SCHED_BOOST_H

#include <boost/fiber/all.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

struct BoostBackend {
  static constexpr bool kIsThreads = false;
  static constexpr bool kHasSelect = false;
  static constexpr bool kHasTimers = false;
  static constexpr bool kIsPreemptive = false;
  static constexpr bool kHasBlocking = false;
  // A fiber takes 9 KiB at least, and a million of them more than many machines have.
  static constexpr size_t kMaxTasks = 100'000;

  template <class T>
  class Chan {
   public:
    explicit Chan(size_t capacity) {
      if (capacity == 0) {
        direct_ = std::make_unique<boost::fibers::unbuffered_channel<T>>();
      } else {
        buffered_ = std::make_unique<boost::fibers::buffered_channel<T>>(capacity);
      }
    }
    void send(T v) {
      if (direct_) {
        direct_->push(v);
      } else {
        buffered_->push(v);
      }
    }
    bool recv(T* out) {
      return (direct_ ? direct_->pop(*out) : buffered_->pop(*out)) == boost::fibers::channel_op_status::success;
    }
    void close() {
      if (direct_) {
        direct_->close();
      } else {
        buffered_->close();
      }
    }

   private:
    std::unique_ptr<boost::fibers::unbuffered_channel<T>> direct_;
    std::unique_ptr<boost::fibers::buffered_channel<T>> buffered_;
  };
  using Mutex = boost::fibers::mutex;

  class WaitGroup {
   public:
    void add(int n) {
      std::unique_lock<boost::fibers::mutex> guard(lock_);
      count_ += n;
    }
    void done() {
      std::unique_lock<boost::fibers::mutex> guard(lock_);
      if (--count_ == 0) zero_.notify_all();
    }
    void wait() {
      std::unique_lock<boost::fibers::mutex> guard(lock_);
      while (count_ != 0) zero_.wait(guard);
    }

   private:
    boost::fibers::mutex lock_;
    boost::fibers::condition_variable zero_;
    int count_ = 0;
  };

  static void run(unsigned procs, void (*fn)()) {
    if (procs == 1) return fn();
    std::vector<std::thread> others;
    boost::fibers::mutex lock;
    boost::fibers::condition_variable ended;
    bool is_over = false;
    for (unsigned i = 1; i < procs; ++i) {
      others.emplace_back([&, procs] {
        boost::fibers::use_scheduling_algorithm<boost::fibers::algo::work_stealing>(procs);
        std::unique_lock<boost::fibers::mutex> guard(lock);
        while (!is_over) ended.wait(guard);
      });
    }
    boost::fibers::use_scheduling_algorithm<boost::fibers::algo::work_stealing>(procs);
    fn();
    {
      std::unique_lock<boost::fibers::mutex> guard(lock);
      is_over = true;
    }
    ended.notify_all();
    for (std::thread& t : others) t.join();
  }
  template <class F>
  static void go(F f) {
    boost::fibers::fiber(std::allocator_arg, boost::fibers::fixedsize_stack(16 * 1024), std::move(f)).detach();
  }
  static void yield() { boost::this_fiber::yield(); }
  static void sleep_ns(int64_t ns) { boost::this_fiber::sleep_for(std::chrono::nanoseconds(ns)); }
  static void sleep_until(int64_t ns) {
    boost::this_fiber::sleep_until(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns)));
  }
  static void block_ns(int64_t) {}
};

using Backend = BoostBackend;

#endif
