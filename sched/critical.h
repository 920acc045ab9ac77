// critical.h - The stretch of code in which a thread must not be preempted by the scheduler's signal.
//
// A thread is in it while it holds a lock of the runtime, or stands between two stacks. The signal's handler then only
// notes that it came, and the thread itself gives its processor on when the count is 0 again. One thread-local counter.
//
// Used by: spin_lock, park, preempt.
#ifndef TRI_SCHED_CRITICAL_H
#define TRI_SCHED_CRITICAL_H

#include <atomic>
#include <cstdint>


namespace tri::sched {

/// Of this thread, never of the goroutine: it moves with neither. initial-exec.
extern constinit thread_local uint32_t tls_critical;
extern constinit thread_local bool tls_preempt_pending;

/// The pending preemption, now that nothing forbids it. Out of line.
void preempt_late();

inline void enter_critical() {
  tls_critical = tls_critical + 1;
  // The handler runs in this thread: order for the compiler is enough.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}
inline void leave_critical() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  tls_critical = tls_critical - 1;
  if (__builtin_expect(tls_preempt_pending, 0) && tls_critical == 0) preempt_late();
}

}  // namespace tri::sched

#endif
