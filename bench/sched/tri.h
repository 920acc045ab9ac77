// tri.h - The backend of this library, through its C ABI alone: tri/sched.h, tri/chan.h, tri/sync.h.
#ifndef TRI_BENCH_SCHED_TRI_H
#define TRI_BENCH_SCHED_TRI_H

#include <time.h>
#include <tri.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

/// A benchmark that goes on after an error measures nothing.
inline void must(int result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "%s: %d\n", what, result);
  exit(1);
}

struct TriBackend {
  static constexpr bool kIsThreads = false;
  static constexpr bool kHasSelect = true;
  static constexpr bool kHasTimers = true;
  static constexpr bool kIsPreemptive = true;
  static constexpr bool kHasBlocking = true;
  static constexpr size_t kMaxTasks = 10'000'000;

  template <class T>
  class Chan {
   public:
    explicit Chan(size_t capacity) : chan_(tri_chan_new(sizeof(T), capacity)) {
      if (chan_ == nullptr) abort();
    }
    ~Chan() { tri_chan_unref(chan_); }
    Chan(const Chan&) = delete;
    Chan& operator=(const Chan&) = delete;

    void send(T v) { must(tri_chan_send(chan_, &v, TRI_FOREVER), "send"); }
    bool recv(T* out) { return tri_chan_recv(chan_, out, TRI_FOREVER) == 0; }
    void close() { tri_chan_close(chan_); }
    tri_chan* get() const { return chan_; }

   private:
    tri_chan* chan_;
  };

  class Mutex {
   public:
    void lock() { tri_mutex_lock(&mutex_); }
    void unlock() { tri_mutex_unlock(&mutex_); }

   private:
    tri_mutex mutex_ = {};
  };

  class WaitGroup {
   public:
    void add(int n) { tri_wg_add(&wg_, n); }
    void done() { tri_wg_done(&wg_); }
    void wait() { must(tri_wg_wait(&wg_, TRI_FOREVER), "wait"); }

   private:
    tri_wg wg_ = {};
  };

  class Timer {
   public:
    void start(int64_t when, void (*fn)(void*), void* arg) {
      must(tri_timer_start(&timer_, when, 0, fn, arg), "timer");
    }

   private:
    tri_timer timer_ = TRI_TIMER_INIT;
  };

  static void run(unsigned procs, void (*fn)()) {
    tri_procs(static_cast<int>(procs));
    must(tri_main([](void* p) { reinterpret_cast<void (*)()>(p)(); }, reinterpret_cast<void*>(fn)), "main");
  }
  template <class F>
  static void go(const F& f) {
    static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= 128);
    must(tri_go_copy([](void* p) { (*static_cast<F*>(p))(); }, &f, sizeof f), "go");
  }
  static void yield() { tri_yield(); }
  static void sleep_ns(int64_t ns) { tri_sleep(ns); }
  static void sleep_until(int64_t ns) { tri_sleep_until(ns); }
  static void block_ns(int64_t ns) {
    const timespec t = {ns / 1'000'000'000, ns % 1'000'000'000};
    tri_blocking_begin();
    nanosleep(&t, nullptr);
    tri_blocking_end();
  }
  template <class T>
  static void select4(Chan<T>* const (&chans)[4], T* out) {
    tri_case cases[] = {TRI_RECV(chans[0]->get(), out), TRI_RECV(chans[1]->get(), out), TRI_RECV(chans[2]->get(), out),
                        TRI_RECV(chans[3]->get(), out)};
    must(tri_select(cases, 4, TRI_FOREVER), "select");
  }
};

using Backend = TriBackend;

#endif
