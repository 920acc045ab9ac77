// waitgroup.h - Waits until a count is zero: 16 bytes, zero when zero.
//
// As Go's sync.WaitGroup. The count and the bit that says that somebody waits share a word, so done() is one locked
// instruction, and only the last one looks for waiters.
//
//   state_:   count << 1 | kWaiters;   kWaiters changes only under guard_
//
// Whoever finds the count at zero may free the memory: the last done() touches it no more, or holds guard_, and then wait()
// stays until it is released.
//
// Uses: waitq. Used by: scope, shim.
#ifndef TRI_SCHED_WAITGROUP_H
#define TRI_SCHED_WAITGROUP_H

#include <atomic>

#include "sched/waitq.h"

namespace tri::sched {

class WaitGroup {
 public:
  constexpr WaitGroup() = default;
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  /// Fatal if the count gets below zero, or above 2^30.
  void add(int n);
  void done() { add(-1); }
  /// 0; -EAGAIN for kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM.
  [[nodiscard]] int wait(Time deadline);
  int count() const { return state_.load(std::memory_order_relaxed) >> 1; }

 private:
  static constexpr int32_t kWaiters = 1;
  static constexpr int32_t kMost = 1 << 30;

  void wake_all();

  std::atomic<int32_t> state_{0};
  SpinLock guard_;
  WaitQueue queue_;  // guard_
};

static_assert(sizeof(WaitGroup) == 16);

}  // namespace tri::sched

#endif
