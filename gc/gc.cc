// gc.cc - When a cycle begins, who runs it, and what is said of it. See gc.h for the overview.
#include "gc/gc.h"

#include <atomic>
#include <cerrno>

#include "alloc/base/lock.h"
#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "alloc/thread.h"
#include "gc/attached.h"
#include "gc/cycle.h"
#include "gc/finalizers.h"
#include "gc/heap.h"
#include "gc/leaks.h"
#include "gc/mark_team.h"
#include "gc/pacer.h"

namespace tri::gc {
namespace {

enum class Reason : uint8_t { kGrowth, kTime, kAsked, kMemory };
constexpr const char* kReasons[] = {"growth", "time", "asked", "no memory"};

// Looking at the clock is a system call: once for so many bytes allocated.
// A cycle wakes who waits for it; looking again costs nothing.
constexpr int64_t kLongestWait = 100'000'000;
constexpr uint64_t kBytesPerClock = 256 * 1024;

constinit std::atomic<Mode> mode_now{Mode::kOn};
constinit std::atomic<bool> tracing{false};
constinit std::atomic<uint32_t> disabled{0};
using CriticalFn = void (*)();
constinit CriticalFn enter_critical = nullptr;
constinit CriticalFn leave_critical = nullptr;

// Guards what follows, for moments; a cycle itself needs no lock: `running` says that there is one.
constinit Lock state_lock{LockRank::kCollector};
constinit Pacer pacer;
constinit PacerOptions pacer_options;
constinit CollectorStats stats;

constinit std::atomic<uint32_t> running{0};  // 1 while a cycle does; who sets it owns the record below. futex
constinit std::atomic<uint32_t> begun{0};
constinit std::atomic<uint32_t> done{0};
constinit std::atomic<uint32_t> moments{0};  // odd while a cycle runs
constinit std::atomic<int> last_error{0};
constinit os::BareThread collector;
constinit bool collector_is_known = false;

// Bytes allocated ever at which the next cycle is due, and the clock is looked at next.
constinit std::atomic<uint64_t> due_at{0};            // 0: not planned yet
constinit std::atomic<uint64_t> hard_at{UINT64_MAX};  // and at which who allocates waits for it
constinit std::atomic<uint32_t> plans{0};             // counts them; futex
constinit std::atomic<uint64_t> clock_at{kBytesPerClock};
constinit std::atomic<int64_t> last_cycle_ns{0};
constinit uint64_t allocated_before = 0;  // at the end of the last cycle
constinit int64_t first_ns = 0;

uint64_t add(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/// With the lock held.
void plan() {
  const uint64_t trigger = pacer.trigger_bytes();
  const uint64_t way =
      trigger == UINT64_MAX ? UINT64_MAX : trigger - (trigger < stats.live_bytes ? trigger : stats.live_bytes);
  due_at.store(add(allocated_before, way), std::memory_order_relaxed);
  // A quarter beyond the goal.
  const uint64_t goal = pacer.goal_bytes();
  const uint64_t room = goal == UINT64_MAX ? UINT64_MAX : goal - (goal < stats.live_bytes ? goal : stats.live_bytes);
  hard_at.store(add(allocated_before, add(room, room / 4)), std::memory_order_relaxed);
}

// ---- a cycle ----------------------------------------------------------------------------------------------------------

struct Run {
  Reason reason;
  Cycle cycle;
  int64_t begin_ns;
  uint64_t heap_before;
};

void blacken(void* shadow, const Span* s) { static_cast<Shadow*>(shadow)->blacken(s); }

CycleClient client_of(Run* run) {
  CycleClient c;
  c.arg = run;
  c.at_begin = [](void*, Shadow& shadow) { collected_heap.begin_marking(blacken, &shadow); };
  c.at_end = [](void*, Shadow& shadow) {
    finalizers.settle(shadow);
    collected_heap.end_marking(shadow);
  };
  return c;
}

void say(const Run& run, int error, int64_t sweep_ns) {
  const CycleStats& c = run.cycle.stats();
  Line line;
  const auto ms = [&](int64_t ns) -> Line& {
    const uint64_t us = ns < 0 ? 0 : static_cast<uint64_t>(ns) / 1000;
    line.number(us / 1000).text(".").number(us % 1000 / 100).number(us % 100 / 10);
    return line.number(us % 10);
  };
  const uint64_t since = static_cast<uint64_t>(run.begin_ns - first_ns) / 1'000'000;
  line.text("tri gc ").number(stats.cycles + stats.failed_cycles).text(" @").number(since / 1000).text(".");
  line.number(since % 1000 / 100).number(since % 100 / 10).number(since % 10).text("s ");
  line.text(kReasons[static_cast<size_t>(run.reason)]).text(": ");
  ms(c.first_stop_ns).text("+");
  ms(c.concurrent_ns).text("+");
  ms(c.last_stop_ns).text(" ms, sweep ");
  ms(sweep_ns).text(" ms, ");
  line.bytes(run.heap_before).text("->");
  if (error != 0) {
    line.text("all kept: ");
    if (c.unstopped != 0) {
      line.number(uint64_t{c.unstopped})
          .text(c.unstopped == 1 ? " thread blocks" : " threads block")
          .text(" the stop signal");
    } else {
      line.text("error ").number(int64_t{-error});
    }
  } else {
    line.bytes(c.marked_bytes).text(" in ").count(c.marked_blocks).text(" blocks");
  }
  line.text(", goal ");
  if (stats.goal_bytes == UINT64_MAX) {
    line.text("none");
  } else {
    line.bytes(stats.goal_bytes);
  }
  line.text(", ").number(uint64_t{c.markers}).text(c.markers == 1 ? " marker" : " markers");
  if (c.why_full != 0) line.text(", one stop: error ").number(int64_t{-c.why_full});
  if (c.rounds != 0) line.text(", ").number(uint64_t{c.rounds}).text(" rounds");
  line.text("\n").write_to(2);
}

void finish(Run& run, int error) {
  const CycleStats& c = run.cycle.stats();
  const int64_t now = os::now_ns();
  {
    CollectedGuard guard(state_lock);
    const uint64_t allocated = collected_heap.allocated_bytes();
    CycleFigures figures;
    // Of a cycle that came to nothing all that is there counts as live: the next one is not due at once.
    figures.live_bytes = error == 0 ? c.marked_bytes : run.heap_before;
    pacer.end(figures);
    ++(error == 0 ? stats.cycles : stats.failed_cycles);
    stats.live_bytes = figures.live_bytes;
    stats.goal_bytes = pacer.goal_bytes();
    stats.pause_ns_last = c.first_stop_ns + c.last_stop_ns;
    stats.pause_ns += stats.pause_ns_last;
    const int64_t longest = c.first_stop_ns < c.last_stop_ns ? c.last_stop_ns : c.first_stop_ns;
    if (stats.pause_ns_max < longest) stats.pause_ns_max = longest;
    allocated_before = allocated;
    last_cycle_ns.store(now, std::memory_order_relaxed);
    plan();
  }
  plans.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&plans, INT32_MAX);
  last_error.store(error, std::memory_order_relaxed);
}

/// By who set `running`.
void run_cycle(Reason reason, uintptr_t sp) {
  // What a parent left to its child.
  attached.settle();
  collected_heap.sweep_all();
  CycleOptions options;
  options.verify = kVerify;
  Run run = {reason, Cycle(options), os::now_ns(), 0};
  if (first_ns == 0) first_ns = run.begin_ns;
  run.heap_before = stats.live_bytes + collected_heap.allocated_bytes() - allocated_before;
  begun.fetch_add(1, std::memory_order_seq_cst);
  moments.fetch_or(1, std::memory_order_relaxed);
  const int error = run.cycle.run(client_of(&run), sp);
  if (error != 0) collected_heap.abandon_marking_running();
  finish(run, error);
  const int64_t sweep_begin = os::now_ns();
  attached.settle();
  collected_heap.sweep_all();
  if (is_tracing()) say(run, error, os::now_ns() - sweep_begin);
  moments.fetch_add(1, std::memory_order_release);  // who sees it finds the finalizers that are due
  running.store(0, std::memory_order_release);      // pairs with the acquire in try_begin()
  done.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&done, INT32_MAX);
}

void run_on_thread(void* reason) {
  // All thread-local variables are zero here.
  tls_mcache = &empty_mcache;
  tls_cache = &empty_cache;
  run_cycle(static_cast<Reason>(reinterpret_cast<uintptr_t>(reason)), 0);
}

/// False if one runs already.
bool begin(Reason reason) {
  if (running.exchange(1, std::memory_order_acquire) != 0) return false;
  // The last one's thread may be on its way out.
  os::join_bare_thread(&collector);
  auto* const arg = reinterpret_cast<void*>(static_cast<uintptr_t>(reason));
  if (os::start_bare_thread(&collector, run_on_thread, arg)) {
    if (!collector_is_known) collector_is_known = own_memory::add(collector.memory, os::bare_thread_bytes());
    return true;
  }
  if (enter_critical != nullptr) enter_critical();
  below_program([&](uintptr_t sp) { run_cycle(reason, sp); });
  if (leave_critical != nullptr) leave_critical();
  return true;
}

/// Waits until a cycle is over that began after the call.
int run_and_wait(Reason reason) {
  if (in_slow_path() || disabled.load(std::memory_order_relaxed) != 0) return -EAGAIN;
  const uint32_t wanted = begun.load(std::memory_order_seq_cst) + 1;
  for (;;) {
    const uint32_t seen = done.load(std::memory_order_acquire);
    if (static_cast<int32_t>(seen - wanted) >= 0) return last_error.load(std::memory_order_relaxed);
    (void)begin(reason);
    sys::futex_wait(&done, seen, -1);
  }
}

}  // namespace

// ---- when -------------------------------------------------------------------------------------------------------------

void poll() {
  const uint64_t allocated = collected_heap.allocated_bytes();
  const uint64_t due = due_at.load(std::memory_order_relaxed);
  Reason reason = Reason::kGrowth;
  if (TRI_LIKELY(allocated < due)) {
    const uint64_t look = clock_at.load(std::memory_order_relaxed);
    if (TRI_LIKELY(allocated < look)) return;
    clock_at.store(allocated + kBytesPerClock, std::memory_order_relaxed);
    if (os::now_ns() - last_cycle_ns.load(std::memory_order_relaxed) < pacer_options.period_ns) return;
    reason = Reason::kTime;
  } else if (due == 0) {
    CollectedGuard guard(state_lock);
    last_cycle_ns.store(os::now_ns(), std::memory_order_relaxed);
    pacer.set_options(pacer_options);
    stats.goal_bytes = pacer.goal_bytes();
    plan();
    return;
  }
  if (mode_now.load(std::memory_order_relaxed) == Mode::kOff || disabled.load(std::memory_order_relaxed) != 0) return;
  if (in_slow_path()) return;
  if (running.load(std::memory_order_relaxed) == 0) (void)begin(reason);
  // Too far ahead of the collector, which may want for a processor.
  while (allocated >= hard_at.load(std::memory_order_relaxed)) {
    const uint32_t seen = plans.load(std::memory_order_acquire);
    if (running.load(std::memory_order_acquire) == 0 || allocated < hard_at.load(std::memory_order_relaxed)) return;
    sys::futex_wait(&plans, seen, kLongestWait);
  }
}

int collect() { return run_and_wait(Reason::kAsked); }

bool collect_for_memory() {
  return mode_now.load(std::memory_order_relaxed) != Mode::kOff && run_and_wait(Reason::kMemory) == 0;
}

void disable() { disabled.fetch_add(1, std::memory_order_relaxed); }

bool enable() {
  uint32_t n = disabled.load(std::memory_order_relaxed);
  do {
    if (n == 0) return false;
  } while (!disabled.compare_exchange_weak(n, n - 1, std::memory_order_relaxed));
  return true;
}

void set_mode(Mode mode, uint32_t percent) {
  CollectedGuard guard(state_lock);
  mode_now.store(mode, std::memory_order_relaxed);
  pacer_options.percent = percent;
  pacer.set_options(pacer_options);
  stats.goal_bytes = pacer.goal_bytes();
  plan();
}

Mode mode() { return mode_now.load(std::memory_order_relaxed); }
uint32_t percent() { return pacer_options.percent; }
void set_trace(bool on) { tracing.store(on, std::memory_order_relaxed); }
bool is_tracing() { return tracing.load(std::memory_order_relaxed); }

const std::atomic<uint32_t>& cycle_moments() { return moments; }

void set_critical(void (*enter)(), void (*leave)()) {
  enter_critical = enter;
  leave_critical = leave;
}

CollectorStats get_stats() {
  CollectedGuard guard(state_lock);
  CollectorStats s = stats;
  s.allocated_bytes = collected_heap.allocated_bytes();
  s.collected_bytes = collected_heap.collected_bytes();
  s.collected_blocks = collected_heap.collected_blocks();
  s.recent_bytes = s.allocated_bytes < allocated_before ? 0 : s.allocated_bytes - allocated_before;
  return s;
}

void reset_after_fork() {
  state_lock.reset_after_fork();
  Cycle::reset_after_fork();
  // The parent's cycle stayed there. What it had to sweep is here as well, and is swept when it is needed, or by the next one.
  running.store(0, std::memory_order_relaxed);
  moments.store((moments.load(std::memory_order_relaxed) + 1) & ~1u, std::memory_order_relaxed);
  done.store(begun.load(std::memory_order_relaxed), std::memory_order_relaxed);
  collected_heap.reset_after_fork();
}

}  // namespace tri::gc
