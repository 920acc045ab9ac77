// once.h - Runs a function once: 16 bytes, not run yet when zero.
//
// As Go's sync.Once: run() returns when the function has returned, whoever ran it. Afterwards it is one load.
//
// Uses: waitq. Used by: shim.
#ifndef TRI_SCHED_ONCE_H
#define TRI_SCHED_ONCE_H

#include <atomic>

#include "sched/waitq.h"

namespace tri::sched {

class Once {
 public:
  constexpr Once() = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  /// 0: it has run; -EAGAIN: another runs it, and the deadline is kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM. The deadline is that
  /// of the wait for another; fn itself runs for as long as it takes. Calling it again within fn waits for ever.
  [[nodiscard]] int run(void (*fn)(void*), void* arg, Time deadline) {
    // acquire: pairs with the release in run_slow().
    if (TRI_LIKELY(state_.load(std::memory_order_acquire) == kDone)) return 0;
    return run_slow(fn, arg, deadline);
  }

 private:
  enum State : uint32_t { kNew, kRunning, kDone };
  void finish();
  int run_slow(void (*fn)(void*), void* arg, Time deadline);

  std::atomic<uint32_t> state_{kNew};  // guard_; read without
  SpinLock guard_;
  WaitQueue queue_;  // guard_
};

static_assert(sizeof(Once) == 16);

}  // namespace tri::sched

#endif
