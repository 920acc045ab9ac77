// spin.cc - See spin.h.
#include "sched/spin.h"

#include <sched.h>

#include <atomic>

#include "sched/proc.h"

namespace tri::sched {
namespace {

// 0: not asked yet.
constinit std::atomic<int> known{0};

int count_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // The raw call is made by libc without touching anything but errno, and only on failure: more than 1,024 processors.
  const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 64;
  known.store(n, std::memory_order_relaxed);
  return n;
}

}  // namespace

int processors() {
  const int n = known.load(std::memory_order_relaxed);
  return n != 0 ? n : count_processors();
}

bool others_may_run() {
  if (processors() == 1) return false;
  const M* const m = current_m();
  if (m == nullptr || m->p == nullptr) return true;
  // As Go: not while goroutines wait for this P, and only if another P runs something.
  return m->p->runq.empty() && sched.procs.load(std::memory_order_relaxed) > sched.idle.count() + 1;
}

}  // namespace tri::sched
