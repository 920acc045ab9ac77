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
[[gnu::always_inline]] inline bool anything_to_do(uintptr_t words = words_offset()) {
  return !is_zero32<offsetof(ThreadWords, todo)>(words);
}

inline void enter_critical() {
  // The handler runs in this thread: order for the compiler is enough, and the assembly gives it.
  increment32<offsetof(ThreadWords, critical)>();
}
inline void leave_critical() {
  decrement32<offsetof(ThreadWords, critical)>();
  if (TRI_UNLIKELY(anything_to_do()) && !in_critical()) preempt_late();
}

/// The same where the count is known to be 0 before: a store does not wait for the store before it.
inline void enter_critical_first() { set32<offsetof(ThreadWords, critical), 1>(); }
inline void leave_critical_last() {
  set32<offsetof(ThreadWords, critical), 0>();
  if (TRI_UNLIKELY(anything_to_do())) preempt_late();
}

/// The same after a look that there is nothing to do. A signal that comes between the two is only late: sysmon sends another.
[[gnu::always_inline]] inline void end_critical(uintptr_t words) { set32<offsetof(ThreadWords, critical), 0>(words); }

}  // namespace tri::sched

#endif
