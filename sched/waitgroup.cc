// waitgroup.cc - See waitgroup.h.
#include "sched/waitgroup.h"

#include <cerrno>

#include "sched/fatal.h"

namespace tri::sched {

void WaitGroup::add(int n) {
  if (TRI_UNLIKELY(n >= kMost || n <= -kMost)) fatal("count out of range of waitgroup", this);
  // release: what was done before done() is seen by who waited (acquire in wait()); acquire: the last passes it all on.
  const int64_t before = state_.fetch_add(n * 2, std::memory_order_acq_rel);
  const int64_t after = before + n * 2;
  if (TRI_UNLIKELY(after < 0)) fatal("count below zero of waitgroup", this);
  if (TRI_UNLIKELY(after >= int64_t{kMost} * 2)) fatal("count out of range of waitgroup", this);
  if (TRI_UNLIKELY(after == kWaiters)) wake_all();
}

void WaitGroup::wake_all() {
  WakeList wake;
  guard_.lock();
  // Somebody may have counted up again meanwhile. Those who waited saw zero pass, so they go in any case.
  while (Waiter* const w = queue_.pop_claimed()) wake.add(w, 0);
  // release: pairs with the acquire in wait().
  state_.fetch_and(~kWaiters, std::memory_order_release);
  guard_.unlock();
  wake.wake();
}

int WaitGroup::wait(Time deadline) {
  // acquire: pairs with the release in add(). Zero with kWaiters: the last done() is about to wake, and holds
  // on to the memory; wait for it as the others do.
  if (state_.load(std::memory_order_acquire) == 0) {
    if (TRI_LIKELY(!guard_.is_locked())) return 0;
    SpinGuard until_woken(guard_);
    return 0;
  }
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  guard_.lock();
  int32_t seen = state_.load(std::memory_order_acquire);
  do {
    if (seen == 0) {
      guard_.unlock();
      return 0;
    }
  } while (!state_.compare_exchange_weak(seen, seen | kWaiters, std::memory_order_acquire));
  Waiter w(g, begin_wait(g));
  queue_.push_back(&w);
  const int result = park(WaitReason::kWaitGroup, &guard_, deadline);
  if (TRI_LIKELY(result == 0)) return 0;
  leave_queue(guard_, queue_, &w);
  return result;
}

}  // namespace tri::sched
