// sched_stress.cc - Everything that the scheduler does, at once, and with nothing in between: hangs, growth and wrong results end it.
//
//   sched_stress --seconds 20 --seed N [--patience N] [--only NAME]
//
// Each activity (sched/work.h) has workers that do round after round of it: goroutines, and a plain thread. Phases of a second or so let all of
// them run, or a few, or one, so that processors, keepers and sysmon go to sleep and are woken again; the number of processors
// changes all the time. A plain thread watches: a worker that may run and finishes no round while the process computes for `patience` seconds is a
// hang, as is one that finishes none for ten times as long while it hardly computes. The watch
// then tells what all tasks do, and aborts. It also looks at what the process holds, which must not grow.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <ctime>
#include <memory>

#include "options.h"
#include "sched/work.h"

namespace stress {
namespace {

constexpr Activity kActivities[] = {
    {"tree", tree},
    {"burst", burst},
    {"hog", hog},
    {"blocking", blocking},
    {"outsiders", outsiders},
    {"stdio", stdio},
    {"pipeline", pipeline},
    {"choose", choose},
    {"cancel", cancel},
    {"mutexes", mutexes},
    {"rwlocks", rwlocks},
    {"conditions", conditions},
    {"semaphores", semaphores},
    {"waitgroups", waitgroups},
    {"pools", pools},
    {"cmaps", cmaps},
    {"maps", maps},
    {"slices", slices},
    {"churn", churn},
    {"timers", timers},
    {"sleeps", sleeps},
    {"echo", echo},
    {"datagrams", datagrams},
    {"expire", expire},
    {"close_waited", close_waited},
    {"files", files},
#if !STRESS_TSAN  // which allows no threads in a forked child
    {"forks", forks},
#endif
};
constexpr size_t kKinds = sizeof kActivities / sizeof *kActivities;
constexpr size_t kTasksEach = 2;

struct Worker {
  const Activity* activity = nullptr;
  uint64_t seed = 0;
  bool is_thread = false;
  std::atomic<uint64_t> rounds{0};
  std::atomic<bool> ended{false};
  // The watchdog's: what it saw last, and how long ago, by both clocks.
  uint64_t seen = 0;
  double still = 0;
  double still_computing = 0;
};

std::vector<std::unique_ptr<Worker>> g_workers;
std::atomic<bool> g_stop{false};

// Who may run: under the mutex, which those wait with who may not.
tri_mutex g_gate = {};
tri_cond g_opened = {};
std::atomic<uint64_t> g_may_run{~uint64_t{0}};  // bit of the activity

bool may_run(const Worker& w) { return (g_may_run.load() >> (w.activity - kActivities) & 1) != 0; }

void open_gate(uint64_t mask) {
  tri_mutex_lock(&g_gate);
  g_may_run = mask;
  tri_cond_broadcast(&g_opened);
  tri_mutex_unlock(&g_gate);
}

void work(Worker& w) {
  Random random(w.seed);
  while (!g_stop) {
    if (!may_run(w)) {
      tri_mutex_lock(&g_gate);
      while (!may_run(w) && !g_stop) STRESS_EQ(tri_cond_wait(&g_opened, &g_gate, TRI_FOREVER), 0);
      tri_mutex_unlock(&g_gate);
      continue;
    }
    w.activity->round(random);
    ++w.rounds;
  }
  w.ended = true;
}

// ---- phases -----------------------------------------------------------------------------------------------------

void nap(long milliseconds) {
  timespec t{milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  nanosleep(&t, nullptr);
}

/// By a plain thread: the number of processors, all the time; who may run, every second or so.
void direct(Random random, const std::vector<size_t>& kinds) {
  uint64_t all = 0;
  for (const size_t k : kinds) all |= uint64_t{1} << k;
  long left = 0;
  while (!g_stop) {
    STRESS_CHECK(tri_procs(1 + static_cast<int>(random.below(8))) >= 1);
    const auto pause = static_cast<long>(1 + random.below(50));
    nap(pause);
    if ((left -= pause) > 0) continue;
    left = static_cast<long>(100 + random.below(1500));
    // A phase in three has everything in it; the others a few, or nothing at all.
    uint64_t chosen = 0;
    for (size_t n = random.below(6); n != 0; --n) chosen |= uint64_t{1} << kinds[random.below(kinds.size())];
    open_gate(random.one_in(3) ? all : chosen);
  }
}

// ---- growth -----------------------------------------------------------------------------------------------------

struct Holdings {
  long resident_kib = 0;
  long threads = 0;
  long descriptors = 0;

  void raise(const Holdings& other) {
    resident_kib = std::max(resident_kib, other.resident_kib);
    threads = std::max(threads, other.threads);
    descriptors = std::max(descriptors, other.descriptors);
  }
};

long entries(const char* path) {
  DIR* const d = opendir(path);
  STRESS_CHECK(d != nullptr);
  long n = 0;
  while (const dirent* e = readdir(d)) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

Holdings holdings() {
  Holdings h;
  FILE* const f = fopen("/proc/self/statm", "re");
  STRESS_CHECK(f != nullptr);
  long size = 0;
  long pages = 0;
  STRESS_EQ(fscanf(f, "%ld %ld", &size, &pages), 2);
  fclose(f);
  h.resident_kib = pages * (sysconf(_SC_PAGESIZE) / 1024);
  h.threads = entries("/proc/self/task");
  h.descriptors = entries("/proc/self/fd") - 1;
  return h;
}

/// Fails if the most of the end is well above the most of the beginning. What may differ by chance: a peak of one activity that
/// the beginning did not have; at most half as much again, and some.
void expect_no_growth(const Holdings& first, const Holdings& last) {
  printf("at first: %ld MiB, %ld threads, %ld descriptors; at the end: %ld MiB, %ld threads, %ld descriptors\n",
         first.resident_kib / 1024, first.threads, first.descriptors, last.resident_kib / 1024, last.threads,
         last.descriptors);
  STRESS_CHECK(last.threads <= first.threads * 3 / 2 + 20);
  STRESS_CHECK(last.descriptors <= first.descriptors * 3 / 2 + 50);
  // A sanitizer keeps more and more of its own. A short run's beginning may be over before the large activities have begun: 20 to 50 MiB,
  // where a minute's end has 65.
  if (!STRESS_TSAN) STRESS_CHECK(last.resident_kib <= first.resident_kib * 3 / 2 + 48 * 1024);
}

// ---- the watch --------------------------------------------------------------------------------------------------

double seconds_by(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

void watch(long seconds, long patience) {
  Holdings first;
  Holdings last;
  double at = seconds_by(CLOCK_MONOTONIC);
  double computed = seconds_by(CLOCK_PROCESS_CPUTIME_ID);
  const long early = std::min(60L, seconds / 3);
  double overtime = 0;
  for (long second = 0;; ++second) {
    nap(1000);
    const double passed = seconds_by(CLOCK_MONOTONIC) - at;
    // A round may take hundreds of turns of all tasks. On a machine with others, that is a matter of the share that we get: so all of its
    // processors for a second are a second of computing.
    const double used = seconds_by(CLOCK_PROCESS_CPUTIME_ID) - computed;
    const double worked = used / static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
    at += passed;
    computed += used;
    bool all_ended = true;
    for (const auto& w : g_workers) {
      all_ended = all_ended && w->ended;
      const uint64_t rounds = w->rounds;
      const bool moves = rounds != w->seen || w->ended || (!may_run(*w) && !g_stop);
      w->seen = rounds;
      w->still = moves ? 0 : w->still + passed;
      w->still_computing = moves ? 0 : w->still_computing + worked;
      if (w->still_computing < static_cast<double>(patience) && w->still < 10 * static_cast<double>(patience)) continue;
      char text[160];
      (void)snprintf(text, sizeof text, "no progress of %s (%s) for %.0f seconds, %.0f of computing", w->activity->name,
                     w->is_thread ? "thread" : "goroutine", w->still, w->still_computing);
      give_up(text);
    }
    if (all_ended) break;
    if (g_stop && (overtime += worked) > 3 * static_cast<double>(patience)) give_up("the rest does not end");
    if (second < early) first.raise(holdings());
    if (second >= 2 * early && second < seconds) last.raise(holdings());
    if (second + 1 >= seconds) {
      if (!g_stop.exchange(true)) open_gate(0);
    }
  }
  expect_no_growth(first, last);
}

size_t find_activity(const char* name) {
  for (size_t i = 0; i < kKinds; ++i) {
    if (strcmp(kActivities[i].name, name) == 0) return i;
  }
  fprintf(stderr, "no such activity: %s\n", name);
  exit(2);
}

void raise_descriptor_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace stress

int main(int argc, char** argv) {
  using namespace stress;
  const Options options(argc, argv);
  Random random(options.seed);
  raise_descriptor_limit();
  std::vector<size_t> kinds;
  for (size_t k = 0; k < kKinds; ++k) {
    if (options.only == nullptr || k == find_activity(options.only)) kinds.push_back(k);
  }
  for (const size_t k : kinds) {
    for (size_t i = 0; i <= kTasksEach; ++i) {
      auto& w = g_workers.emplace_back(std::make_unique<Worker>());
      w->activity = &kActivities[k];
      w->seed = random.next();
      w->is_thread = i == kTasksEach;
    }
  }
  std::vector<std::thread> threads;
  std::vector<tri_task> tasks;
  for (const auto& w : g_workers) {
    if (w->is_thread) {
      threads.emplace_back([&worker = *w] { work(worker); });
      continue;
    }
    tri_attr attributes = {};
    attributes.size = sizeof attributes;
    attributes.name = w->activity->name;
    attributes.stack_size = size_t{STRESS_TSAN ? 1024 : 256} << 10;
    const auto run = [](void* p) { work(*static_cast<Worker*>(p)); };
    STRESS_EQ(tri_spawn(&tasks.emplace_back(), run, w.get(), &attributes), 0);
  }
  std::thread director(direct, Random(random.next()), kinds);
  watch(options.seconds, options.patience);
  for (const tri_task t : tasks) STRESS_EQ(tri_join(t, TRI_FOREVER), 0);
  for (std::thread& t : threads) t.join();
  director.join();
  STRESS_EQ(g_members.load(), 0);
  for (const size_t k : kinds) {
    uint64_t rounds = 0;
    for (const auto& w : g_workers) rounds += w->activity == &kActivities[k] ? w->rounds.load() : 0;
    printf("%s %lu%s", kActivities[k].name, static_cast<unsigned long>(rounds), k == kinds.back() ? "\n" : ", ");
  }
  return 0;
}
