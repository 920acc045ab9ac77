// mutex.h - Mutual exclusion that parks: 16 bytes, unlocked when zero.
//
// As Go's sync.Mutex, with a queue of its own in place of a semaphore. Two modes:
//   normal    an unlock frees the lock and wakes the first waiter, which competes with whoever comes by. Those who run win mostly, and
//             that is fast; the one who was woken and lost goes back to the front of the queue.
//   starving  once a waiter has lost for 1 ms, the lock goes from hand to hand: unlock gives it to the first waiter, and who comes by
//             queues at the end. It ends with the last waiter, or with one that waited for less than 1 ms.
//
// One locked instruction for lock(), one for unlock(), when nobody else is there.
//
//   state_:   kLocked     held
//             kWoken      somebody is awake and on its way to it: an unlock need not wake another
//             kStarving   as above; then kLocked is never clear
//             kWaiters    the queue is not empty
//   kStarving and kWaiters change only under guard_; kLocked and kWoken also without.
//
// unlock() touches the mutex no more once another may have it, except while a waiter, which needs it, still sleeps: so the
// one who takes it last may free the memory it stands in.
//
// Uses: waitq. Used by: context, cmap, cond, shim.
#ifndef TRI_SCHED_MUTEX_H
#define TRI_SCHED_MUTEX_H

#include <atomic>

#include "sched/waitq.h"

namespace tri::sched {

class Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  /// Waits for ever, whatever becomes of the context.
  void lock() {
    if (TRI_UNLIKELY(!try_lock())) lock_uncancelled();
  }
  /// 0; -EAGAIN: held, and the deadline is kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM.
  [[nodiscard]] int lock_until(Time deadline) { return TRI_LIKELY(try_lock()) ? 0 : lock_slow(deadline); }
  /// By anybody, not only by the one who locked it. Fatal if it is not locked.
  void unlock() {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    // release: pairs with the acquire of the next lock. It is the last that touches the mutex: the next holder may free it.
    if (TRI_UNLIKELY(!needs_nobody(seen) ||
                     !state_.compare_exchange_strong(seen, seen & ~kLocked, std::memory_order_release,
                                                     std::memory_order_relaxed)))
      unlock_slow();
  }
  bool is_locked() const { return (state_.load(std::memory_order_relaxed) & kLocked) != 0; }
  bool is_starving() const { return (state_.load(std::memory_order_relaxed) & kStarving) != 0; }

 private:
  static constexpr uint32_t kLocked = 1;
  static constexpr uint32_t kWoken = 2;
  static constexpr uint32_t kStarving = 4;
  static constexpr uint32_t kWaiters = 8;

  /// One attempt, which may fail by chance when others are at it. It looks first: that costs nothing measurable when nobody is there, and
  /// spares a second locked instruction, some 3 ns, when waiters are.
  bool try_lock() {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    // acquire: pairs with the release of the unlock.
    return (seen & (kLocked | kStarving)) == 0 &&
           state_.compare_exchange_strong(seen, seen | kLocked, std::memory_order_acquire, std::memory_order_relaxed);
  }
  /// Whether the holder has nobody to wake and nobody to hand the lock to.
  static bool needs_nobody(uint32_t seen) {
    return (seen & (kLocked | kStarving)) == kLocked && (seen & (kWaiters | kWoken)) != kWaiters;
  }
  void lock_uncancelled();
  int lock_slow(Time deadline);
  bool try_barge(bool* awoken);
  int wait_for_turn(G* g, Time deadline, Time* since, bool starving, bool* awoken);
  void leave(Waiter* w);
  void unlock_slow();
  bool hand_over();

  std::atomic<uint32_t> state_{0};
  SpinLock guard_;
  WaitQueue queue_;  // guard_
};

static_assert(sizeof(Mutex) == 16);

class MutexGuard {
 public:
  explicit MutexGuard(Mutex& mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexGuard() { mutex_.unlock(); }
  MutexGuard(const MutexGuard&) = delete;
  MutexGuard& operator=(const MutexGuard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace tri::sched

#endif
