// cond.cc - See cond.h.
#include "sched/cond.h"

#include <cerrno>

#include "sched/fatal.h"

namespace tri::sched {

int Cond::wait(Mutex* mutex, Time deadline) {
  if (TRI_UNLIKELY(!mutex->is_locked())) fatal("wait on a condition with unlocked mutex", mutex);
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  Waiter w(g, begin_wait(g));
  guard_.lock();
  queue_.push_back(&w);
  // Within the guard: who takes the mutex now and signals finds us parked. Unlocking opens no wait of its own.
  mutex->unlock();
  const int result = park(WaitReason::kCondition, &guard_, deadline);
  if (result < 0) leave_queue(guard_, queue_, &w);
  mutex->lock();
  return result;
}

void Cond::signal() {
  // Who changed the condition in the mutex sees everybody who waited before: they queued while they held it.
  if (queue_.empty()) return;
  guard_.lock();
  Waiter* const w = queue_.pop_claimed();
  guard_.unlock();
  if (w != nullptr) ready(w->g, 0);
}

void Cond::broadcast() {
  if (queue_.empty()) return;
  WakeList wake;
  guard_.lock();
  while (Waiter* const w = queue_.pop_claimed()) wake.add(w, 0);
  guard_.unlock();
  wake.wake();
}

}  // namespace tri::sched
