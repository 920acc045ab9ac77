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

#include "alloc/base/check.h"
#include "sched_arch.h"

namespace tri::sched {

/// Of this thread, never of the goroutine: it moves with neither. initial-exec. The scheduler accesses them by assembly, since
/// between two accesses in one function there may be a switch to another thread (see sched_arch.h).
TRI_INTERNAL extern constinit thread_local uint32_t tls_critical;
TRI_INTERNAL extern constinit thread_local uint32_t tls_preempt_pending;

/// The pending preemption, now that nothing forbids it. Out of line.
void preempt_late();

inline uint32_t critical_count() {
  uint32_t n;
  TRI_TLS_READ32(TRI_CRITICAL, n);
  return n;
}
inline bool preempt_is_pending() {
  uint32_t n;
  TRI_TLS_READ32(TRI_PREEMPT_PENDING, n);
  return n != 0;
}

inline void enter_critical() {
  // The handler runs in this thread: order for the compiler is enough, and the assembly gives it.
  TRI_TLS_INCREMENT(TRI_CRITICAL);
}
inline void leave_critical() {
  TRI_TLS_DECREMENT(TRI_CRITICAL);
  if (TRI_UNLIKELY(preempt_is_pending()) && critical_count() == 0) preempt_late();
}

/// The same where the count is known to be 0 before: a store does not wait for the store before it.
inline void enter_critical_first() { TRI_TLS_SET_ONE(TRI_CRITICAL); }
inline void leave_critical_last() {
  TRI_TLS_SET_ZERO(TRI_CRITICAL);
  if (TRI_UNLIKELY(preempt_is_pending())) preempt_late();
}

}  // namespace tri::sched

#endif
