// sysmon.cc - See sysmon.h.
#include "sched/sysmon.h"
#include "alloc/os/os.h"

#include <sys/prctl.h>

#include <algorithm>
#include <atomic>

#include "alloc/base/sys.h"
#include "sched/crowding.h"
#include "sched/fiber.h"
#include "sched/maker.h"
#include "sched/netpoll.h"
#include "sched/preempt.h"
#include "sched/proc.h"
#include "sched/start_thread.h"
#include "sched/trace.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr Time kMinSleep = 20'000;
constexpr Time kMaxSleep = 10'000'000;
// Rounds without anything to do before the sleep grows.
constexpr uint32_t kQuietRounds = 50;
// Rounds at the longest sleep with all Ps idle before it sleeps without end: it then costs a wake-up to come back.
constexpr uint32_t kIdleRounds = 3;
constexpr Time kSlice = 10'000'000;
constexpr Time kPollEvery = 10'000'000;
// A P whose call has not come back after this is taken, if work waits for it; after a slice in any case.
constexpr Time kCallPatience = 20'000;
// How late a timer of a busy P may be before its goroutine is preempted for it.
constexpr Time kTimerPatience = 500'000;
// What the network brought waits for its turn on a busy P where processors are wanted by others (crowding.h), but no longer than this behind one goroutine.
constexpr Time kTurn = 200'000;
// Between two signals for the same slice.
constexpr Time kAgain = 1'000'000;

enum class Life : uint32_t { kNone, kStarting, kRuns };
constinit std::atomic<Life> life{Life::kNone};
constinit std::atomic<uint32_t> bell{0};  // 0: sysmon sleeps, or may; 1: rung
constinit std::atomic<uint64_t> rounds{0};
constinit std::atomic<uintptr_t> own_pointer{0};

constinit Crowding crowding;  // sysmon

constinit SpinLock late_lock;
constinit G* late = nullptr;                  // late_lock; linked by next_claimed
constinit std::atomic<bool> any_late{false};  // written under late_lock

bool wake_late() {
  if (!any_late.load(std::memory_order_seq_cst)) return false;
  G* list;
  {
    SpinGuard guard(late_lock);
    list = late;
    late = nullptr;
    any_late.store(false, std::memory_order_relaxed);
  }
  while (list != nullptr) {
    G* const next = list->next_claimed;
    ready(list, list->result);  // comes back here if it still has not parked
    list = next;
  }
  return true;
}

bool work_waits(const P* p) { return !p->runq.empty() || global_work(); }

/// Takes the P of a call that lasts. True if there was something to do.
bool look_at_call(P* p, Time at) {
  M* const m = p->left_by.load(std::memory_order_acquire);
  if (m == nullptr) return false;
  const uint64_t call = p->blocking_calls.load(std::memory_order_relaxed);
  if (call != p->seen_call) {
    p->seen_call = call;
    p->seen_call_since = at;
    return true;
  }
  const Time lasts = at - p->seen_call_since;
  const bool is_due = p->timers.earliest() <= at;
  if (lasts < kCallPatience || (lasts < kSlice && !work_waits(p) && !is_due)) return true;
  M* expected = m;
  // acq_rel: pairs with blocking_begin() and blocking_end().
  if (!p->left_by.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed))
    return true;
  p->m.store(nullptr, std::memory_order_relaxed);
  handoff_p(p);
  return true;
}

bool nobody_keeps() { return !sched.keeping.load(std::memory_order_relaxed); }

/// Preempts a goroutine that has run for a slice, if anybody else could run instead.
bool look_at_slice(P* p, Time at) {
  if (p->left_by.load(std::memory_order_relaxed) != nullptr) return false;
  const uint64_t slice = p->slice.load(std::memory_order_relaxed);
  if (slice != p->seen_slice) {
    p->seen_slice = slice;
    p->seen_slice_since = at;
    return false;
  }
  const Time runs = at - p->seen_slice_since;
  const Time timer = p->timers.earliest();
  const bool timer_is_late = timer != kForever && at - timer > kTimerPatience;
  const auto preempt_once = [&] {
    // A signal takes its time to arrive, and may have found the thread in the scheduler, or in the allocator: again, but not at once.
    if (at - p->preempted_at < kAgain) return false;
    p->preempted_at = at;
    preempt(p);
    return true;
  };
  if (is_retired(p)) return preempt_once();
  if (sched.idle.any()) {
    const bool crowded = busy_procs() >= sched.useful.load(std::memory_order_relaxed);
    const bool waits = crowded ? runs > kTurn && (!p->runq.empty() || nobody_keeps())
                               : p->runq.has_ring() || (runs > kMinSleep && !p->runq.empty());
    if (timer_is_late || waits) {
      wake_p();  // another P can see to it
      return true;
    }
  }
  if ((runs > kSlice && work_waits(p)) || (timer_is_late && runs > kTimerPatience)) {
    return preempt_once();
  }
  return false;
}

bool poll_if_nobody_does(Time at) {
  if (!netpoll_active() || at - sched.last_poll.load(std::memory_order_relaxed) < kPollEvery) return false;
  if (sched.polling.exchange(1, std::memory_order_acquire) != 0) return false;
  G* const list = netpoll(kNoWait);
  sched.polling.store(0, std::memory_order_release);
  sched.last_poll.store(at, std::memory_order_relaxed);
  ready_list(list);
  return list != nullptr;
}

/// A timer of an idle P is late, and nobody waits for it: who kept the time is busy with what the network brought.
bool wake_for_idle_timers(Time at) {
  if (!sched.idle.any() || !nobody_keeps() || earliest_timer() > at - kTimerPatience) return false;
  wake_p();
  return true;
}

/// How many Ps the network may wake is looked at anew; only where it can wake any.
void look_at_crowding(Time at) {
  if (at - crowding.last_look() < Crowding::kInterval || !netpoll_active()) return;
  if (sched.procs.load(std::memory_order_relaxed) < 2) return;
  sched.useful.store(crowding.look(cpu_times.load(std::memory_order_relaxed)()), std::memory_order_relaxed);
}

bool look(Time at) {
  look_at_crowding(at);
  bool did = wake_late();
  for (uint32_t i = 0; i < kMaxProcs; ++i) {
    P* const p = sched.ps[i].load(std::memory_order_acquire);
    if (p == nullptr) break;
    if (sched.idle.is_idle(i)) continue;
    did = look_at_call(p, at) || look_at_slice(p, at) || did;
  }
  did = poll_if_nobody_does(at) || did;
  did = wake_for_idle_timers(at) || did;
  if (global_work()) wake_p();
  return did;
}

/// All Ps idle, and nothing else to watch. (Work beside idle Ps waits for an M that is being made.)
bool all_is_quiet() { return busy_procs() == 0 && !global_work() && !any_late.load(std::memory_order_seq_cst); }

/// How long to sleep: not beyond the time when a timer of a busy P is too late.
Time until_next_look(Time interval, Time at) {
  const Time timer = earliest_timer();
  if (timer == kForever) return interval;
  const Time left = timer + kTimerPatience - at + kMinSleep;
  return left < kMinSleep ? kMinSleep : left < interval ? left : interval;
}

void* sysmon_main(void*) {
  const os::OwnThread own;
  prctl(PR_SET_TIMERSLACK, 1UL);
  prctl(PR_SET_NAME, "tri-sysmon");
  sched.service_threads.fetch_add(1, std::memory_order_relaxed);
  own_pointer.store(arch::thread_pointer(), std::memory_order_relaxed);
  Time interval = kMinSleep;
  uint32_t quiet = 0;
  uint32_t idle = 0;
  for (;;) {
    const Time at = now();
    rounds.store(rounds.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (look(at)) {
      interval = kMinSleep;
      quiet = 0;
    } else if (++quiet > kQuietRounds && interval < kMaxSleep) {
      interval *= 2;
      if (interval > kMaxSleep) interval = kMaxSleep;
    }
    idle = all_is_quiet() ? idle + 1 : 0;
    if (idle < kIdleRounds || interval < kMaxSleep) {
      sys::futex_wait(&bell, 0, std::min(until_next_look(interval, at), trace_if_due(at)));
      bell.store(0, std::memory_order_relaxed);
      continue;
    }
    bell.store(0, std::memory_order_relaxed);
    // seq_cst, then another look: pairs with arm_sysmon(), which looks after a P was taken.
    sched.sysmon_asleep.store(true, std::memory_order_seq_cst);
    while (sched.sysmon_asleep.load(std::memory_order_seq_cst) && all_is_quiet()) {
      const Time left = trace_if_due(now());
      sys::futex_wait(&bell, 0, left == kForever ? -1 : left);
    }
    sched.sysmon_asleep.store(false, std::memory_order_seq_cst);
    bell.store(0, std::memory_order_relaxed);
    crowding.restart();
    interval = kMinSleep;
    quiet = 0;
    idle = 0;
  }
}

void make_thread() {
  const bool made = start_thread(sysmon_main, nullptr, fiber::kStackFactor * 128 * 1024) == 0;
  life.store(made ? Life::kRuns : Life::kNone, std::memory_order_release);
}

}  // namespace

void sysmon_start() {
  Life none = Life::kNone;
  if (life.compare_exchange_strong(none, Life::kStarting, std::memory_order_acquire)) make_thread();
  maker_start();
}

bool is_sysmon() { return own_pointer.load(std::memory_order_relaxed) == arch::thread_pointer(); }

void sysmon_wake() {
  if (life.load(std::memory_order_acquire) == Life::kNone) {
    // In a forked child. Somebody who tries later may have more luck with the thread.
    sched.sysmon_asleep.store(false, std::memory_order_seq_cst);
    sysmon_start();
    if (life.load(std::memory_order_acquire) == Life::kNone) sched.sysmon_asleep.store(true, std::memory_order_seq_cst);
    return;
  }
  sched.sysmon_asleep.store(false, std::memory_order_seq_cst);
  bell.store(1, std::memory_order_release);
  sys::futex_wake(&bell, 1);
}

void sysmon_ready_later(G* g) {
  {
    SpinGuard guard(late_lock);
    g->next_claimed = late;
    late = g;
    any_late.store(true, std::memory_order_seq_cst);
  }
  arm_sysmon();
}

void reset_sysmon_after_fork() {
  life.store(Life::kNone, std::memory_order_relaxed);
  own_pointer.store(0, std::memory_order_relaxed);
  late_lock.reset_after_fork();
  late = nullptr;
  any_late.store(false, std::memory_order_relaxed);
  sched.sysmon_asleep.store(true, std::memory_order_relaxed);
  crowding = Crowding();
  sched.useful.store(kNoCrowd, std::memory_order_relaxed);
}

uint64_t sysmon_rounds() { return rounds.load(std::memory_order_relaxed); }

}  // namespace tri::sched
