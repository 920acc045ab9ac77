// micro.cc - What a goroutine costs: to switch, to start and end, to wait. Through the C ABI alone.
//
// Usage: micro PROCS TEST...    yield spawn parked=N sleepers=N
// Prints "test name value unit", best of five for times. go/micro.go is the same in Go.
#include <tri.h>

#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

double seconds() { return static_cast<double>(tri_now()) * 1e-9; }

double cpu_seconds() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/// A field of /proc/self/status, in bytes.
double status(const char* field) {
  FILE* const f = fopen("/proc/self/status", "r");
  char line[256];
  double kib = 0;
  while (fgets(line, sizeof line, f) != nullptr) {
    if (strncmp(line, field, strlen(field)) == 0) kib = atof(strchr(line, ':') + 1);
  }
  fclose(f);
  return kib * 1024;
}

constexpr int kRepeats = 5;

// ---- yield: two goroutines give way to each other ---------------------------------------------------------------------

constexpr int kYields = 5'000'000;

void yielder(void*) {
  for (int i = 0; i < kYields; ++i) tri_yield();
}

double run_yield() {
  const double start = seconds();
  tri_task a;
  tri_task b;
  tri_spawn(&a, yielder, nullptr, nullptr);
  tri_spawn(&b, yielder, nullptr, nullptr);
  tri_join(a, TRI_FOREVER);
  tri_join(b, TRI_FOREVER);
  return (seconds() - start) / (2.0 * kYields) * 1e9;
}

// ---- spawn: batches of goroutines that do nothing ------------------------------------------------------------------------

constexpr int kBatch = 100;
constexpr int kBatches = 20'000;
std::atomic<int> left;
std::atomic<int> plain_left;

void nothing(void*) { left.store(left.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed); }
void nothing_shared(void*) { left.fetch_sub(1, std::memory_order_relaxed); }

double run_spawn() {
  const bool alone = tri_procs(0) == 1;
  const double start = seconds();
  for (int b = 0; b < kBatches; ++b) {
    left.store(kBatch, std::memory_order_relaxed);
    for (int i = 0; i < kBatch; ++i) tri_go(alone ? nothing : nothing_shared, nullptr);
    while (left.load(std::memory_order_relaxed) != 0) tri_yield();
  }
  return (seconds() - start) / (double{kBatch} * kBatches) * 1e9;
}

// ---- parked and sleepers: many that wait ---------------------------------------------------------------------------------

std::atomic<long> arrived;
tri_time wake_at;

void sleeper(void*) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  tri_sleep_until(wake_at);
  arrived.fetch_sub(1, std::memory_order_relaxed);
}

void parker(void*) {
  arrived.fetch_add(1, std::memory_order_relaxed);
  tri_sleep_until(TRI_FOREVER);
}

void run_parked(long n) {
  arrived = 0;
  const double rss = status("VmRSS");
  const double tables = status("VmPTE");
  const double start = seconds();
  for (long i = 0; i < n; ++i) {
    if (tri_go(parker, nullptr) != 0) return;
    if (i % 100 == 0) tri_yield();
  }
  while (arrived < n) tri_yield();
  const double ns = (seconds() - start) / static_cast<double>(n) * 1e9;
  printf("parked.start %ld %.0f ns\n", n, ns);
  printf("parked.rss %ld %.0f bytes\n", n, (status("VmRSS") - rss) / static_cast<double>(n));
  printf("parked.tables %ld %.0f bytes\n", n, (status("VmPTE") - tables) / static_cast<double>(n));
}

void run_sleepers(long n) {
  arrived = 0;
  const double rss = status("VmRSS");
  const double start = cpu_seconds();
  wake_at = tri_after(TRI_S(5));
  for (long i = 0; i < n; ++i) {
    if (tri_go(sleeper, nullptr) != 0) return;
    if (i % 100 == 0) tri_yield();
  }
  while (arrived < n) tri_yield();
  printf("sleepers.rss %ld %.0f bytes\n", n, (status("VmRSS") - rss) / static_cast<double>(n));
  while (arrived > 0) tri_sleep(TRI_MS(10));
  printf("sleepers.cpu %ld %.0f ns\n", n, (cpu_seconds() - start) / static_cast<double>(n) * 1e9);
  printf("sleepers.late %ld %.1f ms\n", n, static_cast<double>(tri_now() - wake_at) * 1e-6);
}

template <class Fn>
void best(const char* name, const char* unit, Fn&& fn) {
  double least = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const double x = fn();
    if (x < least) least = x;
  }
  printf("%s %d %.2f %s\n", name, tri_procs(0), least, unit);
}

int count;
char** words;

void run(void*) {
  for (int i = 2; i < count; ++i) {
    const char* const w = words[i];
    if (strcmp(w, "yield") == 0) best("yield", "ns", run_yield);
    if (strcmp(w, "spawn") == 0) best("spawn", "ns", run_spawn);
    if (strncmp(w, "parked=", 7) == 0) run_parked(atol(w + 7));
    if (strncmp(w, "sleepers=", 9) == 0) run_sleepers(atol(w + 9));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  tri_procs(atoi(argv[1]));
  count = argc;
  words = argv;
  return tri_main(run, nullptr) == 0 ? 0 : 1;
}
