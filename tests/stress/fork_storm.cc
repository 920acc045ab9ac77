// fork_storm.cc - Thousands of forks while three threads are inside malloc; a watchdog tells a hang from slowness.
//
//   fork_storm --forks 10000 --seed N
//
// Each child checks blocks of its parent, frees them, allocates and leaves. A child that does not end within ten
// seconds is a deadlock: the watchdog says which one and ends the run.
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "options.h"
#include "slots.h"

namespace stress {
namespace {

constexpr size_t kSlots = 500;
constexpr int kPatienceSeconds = 10;

Slot g_slots[kSlots];
std::atomic<bool> g_end{false};
std::atomic<long> g_fork{0};  // the fork under way
std::atomic<int> g_child{0};
std::atomic<long> g_progress{0};

size_t random_size(Random& random) {
  return random.one_in(50) ? random.below(150000) : random.below(2000);
}

Block allocate(Random& random) {
  size_t size = random_size(random);
  void* p = random.one_in(4) ? calloc(1, size) : malloc(size);
  if (p == nullptr) fail("no memory", p, size);
  write_pattern(p, size);
  return {p, size};
}

void release(Block b) {
  if (b.p != nullptr) check_pattern(b.p, b.p, b.size, b.size, "content changed before free");
  free(b.p);
}

// With a short rest now and then: three threads without one would keep two processors from the children, and the time
// of a run would tell of the scheduler.
void churn(uint64_t seed) {
  Random random(seed);
  while (!g_end.load(std::memory_order_relaxed)) {
    for (int i = 0; i < 300; ++i) release(g_slots[random.below(kSlots)].exchange(allocate(random)));
    timespec rest{0, 50000};
    nanosleep(&rest, nullptr);
  }
}

[[noreturn]] void child(Random random) {
  for (size_t i = random.below(7); i < kSlots; i += 7) release(g_slots[i].exchange({}));
  for (int i = 0; i < 20; ++i) release(allocate(random));
  _exit(0);
}

// Kills a child that hangs, and the whole run when the parent hangs inside fork itself.
void watch() {
  long seen = -1;
  int still = 0;
  while (!g_end) {
    timespec second{1, 0};
    nanosleep(&second, nullptr);
    long now = g_progress;
    still = now == seen ? still + 1 : 0;
    seen = now;
    if (still < kPatienceSeconds || g_end) continue;
    int hung = g_child;
    char text[128];
    int n = snprintf(text, sizeof text, "fork_storm: fork %ld hangs in %s\n", g_fork.load(),
                     hung != 0 ? "the child" : "the parent");
    if (write(2, text, static_cast<size_t>(n)) < 0) _exit(3);
    if (hung != 0) kill(hung, SIGKILL);
    _exit(1);
  }
}

}  // namespace
}  // namespace stress

int main(int argc, char** argv) {
  using namespace stress;
  Options options(argc, argv);
  Random random(options.seed);
  std::thread watchdog(watch);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back(churn, random.next());
  for (long i = 0; i < options.forks; ++i) {
    g_fork = i;
    pid_t pid = fork();
    if (pid < 0) fail("fork failed", nullptr, 0);
    if (pid == 0) child(Random(random.next()));
    g_child = pid;
    int status = 0;
    waitpid(pid, &status, 0);
    g_child = 0;
    if (status != 0) {
      fprintf(stderr, "fork_storm: child %ld ended with status %x\n", i,
              static_cast<unsigned>(status));
      _exit(1);
    }
    ++g_progress;
  }
  g_end = true;
  for (auto& t : threads) t.join();
  watchdog.join();
  for (auto& slot : g_slots) release(slot.exchange({}));
  printf("forks %ld\n", options.forks);
  return 0;
}
