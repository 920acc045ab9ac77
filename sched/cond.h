// cond.h - Condition variables: 16 bytes, nobody waiting when zero.
//
// As Go's sync.Cond. The place in the queue is the ticket: it is taken before the mutex is given up, so signal() wakes, of those
// who waited when it was called, the one who waits longest, and no one who comes later can take that wake-up away.
// There are no spurious wake-ups; but who was woken takes the mutex again, and others may have been there before.
//
// signal() and broadcast() with nobody waiting are one load.
//
// Uses: mutex. Used by: shim.
#ifndef TRI_SCHED_COND_H
#define TRI_SCHED_COND_H

#include "sched/mutex.h"

namespace tri::sched {

class Cond {
 public:
  constexpr Cond() = default;
  Cond(const Cond&) = delete;
  Cond& operator=(const Cond&) = delete;

  /// With `mutex` locked: gives it up, waits, and takes it again, whatever comes. 0: woken; -EAGAIN for kNoWait, -ETIMEDOUT,
  /// -ECANCELED, -ENOMEM. Fatal if the mutex is not locked.
  [[nodiscard]] int wait(Mutex* mutex, Time deadline);
  void signal();
  void broadcast();

 private:
  SpinLock guard_;
  WaitQueue queue_;  // guard_
};

static_assert(sizeof(Cond) == 16);

}  // namespace tri::sched

#endif
