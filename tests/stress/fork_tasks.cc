// fork_tasks.cc - Thousands of forks, by goroutines and by plain threads, while others start, wait, talk and compute.
//
//   fork_tasks --forks 10000 --seed N
//
// Each child runs goroutines of its own and leaves (sched/children.cc). One that hangs says what its tasks do, and fails; a parent that hangs is
// told by the watchdog.
#include <unistd.h>

#include <ctime>

#include "options.h"
#include "sched/work.h"

namespace stress {
namespace {

std::atomic<long> g_left{0};
std::atomic<bool> g_end{false};

void fork_while_any_are_left(Random& random) {
  while (g_left.fetch_sub(1) > 0) forks(random);
}

void watch(long patience) {
  long seen = g_left;
  for (long still = 0; !g_end;) {
    timespec second{1, 0};
    nanosleep(&second, nullptr);
    const long left = g_left;
    still = left == seen ? still + 1 : 0;
    seen = left;
    if (still >= patience) give_up("no fork any more");
  }
}

}  // namespace
}  // namespace stress

int main(int argc, char** argv) {
  using namespace stress;
  const Options options(argc, argv);
  Random random(options.seed);
  g_left = options.forks;
  tri_procs(3);
  std::thread watchdog(watch, options.patience);
  {
    Crew busy(random);
    constexpr void (*kBusy[])(Random&) = {burst, pipeline, sleeps, timers, datagrams, echo, churn};
    for (const auto fn : kBusy) {
      busy.go_task(
          [fn](Random& r) {
            while (!g_end) {
              fn(r);
              // Room for the children: the forks are what this is about.
              STRESS_EQ(tri_sleep(2'000'000), 0);
            }
          },
          size_t{256} << 10);
    }
    Crew forkers(random);
    for (int i = 0; i < 3; ++i) forkers.go_task(fork_while_any_are_left);
    for (int i = 0; i < 2; ++i) forkers.go_thread(fork_while_any_are_left);
    forkers.join();
    g_end = true;
  }
  watchdog.join();
  STRESS_EQ(g_members.load(), 0);
  printf("forks %ld\n", options.forks);
  return 0;
}
