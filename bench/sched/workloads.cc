// workloads.cc - What a scheduler is asked to do, once for all that have a C or C++ interface.
//
// Compiled once for each backend: BENCH_BACKEND is a header with the class Backend (see tri.h here for the fullest one),
// which has tasks, channels, a mutex and a wait group. go/main.go holds the same workloads for Go: whoever changes one
// changes the other.
//
//   workload NAME [--procs N] [--scale S]      prints lines {"workload": ..., "procs": N, "value": V, "unit": ...}
//
// All values are costs: less is better. One process per measurement, so that no workload inherits the heap or the threads of
// another.
#include BENCH_BACKEND

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

unsigned procs = 1;
double scale = 1.0;

// ---- measuring ------------------------------------------------------------------------------------------------

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

int64_t cpu_ns() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000'000LL + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000LL;
}

/// Resident memory and the page tables that it needs.
int64_t memory_bytes() {
  FILE* const f = fopen("/proc/self/status", "r");
  if (f == nullptr) return 0;
  char line[200];
  long long rss = 0;
  long long tables = 0;
  while (fgets(line, sizeof line, f) != nullptr) {
    sscanf(line, "VmRSS: %lld", &rss);
    sscanf(line, "VmPTE: %lld", &tables);
  }
  fclose(f);
  return (rss + tables) * 1024;
}

void report(const char* workload, double value, const char* unit) {
  printf("{\"workload\": \"%s\", \"procs\": %u, \"value\": %.6g, \"unit\": \"%s\"}\n", workload, procs, value, unit);
  fflush(stdout);
}

/// n at scale 1, and never none.
size_t scaled(size_t n) { return std::max<size_t>(1, static_cast<size_t>(static_cast<double>(n) * scale)); }

class Timed {
 public:
  void per(const char* workload, size_t n) const {
    report(workload, static_cast<double>(now_ns() - start_) / static_cast<double>(n), "ns");
  }

 private:
  int64_t start_ = now_ns();
};

/// Work that no compiler removes and no scheduler can interrupt by itself.
uint64_t spin(uint64_t steps) {
  uint64_t x = 88172645463325252;
  for (uint64_t i = 0; i < steps; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    asm volatile("" : "+r"(x));
  }
  return x;
}

using Chan = Backend::Chan<int64_t>;
using WaitGroup = Backend::WaitGroup;

// ---- switching and spawning -----------------------------------------------------------------------------------

// Two tasks for each processor pass it to each other.
void yield_() {
  const unsigned tasks = 2 * procs;
  const size_t each = scaled(2'000'000) / tasks;
  WaitGroup done;
  done.add(static_cast<int>(tasks));
  const Timed timed;
  for (unsigned t = 0; t < tasks; ++t) {
    Backend::go([each, &done] {
      for (size_t i = 0; i < each; ++i) Backend::yield();
      done.done();
    });
  }
  done.wait();
  timed.per("switch", each * tasks);
}

// A hundred at a time: what one request fans out to.
void spawn() {
  constexpr size_t kBatch = 100;
  const size_t rounds = scaled(Backend::kIsThreads ? 200 : 5000);
  WaitGroup done;
  const Timed timed;
  for (size_t r = 0; r < rounds; ++r) {
    done.add(kBatch);
    for (size_t i = 0; i < kBatch; ++i) Backend::go([&done] { done.done(); });
    done.wait();
  }
  timed.per("spawn", rounds * kBatch);
}

// ---- channels -------------------------------------------------------------------------------------------------

void ping_pong(const char* name, size_t capacity, unsigned pairs) {
  const size_t each = scaled(Backend::kIsThreads ? 50'000 : 1'000'000) / pairs;
  struct Pair {
    explicit Pair(size_t n) : there(n), back(n) {}
    Chan there;
    Chan back;
  };
  std::vector<std::unique_ptr<Pair>> all;
  for (unsigned i = 0; i < pairs; ++i) all.push_back(std::make_unique<Pair>(capacity));
  WaitGroup done;
  done.add(static_cast<int>(2 * pairs));
  const Timed timed;
  for (auto& pair : all) {
    Pair* const p = pair.get();
    Backend::go([p, each, &done] {
      int64_t v = 0;
      for (size_t i = 0; i < each; ++i) {
        p->there.recv(&v);
        p->back.send(v + 1);
      }
      done.done();
    });
    Backend::go([p, each, &done] {
      int64_t v = 0;
      for (size_t i = 0; i < each; ++i) {
        p->there.send(v);
        p->back.recv(&v);
      }
      done.done();
    });
  }
  done.wait();
  timed.per(name, each * pairs);
}

void produce_consume(const char* name, size_t capacity) {
  const size_t n = scaled(Backend::kIsThreads ? 100'000 : 2'000'000);
  Chan chan(capacity);
  WaitGroup done;
  done.add(2);
  const Timed timed;
  Backend::go([&chan, n, &done] {
    for (size_t i = 0; i < n; ++i) chan.send(static_cast<int64_t>(i));
    chan.close();
    done.done();
  });
  Backend::go([&chan, &done] {
    int64_t v;
    int64_t sum = 0;
    while (chan.recv(&v)) sum += v;
    done.done();
  });
  done.wait();
  timed.per(name, n);
}

// A thousand tasks in a circle, one token.
void ring() {
  const size_t tasks = Backend::kIsThreads ? 100 : 1000;
  const size_t rounds = scaled(Backend::kIsThreads ? 100 : 1000);
  std::vector<std::unique_ptr<Chan>> chans;
  for (size_t i = 0; i < tasks; ++i) chans.push_back(std::make_unique<Chan>(0));
  WaitGroup done;
  done.add(static_cast<int>(tasks));
  const Timed timed;
  for (size_t i = 0; i < tasks; ++i) {
    Chan* const in = chans[i].get();
    Chan* const out = chans[(i + 1) % tasks].get();
    Backend::go([in, out, rounds, i, &done] {
      int64_t v = 0;
      for (size_t r = 0; r < rounds; ++r) {
        if (i == 0) {
          out->send(v);
          in->recv(&v);
        } else {
          in->recv(&v);
          out->send(v + 1);
        }
      }
      done.done();
    });
  }
  done.wait();
  timed.per("ring", tasks * rounds);
}

// ---- trees ----------------------------------------------------------------------------------------------------

// A tree of tasks, ten children each, whose leaves send their numbers up. github.com/atemerev/skynet
void skynet_node(Chan* up, int64_t number, size_t size) {
  if (size == 1) {
    up->send(number);
    return;
  }
  Chan chan(0);
  for (int64_t i = 0; i < 10; ++i) {
    Chan* const c = &chan;
    const size_t part = size / 10;
    const int64_t child = number + i * static_cast<int64_t>(part);
    Backend::go([c, child, part] { skynet_node(c, child, part); });
  }
  int64_t sum = 0;
  for (int i = 0; i < 10; ++i) {
    int64_t v = 0;
    chan.recv(&v);
    sum += v;
  }
  up->send(sum);
}

void skynet() {
  size_t leaves = 10;
  while (leaves * 10 <= scaled(1'000'000)) leaves *= 10;
  Chan root(0);
  Chan* const up = &root;
  const Timed timed;
  Backend::go([up, leaves] { skynet_node(up, 0, leaves); });
  int64_t sum = 0;
  root.recv(&sum);
  timed.per("skynet", leaves);
  const auto n = static_cast<int64_t>(leaves);
  if (sum != n * (n - 1) / 2) abort();
}

// Fork one half, do the other, join: what stealing is for.
int64_t fib(int n) {
  if (n < 2) return n;
  int64_t left = 0;
  WaitGroup done;
  done.add(1);
  Backend::go([n, &left, &done] {
    left = fib(n - 1);
    done.done();
  });
  const int64_t right = fib(n - 2);
  done.wait();
  return left + right;
}

void fork_join() {
  const int n = 20;
  const size_t rounds = scaled(20);
  WaitGroup done;
  const Timed timed;
  for (size_t i = 0; i < rounds; ++i) {
    done.add(1);
    Backend::go([&done] {
      if (fib(n) != 6765) abort();
      done.done();
    });
    done.wait();
  }
  timed.per("fork-join", rounds * 10945);
}

// ---- waiting --------------------------------------------------------------------------------------------------

void mutex() {
  const unsigned tasks = 4 * procs;
  const size_t each = scaled(4'000'000) / tasks;
  Backend::Mutex lock;
  uint64_t count = 0;
  WaitGroup done;
  done.add(static_cast<int>(tasks));
  const Timed timed;
  for (unsigned t = 0; t < tasks; ++t) {
    Backend::go([each, &lock, &count, &done] {
      for (size_t i = 0; i < each; ++i) {
        lock.lock();
        ++count;
        lock.unlock();
      }
      done.done();
    });
  }
  done.wait();
  timed.per("mutex", each * tasks);
  if (count != each * tasks) abort();
}

// A template, so that what a backend does not have is not compiled.
template <class B>
void select4(const char* name, size_t capacity) {
  if constexpr (B::kHasSelect) {
    const size_t each = scaled(1'000'000) / 4;
    std::vector<std::unique_ptr<Chan>> chans;
    for (int i = 0; i < 4; ++i) chans.push_back(std::make_unique<Chan>(capacity));
    WaitGroup done;
    done.add(5);
    const Timed timed;
    for (auto& chan : chans) {
      Chan* const c = chan.get();
      Backend::go([c, each, &done] {
        for (size_t i = 0; i < each; ++i) c->send(1);
        done.done();
      });
    }
    Backend::go([&chans, each, &done] {
      Chan* const four[4] = {chans[0].get(), chans[1].get(), chans[2].get(), chans[3].get()};
      int64_t sum = 0;
      for (size_t i = 0; i < 4 * each; ++i) {
        int64_t v = 0;
        B::select4(four, &v);
        sum += v;
      }
      if (sum != static_cast<int64_t>(4 * each)) abort();
      done.done();
    });
    done.wait();
    timed.per(name, 4 * each);
  }
}

// n tasks wait on a channel each for nothing; then all are woken.
void parked(const char* label, size_t n) {
  WaitGroup done;
  done.add(static_cast<int>(n));
  Chan gate(0);
  std::atomic<size_t> started{0};
  const int64_t before = memory_bytes();
  int64_t start = now_ns();
  for (size_t i = 0; i < n; ++i) {
    Backend::go([&] {
      started.fetch_add(1, std::memory_order_relaxed);
      int64_t v;
      gate.recv(&v);
      done.done();
    });
  }
  while (started.load(std::memory_order_relaxed) != n) Backend::sleep_ns(1'000'000);
  const auto count = static_cast<double>(n);
  report((std::string("park-") + label).c_str(), static_cast<double>(now_ns() - start) / count, "ns");
  report((std::string("parked-bytes-") + label).c_str(), static_cast<double>(memory_bytes() - before) / count, "B");
  start = now_ns();
  gate.close();
  done.wait();
  report((std::string("wake-") + label).c_str(), static_cast<double>(now_ns() - start) / count, "ns");
}

// n tasks sleep, each until its own moment.
void sleepers() {
  const size_t n = scaled(1'000'000);
  WaitGroup done;
  done.add(static_cast<int>(n));
  std::atomic<size_t> started{0};
  const int64_t before = memory_bytes();
  const int64_t cpu = cpu_ns();
  const int64_t first = now_ns() + 4'000'000'000;
  for (size_t i = 0; i < n; ++i) {
    Backend::go([&, i] {
      started.fetch_add(1, std::memory_order_relaxed);
      // Spread over a second, in no order.
      Backend::sleep_until(first + static_cast<int64_t>(i * 7919 % n * 1000));
      done.done();
    });
  }
  while (started.load(std::memory_order_relaxed) != n) Backend::sleep_ns(1'000'000);
  const auto count = static_cast<double>(n);
  report("sleeper-bytes", static_cast<double>(memory_bytes() - before) / count, "B");
  done.wait();
  report("sleeper-cpu", static_cast<double>(cpu_ns() - cpu) / count, "ns");
}

// n timers that call a function, and no task each.
template <class B>
void timers() {
  if constexpr (B::kHasTimers) {
    const size_t n = scaled(1'000'000);
    std::atomic<size_t> fired{0};
    const int64_t before = memory_bytes();
    std::vector<typename B::Timer> all(n);
    const int64_t cpu = cpu_ns();
    const int64_t first = now_ns() + 2'000'000'000;
    for (size_t i = 0; i < n; ++i) {
      all[i].start(
          first + static_cast<int64_t>(i * 7919 % n * 1000),
          [](void* p) { static_cast<std::atomic<size_t>*>(p)->fetch_add(1, std::memory_order_relaxed); }, &fired);
    }
    const auto count = static_cast<double>(n);
    report("timer-bytes", static_cast<double>(memory_bytes() - before) / count, "B");
    while (fired.load(std::memory_order_relaxed) != n) Backend::sleep_ns(10'000'000);
    report("timer-cpu", static_cast<double>(cpu_ns() - cpu) / count, "ns");
  }
}

// ---- beside those who do not wait -----------------------------------------------------------------------------

double percentile(std::vector<double>& values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(static_cast<double>(values.size() - 1) * part)];
}

// A ticker of a millisecond beside as many loops that never yield as there are processors.
void ticker() {
  if constexpr (Backend::kIsPreemptive) {
    const size_t ticks = scaled(2000);
    std::atomic<bool> stop{false};
    WaitGroup done;
    done.add(static_cast<int>(procs));
    for (unsigned i = 0; i < procs; ++i) {
      Backend::go([&stop, &done] {
        while (!stop.load(std::memory_order_relaxed)) spin(1000);
        done.done();
      });
    }
    std::vector<double> late;
    int64_t next = now_ns();
    for (size_t i = 0; i < ticks; ++i) {
      next += 1'000'000;
      Backend::sleep_until(next);
      const int64_t now = now_ns();
      late.push_back(static_cast<double>(now - next) / 1000);
      // Ticks that were missed are not made up for.
      if (now - next > 1'000'000) next = now;
    }
    stop.store(true, std::memory_order_relaxed);
    done.wait();
    report("ticker-p50", percentile(late, 0.5), "us");
    report("ticker-p99", percentile(late, 0.99), "us");
  }
}

// A computation beside a hundred tasks that are in the kernel most of the time: how much longer it takes than alone.
void blocking() {
  if constexpr (Backend::kHasBlocking) {
    const auto steps = static_cast<uint64_t>(scaled(300'000'000));
    int64_t start = now_ns();
    spin(steps);
    const auto alone = static_cast<double>(now_ns() - start);
    std::atomic<bool> stop{false};
    WaitGroup done;
    done.add(100);
    for (int i = 0; i < 100; ++i) {
      Backend::go([&stop, &done] {
        while (!stop.load(std::memory_order_relaxed)) Backend::block_ns(10'000'000);
        done.done();
      });
    }
    WaitGroup computed;
    computed.add(1);
    start = now_ns();
    Backend::go([&computed, steps] {
      spin(steps);
      computed.done();
    });
    computed.wait();
    report("blocking", static_cast<double>(now_ns() - start) / alone, "x");
    stop.store(true, std::memory_order_relaxed);
    done.wait();
  }
}

// ---- which ----------------------------------------------------------------------------------------------------

struct Workload {
  const char* name;
  bool is_there;
  void (*run)();
};

constexpr bool kTasks = !Backend::kIsThreads;
constexpr Workload kWorkloads[] = {
    {"switch", true, yield_},
    {"spawn", true, spawn},
    {"ping", true, [] { ping_pong("ping", 0, 1); }},
    {"ping-buffered", true, [] { ping_pong("ping-buffered", 128, 1); }},
    {"ping-pairs", true, [] { ping_pong("ping-pairs", 0, 2 * procs); }},
    {"pc", true, [] { produce_consume("pc", 0); }},
    {"pc-buffered", true, [] { produce_consume("pc-buffered", 128); }},
    {"ring", true, ring},
    {"skynet", kTasks&& Backend::kMaxTasks >= 1'000'000, skynet},
    {"fork-join", kTasks, fork_join},
    {"mutex", true, mutex},
    {"select4", Backend::kHasSelect, [] { select4<Backend>("select4", 0); }},
    {"select4-buffered", Backend::kHasSelect, [] { select4<Backend>("select4-buffered", 128); }},
    {"parked-100k", Backend::kMaxTasks >= 100'000, [] { parked("100k", 100'000); }},
    {"parked-1m", Backend::kMaxTasks >= 1'000'000, [] { parked("1m", 1'000'000); }},
    {"sleepers", Backend::kMaxTasks >= 1'000'000, sleepers},
    {"timers", Backend::kHasTimers, timers<Backend>},
    {"ticker", Backend::kIsPreemptive, ticker},
    {"blocking", Backend::kHasBlocking, blocking},
};

const Workload* chosen = nullptr;

}  // namespace

int main(int argc, char** argv) {
  const char* name = "";
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--procs") == 0 && i + 1 < argc) {
      procs = static_cast<unsigned>(atoi(argv[++i]));
    } else if (strcmp(argv[i], "--scale") == 0 && i + 1 < argc) {
      scale = atof(argv[++i]);
    } else {
      name = argv[i];
    }
  }
  if (strcmp(name, "list") == 0) {
    for (const Workload& w : kWorkloads) {
      if (w.is_there) puts(w.name);
    }
    return 0;
  }
  for (const Workload& w : kWorkloads) {
    if (w.is_there && strcmp(w.name, name) == 0) chosen = &w;
  }
  if (chosen == nullptr || procs == 0) {
    fprintf(stderr, "usage: %s WORKLOAD|list [--procs N] [--scale S]\n", argv[0]);
    return 2;
  }
  Backend::run(procs, [] { chosen->run(); });
  return 0;
}
