// spin_lock.h - The lock of the scheduler's short critical sections.
//
// Held for tens of nanoseconds, by a thread that cannot be preempted by us meanwhile (see critical.h). Unlike alloc's Lock it
// does not know its holder: a goroutine may take it on one thread, and the thread that switched away from the goroutine
// releases it (see park()). Unlocking is a plain store. Who finds it taken spins, then yields the processor to
// the kernel, since the holder may have been preempted by it.
//
// Used by: everything in sched that is shared.
#ifndef TRI_SCHED_SPIN_LOCK_H
#define TRI_SCHED_SPIN_LOCK_H

#include <atomic>
#include <cstdint>

#include "sched/critical.h"

namespace tri::sched {

class SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() {
    enter_critical();
    take();
  }
  /// lock() and unlock() of who is in no critical section otherwise: without a count that waits for the one before it.
  void lock_first() {
    TRI_ASSERT(!in_critical());
    enter_critical_first();
    take();
  }
  void unlock_last() {
    release();
    leave_critical_last();
  }
  /// The same of who is in a critical section all the time.
  void take() {
    // acquire: pairs with the release in release().
    if (taken_.exchange(1, std::memory_order_acquire) != 0) lock_slow();
  }
  void release() { taken_.store(0, std::memory_order_release); }
  [[nodiscard]] bool try_lock() {
    enter_critical();
    if (taken_.exchange(1, std::memory_order_acquire) == 0) return true;
    leave_critical();
    return false;
  }
  void unlock() {
    release();
    leave_critical();
  }
  /// acquire: who finds it released sees what its last holder did, and may free the memory that it stands in.
  bool is_locked() const { return taken_.load(std::memory_order_acquire) != 0; }
  /// In a forked child only.
  void reset_after_fork() { taken_.store(0, std::memory_order_relaxed); }

 private:
  void lock_slow();

  std::atomic<uint32_t> taken_{0};
};

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace tri::sched

#endif
