// once.cc - See once.h.
#include "sched/once.h"

#include <cerrno>

namespace tri::sched {

int Once::run_slow(void (*fn)(void*), void* arg, Time deadline) {
  guard_.lock();
  const uint32_t state = state_.load(std::memory_order_relaxed);
  if (state == kNew) {
    state_.store(kRunning, std::memory_order_relaxed);
    guard_.unlock();
    fn(arg);
    finish();
    return 0;
  }
  G* const g = state == kDone || deadline <= kNoWait ? nullptr : current();
  if (g == nullptr) {
    guard_.unlock();
    return state == kDone ? 0 : deadline <= kNoWait ? -EAGAIN : -ENOMEM;
  }
  Waiter w(g, begin_wait(g));
  queue_.push_back(&w);
  const int result = park(WaitReason::kOnce, &guard_, deadline);
  if (result == 0) return 0;
  leave_queue(guard_, queue_, &w);
  return result;
}

// Not inlined: fn may have moved the goroutine to another thread.
[[gnu::noinline]] void Once::finish() {
  WakeList wake;
  guard_.lock();
  // release: pairs with the acquire in run().
  state_.store(kDone, std::memory_order_release);
  while (Waiter* const w = queue_.pop_claimed()) wake.add(w, 0);
  guard_.unlock();
  wake.wake();
}

}  // namespace tri::sched
