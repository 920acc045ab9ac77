// proc.h - OVERVIEW of the scheduler: goroutines on threads, as in Go's runtime, for code of any language.
//
//   G  goroutine: a function, a stack, a state           g.h      thousands to millions, pooled
//   P  processor: the right to run, with its own queues   p.h      GOMAXPROCS of them
//   M  thread: runs the goroutines of the P it has        m.h      as many as block, and one for each P
//
// A goroutine that waits (park.cc) switches straight to the next one of its P's queue; only when there is none, or when it is time
// to look further, does it switch to its M's own stack, where the loop in proc.cc decides by find_work.cc. What a goroutine
// leaves to be done after its registers are saved - releasing the lock of what it waits for, arming its deadline - is done by
// whoever runs next (M::after).
//
// Moments and who handles them:
//   start, the number of Ps         runtime.cc
//   goroutines begin, yield, end    proc.cc, with the records and stacks of others (free_lists.h); joins: task.cc
//   a goroutine becomes runnable    ready() in park.cc: runs next on the same P; idle.h wakes another P if one sleeps
//   an M finds nothing              find_work.cc: spins, gives its P up, looks again, sleeps; one keeps the timers
//   code blocks in the kernel       syscall.cc: the P is left behind, and sysmon.cc hands it on
//   a P needs a thread              m.cc; for sysmon: maker.cc
//   a goroutine runs for too long   preempt.cc: a signal; the P goes to another M, the thread waits with its goroutine for a P
//   deadlines, sleep, tickers       timer.h
//   stacks                          stack.h, switch.h
//   fork                            fork.cc
//   what is going on                dump.cc
//
// Nothing runs before the first go(): no thread, no handler, no memory.
//
// Locks, outermost first: the registry's of pools (pool.cc), one of their stripes'; sched.lock; a timer heap's; the pools' (g.cc, stack.cc); globq's. All are SpinLocks: who holds
// one is in a critical section (critical.h), is not preempted, and does not sleep. The allocator's locks are inside of all.
//
// To read it in order: wait, g, p, m, proc, free_lists, task, runtime, park, runq, idle, find_work, timer, stack, syscall, sysmon, preempt.
#ifndef TRI_SCHED_PROC_H
#define TRI_SCHED_PROC_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sched/globq.h"
#include "sched/idle.h"
#include "sched/m.h"
#include "sched/netpoll.h"
#include "sched/p.h"

namespace tri::sched {

struct Sched {
  // ---- looked at by fast paths, seldom written
  alignas(64) IdlePs idle;
  std::atomic<uint32_t> spinning{0};         // Ms that look for work
  std::atomic<uint32_t> procs{0};            // Ps in service have ids below; written under lock
  std::atomic<uint32_t> fruitless{0};        // grows with wake-ups that found nothing to steal (see find_work.cc)
  std::atomic<uint32_t> useful{UINT32_MAX};  // sysmon: Ps beyond which the network wakes nobody (see crowding.h)
  bool light_fence = false;                  // constant after start: membarrier() works
  std::atomic<bool> sysmon_asleep{false};
  std::atomic<bool> unwatched{false};  // the keeper sleeps, and will not look for a deadlock by itself
  std::atomic<P*> ps[kMaxProcs] = {};  // never taken back; written under lock
  uint32_t p_count = 0;                // lock: records made

  alignas(64) GlobQ globq;
  GlobQ pinned;  // those that were preempted, and need a P on their own threads; they are in no other queue

  alignas(64) SpinLock lock;
  M* idle_ms = nullptr;                   // lock; linked by next_idle
  std::atomic<uint32_t> idle_m_count{0};  // written under lock
  M* all_ms = nullptr;                    // lock; linked by next_all
  M* unborn_ms = nullptr;                 // lock; linked by next_idle: records whose threads could not be made
  uint32_t m_count = 0;                   // lock
  M* keeper = nullptr;                    // lock: the M that waits for the next timer or for the network
  std::atomic<bool> keeping{false};       // the role is taken
  std::atomic<Time> keeper_until{0};      // when it wakes by itself
  std::atomic<uint32_t> polling{0};       // a thread is in netpoll()
  std::atomic<Time> last_poll{0};
  // Threads of the library's own that wake nobody unless something else does first; each counts itself. See deadlock.cc.
  std::atomic<uint32_t> service_threads{0};
};

TRI_INTERNAL extern constinit Sched sched;

// ---- goroutines -------------------------------------------------------------------------------------------------

struct SpawnOptions {
  const char* name = nullptr;
  size_t stack_bytes = 0;        // 0: the default
  const void* copied = nullptr;  // copied into the goroutine, whose argument is then the copy
  size_t copied_bytes = 0;
  TaskId* id = nullptr;  // if not null, receives a name that can be joined
};

/// Starts fn(arg) in a goroutine. Any thread; starts the scheduler. 0, -ENOMEM, -EAGAIN (no thread could be started).
[[nodiscard]] int go(void (*fn)(void*), void* arg, const SpawnOptions& options);
[[nodiscard]] int go(void (*fn)(void*), void* arg);
/// Gives others a turn. In a plain thread: sched_yield().
void yield();
/// Ends the goroutine: runs what it deferred, wakes who joins it. Not in a plain thread.
[[noreturn]] void exit_goroutine();
/// Waits for the end of a task. 0; -ETIMEDOUT; -ECANCELED; -ESRCH: never was one; -EDEADLK: the caller itself.
int join(TaskId id, Time deadline);
/// The id of the caller, goroutine or not; 0 without memory for a stand-in.
TaskId self();
/// A plain thread ends, and with it its stand-in: whoever joins it is woken.
void end_stand_in(G* g);
/// The goroutine has run its last: its id is nobody's from now on.
void wake_joiners(G* g);
/// Runs fn(arg) at the end of this goroutine, the last registered first. 0, -ENOMEM, -EPERM (no goroutine).
int defer(void (*fn)(void*), void* arg);
int sleep_until(Time deadline);

// ---- processors -------------------------------------------------------------------------------------------------

/// The number of Ps; sets it if n > 0. Returns what it was before. Any thread.
int set_procs(int n);
/// What affinity and the cgroups' quotas allow.
int default_procs();

// ---- inside the scheduler ---------------------------------------------------------------------------------------

/// Starts the scheduler if it does not run. 0 or -errno.
[[nodiscard]] int start_runtime();
enum class Runtime : uint32_t {
  kOff,
  kStarting,
  kAlone,  // a forked child: with the goroutine that forked, and without sysmon
  kOn,
};
TRI_INTERNAL extern constinit std::atomic<Runtime> runtime;  // written by runtime.cc
inline bool runtime_started() { return runtime.load(std::memory_order_acquire) >= Runtime::kAlone; }
/// The caller's signal mask becomes what Ms run with, no matter which thread makes them.
void take_mask_of_ms();

/// Puts g into the local queue (the ring's overflow goes to the global one). By the owner, in a critical section.
void put_local(P* p, G* g, bool next);
/// After work was put into a local queue: wakes an M if a P idles and nobody looks.
void wake_p();
inline void wake_if_idle() {
  if (TRI_LIKELY(sched.light_fence)) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    full_fence();
  }
  if (TRI_UNLIKELY(sched.idle.any()) && sched.spinning.load(std::memory_order_relaxed) == 0) wake_p();
}
/// Makes a list (by next_claimed) of claimed goroutines runnable; the caller may or may not have a P.
void ready_list(G* list);
/// The same without waking others for them: the caller has a P, is on the scheduler's stack, and sees to them or to that. In no critical section.
void ready_quietly(G* list);

/// The next goroutine to run; gives up the P and sleeps until there is one. On the M's own stack, in no critical section.
G* find_work(M* m);
/// Sleeps until somebody gives this M a P.
void stop_m(M* m);
/// Gives p to an idle M, to a goroutine that was preempted, or to a new M. False: no thread can be had now; p is still the caller's.
[[nodiscard]] bool start_m(P* p, bool spinning);
/// Takes an M out of its sleep's list, or the keeper from his post; null if there is neither. It must then be given a P.
[[nodiscard]] M* reserve_m();
void give_p(M* m, P* p, bool spinning);
/// The two by parts, for who holds the scheduler's lock; wake_m() is called without it, with what hand_p() has returned. Signal-safe.
[[nodiscard]] M* reserve_m_locked();
[[nodiscard]] bool hand_p_locked(M* m, P* p, bool spinning);
void wake_m(M* m, bool polls);
/// Makes sure that reserve_m() will find one. Not by sysmon (see maker.h).
bool reserve_idle_m();
/// Wakes an M that sleeps on its doorbell.
void ring(M* m);
/// Sleeps until rung; at the latest at `until` (kForever: none).
void wait_doorbell(M* m, Time until);
/// Ends what an M does with its P: gives it to somebody if there is work, else makes it idle.
void handoff_p(P* p);
void put_idle_p(P* p);
void acquire_p(M* m, P* p);
/// Its runnable goroutines go to the global queue. By its owner.
void spill(P* p);
/// Takes p, which is in nobody's service any more, apart: its goroutines and timers go to others. By its owner, who then looks at the global
/// queue as one who has made a P idle.
void retire_p(P* p);
inline bool is_retired(const P* p) { return p->id >= sched.procs.load(std::memory_order_relaxed); }
/// Work that no P has.
inline bool global_work() { return sched.globq.size() != 0 || sched.pinned.size() != 0; }
/// Gives p to the thread of a goroutine that was preempted, and is taken from its queue. Signal-safe.
void give_to_pinned(G* g, P* p);
/// The number of Ps that are not idle.
uint32_t busy_procs();
/// The earliest timer of all Ps.
Time earliest_timer();
bool run_timers(P* p, Time at);
/// A timer was put into the heap of a P that the caller does not have: whoever sleeps until later is woken.
void timer_added(Time when);

/// Leaves the goroutine for the scheduler or, if `direct`, for the next of the local queue. In a critical section, with
/// todo set; returns when it runs again, outside of it.
void leave(M* m, G* g, bool direct);
/// The loop of an M.
[[noreturn]] void schedule(M* m);
/// Starts or wakes sysmon. Whoever takes a P out of idleness calls it.
void sysmon_start();
void sysmon_wake();
inline void arm_sysmon() {
  // seq_cst: pairs with sysmon's, which looks at the Ps once more after it has set the flag.
  if (TRI_UNLIKELY(sched.sysmon_asleep.load(std::memory_order_seq_cst))) sysmon_wake();
}
/// All goroutines asleep, and nothing can wake them? Then it ends the program, at the second look that finds nothing moved since the
/// first; true: this was the first. By the keeper.
bool check_deadlock();
extern constinit std::atomic<bool> main_waits;
/// Somebody has gone to sleep: sees to it that the keeper looks for a deadlock, now or soon.
void watch_for_deadlock();

void preempt_install();
void fork_install();
/// In a forked child: nothing runs until the next go(); or with the goroutine that forked, alone, on p.
void runtime_off_after_fork();
void runtime_alone_after_fork(P* p);
void verify_idle();

}  // namespace tri::sched

#endif
