// gc.cc - When a cycle begins, who runs it, and what is said of it. See gc.h for the overview.
#include "gc/gc.h"

#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>

#include "alloc/base/lock.h"
#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/counters.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "alloc/scavenger.h"
#include "alloc/thread.h"
#include "gc/attached.h"
#include "gc/cpu_time.h"
#include "gc/cycle.h"
#include "gc/finalizers.h"
#include "gc/heap.h"
#include "gc/leaks.h"
#include "gc/mark_team.h"
#include "gc/own_map.h"
#include "gc/pacer.h"
#include "gc/stop.h"
#include "tri_arch.h"

// For how it is called: arch/*/call_on_stack.S.
extern "C" void tri_call_on_stack(void* stack_top, void (*fn)(void* arg), void* arg);

namespace tri::gc {
namespace {

enum class Reason : uint8_t { kGrowth, kTime, kAsked, kMemory, kLimit };
constexpr const char* kReasons[] = {"growth", "time", "asked", "no memory", "limit"};

// Looking at the clock is a system call: once for so many bytes allocated.
// A cycle wakes who waits for it; looking again costs nothing.
constexpr int64_t kLongestWait = 100'000'000;
constexpr uint64_t kBytesPerClock = 256 * 1024;
// What a thread of its own, watching pages, and rounds cost is more than a short stop: with so much marking to do, shared by the processors, the world is
// stopped for all of it, by who allocates. Binary trees of 4 MiB: 0.75 of the CPU time.
constexpr int64_t kShortStop = 1'000'000;
// What marking takes as a rule, of a heap that small: not as measured, which depends on what else the machine does.
constexpr int64_t kNsPerBlock = 8;
constexpr int64_t kBytesPerNs = 8;
// A marking that takes no longer is not worth a second marker: on a machine with other things to do the stop lasts until that one has had its turn. Binary
// trees of 4 MiB took half of the time there.
constexpr int64_t kWorthTwo = 1'500'000;
// So much is swept as it is needed.
constexpr uint64_t kSweptLater = 16 * 1024 * 1024;
// Who allocates beside the markers looks after so many bytes whether they keep up, and waits so long for them before looking again.
constexpr uint64_t kBytesPerLook = 64 * 1024;
constexpr int64_t kPaceWait = 500'000;
// Less is not worth a cycle for the limit's sake.
constexpr uint64_t kWorthLimit = 1024 * 1024;
constexpr size_t kStackBytes = 64 * 1024;
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
constexpr bool kMayChangeStacks = false;  // they know each thread's stack
#else
constexpr bool kMayChangeStacks = true;
#endif

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
// Bytes in use of the whole heap at which the limit is near.
constinit std::atomic<uint64_t> limit_at{UINT64_MAX};
// As due_at: while a marking goes on beside the program, when to look whether it keeps up.
constinit std::atomic<uint64_t> pace_at{UINT64_MAX};
constinit uint32_t pace =
    0;  // state_lock, as the next: bytes to mark for one allocated in 1/1024, as planned at its begin
constinit uint64_t pace_heap = 0;
constinit uint64_t pace_allocated = 0;
constinit uint64_t pace_progress = 0;
constinit std::atomic<int64_t> last_cycle_ns{0};
constinit uint64_t allocated_before = 0;  // at the end of the last cycle
constinit int64_t first_ns = 0;
constinit int64_t process_ns_before = 0;  // CPU time up to then
constinit uint64_t live_blocks = 0;       // who set `running`, as the next
constinit char* stack = nullptr;          // for cycles on a thread of the program

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
  // A tenth beyond the goal, as far as the pacer lets it overshoot; a limit is to be kept, unless the collector has had its share for it.
  const uint64_t goal = pacer.goal_bytes();
  const uint64_t room = goal == UINT64_MAX ? UINT64_MAX : goal - (goal < stats.live_bytes ? goal : stats.live_bytes);
  const bool bound = pacer.is_bound_by_limit();
  const uint64_t beyond = bound ? room / 32 : room / 10;
  hard_at.store(bound && pacer.is_limiting() ? UINT64_MAX : add(allocated_before, add(room, beyond)),
                std::memory_order_relaxed);
}

uint64_t bytes_in_use() { return counters->used_bytes.load(std::memory_order_relaxed); }

/// With the lock held, when what was collected is free, or what is not collected has changed.
void plan_for_limit() {
  if (pacer_options.limit_bytes == kNoLimit) {
    limit_at.store(UINT64_MAX, std::memory_order_relaxed);
    return;
  }
  const uint64_t used = bytes_in_use();
  const uint64_t heap = add(stats.live_bytes, collected_heap.allocated_bytes() - allocated_before);
  pacer.set_overhead(used > heap ? used - heap : 0);
  stats.goal_bytes = pacer.goal_bytes();
  const uint64_t near = pacer_options.limit_bytes - pacer_options.limit_bytes / 32;
  const uint64_t next = used + kWorthLimit;
  limit_at.store(near < next ? next : near, std::memory_order_relaxed);
  plan();
}

// ---- a cycle ----------------------------------------------------------------------------------------------------------

struct Run {
  Reason reason;
  Cycle cycle;
  int64_t begin_ns;
  uint64_t heap_before;
  uint64_t allocated_at_begin;
  int64_t thread_ns;  // CPU time at its begin: of the thread that runs it, and of the process
  int64_t process_ns;
};

void blacken(void* shadow, const Span* s) { static_cast<Shadow*>(shadow)->blacken(s); }

CycleClient client_of(Run* run) {
  CycleClient c;
  c.arg = run;
  c.at_begin = [](void*, Shadow& shadow) { collected_heap.begin_marking(blacken, &shadow); };
  c.at_marked = [](void*) { pace_at.store(UINT64_MAX, std::memory_order_relaxed); };
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
  // Which it had to be, and not because it was short.
  if (c.why_full != 0 && c.why_full != -EOPNOTSUPP) line.text(", one stop: error ").number(int64_t{-c.why_full});
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
    figures.root_bytes = c.root_bytes;
    // What is freed by hand counts as not allocated.
    figures.allocated_bytes = allocated > run.allocated_at_begin ? allocated - run.allocated_at_begin : 0;
    figures.marker_ns = thread_cpu_ns() - run.thread_ns + c.others_ns;
    figures.mutator_ns = process_cpu_ns() - run.process_ns - figures.marker_ns;
    if (figures.mutator_ns < 0) figures.mutator_ns = 0;
    pacer.spend(figures.marker_ns, figures.mutator_ns);
    // The program ran beside it only if it was not stopped for all of it.
    if (c.concurrent_ns == 0) figures.mutator_ns = 0;
    pacer.end(figures);
    if (error == 0) live_blocks = c.marked_blocks;
    process_ns_before = process_cpu_ns();
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
    pace_at.store(UINT64_MAX, std::memory_order_relaxed);
  }
  plans.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&plans, INT32_MAX);
  last_error.store(error, std::memory_order_relaxed);
}

/// CPU time of marking that a cycle now is expected to take, about.
int64_t expected_mark_ns() {
  const uint64_t allocated = collected_heap.allocated_bytes() - allocated_before;
  // Of what came since the last one, little is alive as a rule; of a first one's, all.
  const uint64_t bytes = stats.live_bytes + (stats.cycles == 0 ? allocated : allocated / 8);
  const uint64_t blocks = stats.live_bytes == 0 ? bytes / 32 : bytes / 16 * live_blocks / (stats.live_bytes / 16 + 1);
  return static_cast<int64_t>(blocks) * kNsPerBlock + static_cast<int64_t>(bytes) / kBytesPerNs;
}
bool is_short(int64_t mark_ns) { return mark_ns / processors_for_marking() <= kShortStop; }

/// By who set `running`.
void run_cycle(Reason reason, uintptr_t sp) {
  const int64_t thread_ns = thread_cpu_ns();
  const int64_t process_ns = process_cpu_ns();
  // What a parent left to its child.
  attached.settle();
  collected_heap.sweep_all();
  CycleOptions options;
  options.verify = kVerify;
  const int64_t mark_ns = expected_mark_ns();
  options.concurrent = !is_short(mark_ns);
  {
    CollectedGuard guard(state_lock);
    options.markers = pacer.workers();
  }
  if (mark_ns < kWorthTwo) options.stop_markers = 1;
  Run run = {reason, Cycle(options), os::now_ns(), 0, collected_heap.allocated_bytes(), thread_ns, process_ns};
  if (first_ns == 0) first_ns = run.begin_ns;
  run.heap_before = stats.live_bytes + run.allocated_at_begin - allocated_before;
  {
    CollectedGuard guard(state_lock);
    pacer.spend(0, process_ns - process_ns_before);
    pacer.begin(run.heap_before);
    if (options.concurrent) {
      pace = pacer.assist_per_1024(0, run.heap_before);
      pace_heap = run.heap_before;
      pace_allocated = run.allocated_at_begin;
      pace_progress = Marker::progress();
      if (pace != 0) pace_at.store(run.allocated_at_begin + kBytesPerLook, std::memory_order_relaxed);
    }
  }
  begun.fetch_add(1, std::memory_order_seq_cst);
  moments.fetch_or(1, std::memory_order_relaxed);
  const int error = run.cycle.run(client_of(&run), sp);
  if (error != 0) collected_heap.abandon_marking_running();
  finish(run, error);
  const int64_t sweep_begin = os::now_ns();
  attached.settle();
  // On a thread of the program, which has other things to do: whoever allocates sweeps.
  const bool later =
      sp != 0 && reason == Reason::kGrowth && run.heap_before <= kSweptLater && pacer_options.limit_bytes == kNoLimit;
  if (!later) collected_heap.sweep_all();
  {
    CollectedGuard guard(state_lock);
    plan_for_limit();
  }
  if (is_tracing()) say(run, error, os::now_ns() - sweep_begin);
  moments.fetch_add(1, std::memory_order_release);  // who sees it finds the finalizers that are due
}

/// The next may begin. Not on the collector's stack any more, which is the next one's.
void release_run() {
  running.store(0, std::memory_order_release);  // pairs with the acquire in begin()
  done.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&done, INT32_MAX);
}

void run_on_thread(void* reason) {
  // All thread-local variables are zero here.
  tls_mcache = &empty_mcache;
  tls_cache = &empty_cache;
  run_cycle(static_cast<Reason>(reinterpret_cast<uintptr_t>(reason)), 0);
  release_run();
}

/// The signals of the program are for its own code, and its stack: here nothing but the stop of another, and what kills.
class NoSignals {
 public:
  NoSignals() {
    uint64_t most = ~uint64_t{0};
    for (const int s : {get_stop_signal(), SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS}) {
      most &= ~(uint64_t{1} << (s - 1));
    }
    set(&most, &old_);
  }
  ~NoSignals() { set(&old_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  static void set(const uint64_t* to, uint64_t* old) {
    arch::system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(to), reinterpret_cast<long>(old), 8);
  }
  uint64_t old_ = 0;
};

/// A cycle on the calling thread, whose stack may be of any size: on one of the collector's.
void run_here(Reason reason) {
  struct Call {
    Reason reason;
    uintptr_t sp;
  };
  if (kMayChangeStacks && stack == nullptr) stack = static_cast<char*>(map_own(kStackBytes, os::page_size()));
  if (enter_critical != nullptr) enter_critical();
  below_program([&](uintptr_t sp) {
    const NoSignals no_signals;
    Call call = {reason, sp};
    if (stack == nullptr) return run_cycle(reason, sp);
    const auto run = [](void* arg) {
      const auto* const c = static_cast<const Call*>(arg);
      run_cycle(c->reason, c->sp);
    };
    tri_call_on_stack(stack + kStackBytes, run, &call);
  });
  release_run();
  if (leave_critical != nullptr) leave_critical();
}

/// False if one runs already.
bool begin(Reason reason) {
  if (running.exchange(1, std::memory_order_acquire) != 0) return false;
  if (is_short(expected_mark_ns())) {
    run_here(reason);
    return true;
  }
  // The last one's thread may be on its way out.
  os::join_bare_thread(&collector);
  auto* const arg = reinterpret_cast<void*>(static_cast<uintptr_t>(reason));
  if (os::start_bare_thread(&collector, run_on_thread, arg)) {
    if (!collector_is_known) collector_is_known = own_memory::add(collector.memory, os::bare_thread_bytes());
    return true;
  }
  run_here(reason);
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

// ---- when -------------------------------------------------------------------------------------------------------------

/// Something is due: what, if it is still so.
bool is_due(uint64_t allocated, Reason* reason) {
  CollectedGuard guard(state_lock);
  const uint64_t used = bytes_in_use();
  const bool by_limit = used >= limit_at.load(std::memory_order_relaxed);
  // The rest of the memory may have become less since this was planned.
  if (pacer.is_bound_by_limit() && !by_limit) plan_for_limit();
  const bool by_growth = allocated >= due_at.load(std::memory_order_relaxed);
  *reason = Reason::kGrowth;
  if (by_growth && !pacer.is_bound_by_limit()) return true;
  if (!by_growth && !by_limit) return false;
  const int64_t now = process_cpu_ns();
  pacer.spend(0, now - process_ns_before);
  process_ns_before = now;
  if (!pacer.is_limiting()) {
    *reason = Reason::kLimit;
    return true;
  }
  if (stats.live_bytes + allocated - allocated_before >= pacer.percent_goal_bytes()) return true;
  due_at.store(add(allocated, kWorthLimit), std::memory_order_relaxed);
  limit_at.store(used + kWorthLimit, std::memory_order_relaxed);
  hard_at.store(UINT64_MAX, std::memory_order_relaxed);
  return false;
}

/// Beside a marking: who allocates faster than was planned waits for the markers. Go has him mark; here he may be anywhere, with any lock, on a small
/// stack. What he leaves is his processor; more markers instead, measured, cost more than they gained.
void keep_pace() {
  for (;;) {
    const uint32_t seen = plans.load(std::memory_order_acquire);
    {
      CollectedGuard guard(state_lock);
      if (pace_at.load(std::memory_order_relaxed) == UINT64_MAX) return;
      const uint64_t allocated = collected_heap.allocated_bytes();
      const uint64_t grown = allocated > pace_allocated ? allocated - pace_allocated : 0;
      const uint32_t now = pacer.assist_per_1024(Marker::progress() - pace_progress, pace_heap + grown);
      if (now <= pace || now - pace <= pace / 4) {
        pace_at.store(allocated + kBytesPerLook, std::memory_order_relaxed);
        return;
      }
    }
    sys::futex_wait(&plans, seen, kPaceWait);
  }
}

}  // namespace

void poll() {
  const uint64_t allocated = collected_heap.allocated_bytes();
  const uint64_t due = due_at.load(std::memory_order_relaxed);
  Reason reason = Reason::kGrowth;
  if (TRI_LIKELY(allocated < due && bytes_in_use() < limit_at.load(std::memory_order_relaxed))) {
    const uint64_t look = clock_at.load(std::memory_order_relaxed);
    if (TRI_LIKELY(allocated < look)) return;
    clock_at.store(allocated + kBytesPerClock, std::memory_order_relaxed);
    if (os::now_ns() - last_cycle_ns.load(std::memory_order_relaxed) < pacer_options.period_ns) return;
    reason = Reason::kTime;
  } else if (due == 0) {
    CollectedGuard guard(state_lock);
    last_cycle_ns.store(os::now_ns(), std::memory_order_relaxed);
    pacer_options.cpus = processors();
    pacer.set_options(pacer_options);
    stats.goal_bytes = pacer.goal_bytes();
    process_ns_before = process_cpu_ns();
    plan();
    plan_for_limit();
    return;
  }
  if (mode_now.load(std::memory_order_relaxed) == Mode::kOff || disabled.load(std::memory_order_relaxed) != 0) return;
  if (in_slow_path()) return;
  // What is free makes room before anything is collected.
  if (bytes_in_use() >= limit_at.load(std::memory_order_relaxed)) scavenger::poll();
  if (running.load(std::memory_order_relaxed) == 0) {
    if (reason == Reason::kTime || is_due(allocated, &reason)) (void)begin(reason);
  }
  if (allocated >= pace_at.load(std::memory_order_relaxed)) keep_pace();
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

void set_limit(uint64_t bytes) {
  scavenger::set_limit(bytes);
  CollectedGuard guard(state_lock);
  pacer_options.limit_bytes = bytes;
  pacer.set_options(pacer_options);
  // Else it is planned with the first block.
  if (due_at.load(std::memory_order_relaxed) == 0) return;
  stats.goal_bytes = pacer.goal_bytes();
  plan();
  plan_for_limit();
}

uint64_t limit() { return pacer_options.limit_bytes; }

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
  pace_at.store(UINT64_MAX, std::memory_order_relaxed);
  process_ns_before = 0;
  done.store(begun.load(std::memory_order_relaxed), std::memory_order_relaxed);
  collected_heap.reset_after_fork();
}

}  // namespace tri::gc
