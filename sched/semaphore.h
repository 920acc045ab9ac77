// semaphore.h - Counts permits: 16 bytes; none when zero.
//
// Permits are taken and given in any number. First in, first out: a large request at the front is not overtaken by small ones behind
// it, so it does not starve (as golang.org/x/sync/semaphore).
//
//   state_:   permits << 1 | kWaiters;   with kWaiters set it changes only under guard_
//
// One locked instruction to acquire or release while nobody waits. What was said of freeing a Mutex holds here.
//
// Uses: waitq. Used by: scope, shim.
#ifndef TRI_SCHED_SEMAPHORE_H
#define TRI_SCHED_SEMAPHORE_H

#include <atomic>

#include "sched/waitq.h"

namespace tri::sched {

class Semaphore {
 public:
  constexpr Semaphore() = default;
  explicit constexpr Semaphore(uint32_t permits) : state_(permits << 1) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  static constexpr uint32_t kMost = INT32_MAX;

  /// 0; -EAGAIN for kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM.
  [[nodiscard]] int acquire(uint32_t n, Time deadline);
  /// Fatal if there were more than kMost permits then.
  void release(uint32_t n);
  uint32_t permits() const { return state_.load(std::memory_order_relaxed) >> 1; }

 private:
  static constexpr uint32_t kWaiters = 1;

  void leave(Waiter* w);
  uint32_t grant(uint32_t permits, WakeList* wake);
  uint32_t waiters_bit() const { return queue_.empty() ? 0 : kWaiters; }
  bool release_to_waiters(uint32_t n);

  std::atomic<uint32_t> state_{0};
  SpinLock guard_;
  WaitQueue queue_;  // guard_
};

static_assert(sizeof(Semaphore) == 16);

}  // namespace tri::sched

#endif
