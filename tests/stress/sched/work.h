// work.h - What the activities of the scheduler's stress share: checks, crews of goroutines and threads, deadlines by chance.
//
// An activity is a function that does one round of something, checks what came of it, and leaves nothing behind. main.cc runs each of them in
// several workers, goroutines and plain threads, over and over. All of it goes through the public interface.
//
// Used by: the activities beside it, and sched_stress.cc.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "../slots.h"
#include "tri.h"

// Under a sanitizer the program is linked with the parts of the library, and runs less of everything.
#if defined(__SANITIZE_THREAD__)
#define STRESS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRESS_TSAN 1
#endif
#endif
#ifndef STRESS_TSAN
#define STRESS_TSAN 0
#endif

namespace stress {

/// One line, what all tasks do, and the end.
[[noreturn]] void give_up(const char* what);

template <class A, class B>
void expect_equal(const char* file, int line, const char* what, A is, B should) {
  const auto a = static_cast<long long>(is);
  const auto b = static_cast<long long>(should);
  if (a == b) return;
  char text[256];
  (void)snprintf(text, sizeof text, "%s:%d: %s: %lld, not %lld", file, line, what, a, b);
  give_up(text);
}

#define STRESS_EQ(is, should) ::stress::expect_equal(__FILE__, __LINE__, #is, (is), (should))
#define STRESS_CHECK(condition) STRESS_EQ(static_cast<bool>(condition), true)

/// Goroutines and threads that run now, of all crews.
extern std::atomic<long> g_members;

/// Goroutines, and a thread now and then, that are waited for at the end of the scope.
class Crew {
 public:
  explicit Crew(Random& random) : random_(random) {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() { join(); }

  /// Runs fn(random) somewhere.
  template <class Fn>
  void go(Fn fn) {
    if (random_.one_in(12)) return go_thread(std::move(fn));
    go_task(std::move(fn));
  }
  template <class Fn>
  void go_thread(Fn fn) {
    ++g_members;
    threads_.emplace_back([fn = std::move(fn), seed = random_.next()]() mutable {
      Random random(seed);
      fn(random);
      --g_members;
    });
  }
  template <class Fn>
  void go_task(Fn fn, size_t stack_size = 0) {
    struct Start {
      Fn fn;
      Random random;
    };
    auto* const start = new Start{std::move(fn), Random(random_.next())};
    tri_attr attributes = {};
    attributes.size = sizeof attributes;
    attributes.stack_size = stack_size != 0 ? stack_size : STRESS_TSAN ? size_t{512} << 10 : 0;
    tri_task id = 0;
    ++g_members;
    const auto run = [](void* p) {
      auto* const s = static_cast<Start*>(p);
      s->fn(s->random);
      delete s;
      --g_members;
    };
    STRESS_EQ(tri_spawn(&id, run, start, &attributes), 0);
    tasks_.push_back(id);
  }
  void join() {
    for (const tri_task t : tasks_) STRESS_EQ(tri_join(t, TRI_FOREVER), 0);
    tasks_.clear();
    for (std::thread& t : threads_) {
      tri_blocking_begin();
      t.join();
      tri_blocking_end();
    }
    threads_.clear();
  }

 private:
  Random& random_;
  std::vector<tri_task> tasks_;
  std::vector<std::thread> threads_;
};

/// Mostly none; else soon, or at once.
inline tri_time any_deadline(Random& random) {
  switch (random.below(8)) {
    case 0:
      return 0;
    case 1:
    case 2:
      return tri_after(static_cast<int64_t>(random.below(200'000)));
    default:
      return TRI_FOREVER;
  }
}

/// The call did not do it, but may be tried again.
inline bool try_again(long result) {
  if (result != -EAGAIN && result != -ETIMEDOUT) return false;
  if (result == -EAGAIN) tri_yield();
  return true;
}

/// Now and then something that makes others' timing another one.
inline void perhaps_pause(Random& random) {
  switch (random.below(40)) {
    case 0:
      return tri_yield();
    case 1:
      STRESS_EQ(tri_sleep(static_cast<int64_t>(random.below(300'000))), 0);
      return;
    case 2:
      for (size_t i = random.below(20'000); i != 0; --i) __asm__ volatile("");
      return;
    default:
      return;
  }
}

struct Activity {
  const char* name;
  void (*round)(Random& random);
};

// One function for each activity, in the file of its kind.
void tree(Random& random);  // tasks.cc
void burst(Random& random);
void hog(Random& random);
void blocking(Random& random);
void outsiders(Random& random);
void stdio(Random& random);
void pipeline(Random& random);  // channels.cc
void choose(Random& random);
void cancel(Random& random);
void mutexes(Random& random);  // locks.cc
void rwlocks(Random& random);
void conditions(Random& random);
void semaphores(Random& random);
void waitgroups(Random& random);
void pools(Random& random);  // containers.cc
void cmaps(Random& random);
void maps(Random& random);
void slices(Random& random);
void churn(Random& random);
void timers(Random& random);  // clock.cc
void sleeps(Random& random);
void echo(Random& random);  // network.cc
void datagrams(Random& random);
void expire(Random& random);
void close_waited(Random& random);
void files(Random& random);
void forks(Random& random);  // children.cc

}  // namespace stress
