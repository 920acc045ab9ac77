// pool_ager.cc - See pool_ager.h.
#include "sched/pool_ager.h"
#include "alloc/os/os.h"

#include <sys/prctl.h>

#include <atomic>

#include "sched/fiber.h"
#include "sched/pool.h"
#include "sched/proc.h"
#include "sched/start_thread.h"

namespace tri::sched {
namespace {

// As for stacks: what has rested for a second or two is not needed soon.
constexpr Time kPeriod = 1'000'000'000;
// Address space: drop() is the user's, and may expect the stack of a thread.
constexpr size_t kStackBytes = size_t{256} * 1024;

enum class Ager : uint32_t { kNone, kRuns };
constinit std::atomic<Ager> ager{Ager::kNone};
constinit std::atomic<Time> period{kPeriod};

/// True if this ager may end. It has said so before it looks a last time: who puts an object after that look finds that nobody runs (the
/// stripe's lock stands between the two), and starts another.
bool retire() {
  ager.store(Ager::kNone, std::memory_order_relaxed);
  Ager none = Ager::kNone;
  return !Pool::any_holds() || !ager.compare_exchange_strong(none, Ager::kRuns, std::memory_order_relaxed);
}

void wait_one_age() { sleep_until(now() + period.load(std::memory_order_relaxed)); }

void age_in_goroutine(void*) {
  do wait_one_age();
  while (Pool::age_all() || !retire());
}

bool start_goroutine() {
  SpawnOptions options;
  options.name = "tri-pools";
  options.stack_bytes = kStackBytes;
  return go(age_in_goroutine, nullptr, options) == 0;
}

void* age_in_thread(void*) {
  const os::OwnThread own;
  prctl(PR_SET_NAME, "tri-pools");
  do {
    wait_one_age();
    if (runtime_started() && start_goroutine()) return nullptr;
  } while (Pool::age_all() || !retire());
  return nullptr;
}

bool start_ager_thread() { return start_thread(age_in_thread, nullptr, fiber::kStackFactor * kStackBytes) == 0; }

}  // namespace

void watch_pools() {
  Ager none = Ager::kNone;
  if (ager.load(std::memory_order_relaxed) != none) return;
  if (!ager.compare_exchange_strong(none, Ager::kRuns, std::memory_order_relaxed)) return;
  if (runtime_started() ? start_goroutine() : start_ager_thread()) return;
  ager.store(Ager::kNone, std::memory_order_relaxed);  // a later put() may have more luck
}

void reset_pool_ager_after_fork() { ager.store(Ager::kNone, std::memory_order_relaxed); }

bool pools_are_watched() { return ager.load(std::memory_order_relaxed) == Ager::kRuns; }
void set_pool_age(Time t) { period.store(t, std::memory_order_relaxed); }

}  // namespace tri::sched
