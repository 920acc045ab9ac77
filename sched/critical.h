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

#include "sched/thread_words.h"

namespace tri::sched {

/// The pending preemption, now that nothing forbids it. Out of line.
void preempt_late();

inline bool in_critical() { return !is_zero32<offsetof(ThreadWords, critical)>(); }
inline bool preempt_is_pending() { return !is_zero32<offsetof(ThreadWords, preempt_pending)>(); }

inline void enter_critical() {
  // The handler runs in this thread: order for the compiler is enough, and the assembly gives it.
  increment32<offsetof(ThreadWords, critical)>();
}
inline void leave_critical() {
  decrement32<offsetof(ThreadWords, critical)>();
  if (TRI_UNLIKELY(preempt_is_pending()) && !in_critical()) preempt_late();
}

/// The same where the count is known to be 0 before: a store does not wait for the store before it.
inline void enter_critical_first() { set32<offsetof(ThreadWords, critical), 1>(); }
inline void leave_critical_last() {
  set32<offsetof(ThreadWords, critical), 0>();
  if (TRI_UNLIKELY(preempt_is_pending())) preempt_late();
}

}  // namespace tri::sched

#endif
