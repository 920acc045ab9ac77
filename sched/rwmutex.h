// rwmutex.h - Many readers or one writer: 24 bytes, unlocked when zero.
//
// Nobody starves: who finds anybody waiting queues too, so a waiting writer stops new readers; and when a writer leaves, all
// readers that wait by then come first, then the next writer. The lock is handed over, never left open for whoever comes by.
//
//   state_:   kWriter held by a writer | kWaiters a queue is not empty | readers in kReader steps
//   kWriter  =>  no readers        kWaiters  =>  somebody holds it
//   With kWaiters set, state_ changes only under guard_.
//
// One locked instruction for each call when nobody waits. Readers share a counter, hence a cache line: sections of less than
// some hundred nanoseconds are better off with a Mutex. What was said of freeing a Mutex holds here.
//
// Uses: waitq. Used by: shim.
#ifndef TRI_SCHED_RWMUTEX_H
#define TRI_SCHED_RWMUTEX_H

#include <atomic>

#include "sched/waitq.h"

namespace tri::sched {

class RWMutex {
 public:
  constexpr RWMutex() = default;
  RWMutex(const RWMutex&) = delete;
  RWMutex& operator=(const RWMutex&) = delete;

  /// 0; -EAGAIN for kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM; -EOVERFLOW: 2^30 readers.
  [[nodiscard]] int read_lock_until(Time deadline) {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    // acquire: pairs with the release of the writer's unlock.
    if (TRI_LIKELY((seen & (kWriter | kWaiters)) == 0 && seen < kMostReaders) &&
        state_.compare_exchange_strong(seen, seen + kReader, std::memory_order_acquire, std::memory_order_relaxed))
      return 0;
    return read_lock_slow(deadline);
  }
  [[nodiscard]] int write_lock_until(Time deadline) {
    uint32_t expected = 0;
    // acquire: pairs with the release of each unlock.
    if (TRI_LIKELY(
            state_.compare_exchange_strong(expected, kWriter, std::memory_order_acquire, std::memory_order_relaxed)))
      return 0;
    return write_lock_slow(deadline);
  }
  /// Wait for ever, whatever becomes of the context.
  void read_lock();
  void write_lock();
  /// Fatal without a reader.
  void read_unlock();
  /// Fatal without a writer.
  void write_unlock();

 private:
  static constexpr uint32_t kWriter = 1;
  static constexpr uint32_t kWaiters = 2;
  static constexpr uint32_t kReader = 4;
  static constexpr uint32_t kMostReaders = UINT32_MAX - kReader;

  int read_lock_slow(Time deadline);
  int write_lock_slow(Time deadline);
  bool enlist(uint32_t harmless, bool past_queue, uint32_t taken);
  int queue_up(WaitQueue* queue, WaitReason reason, Time deadline);
  void leave(WaitQueue* queue, Waiter* w);
  uint32_t pop_readers(WakeList* wake);
  uint32_t pop_writer(WakeList* wake);
  uint32_t waiters_bit() const { return readers_.empty() && writers_.empty() ? 0 : kWaiters; }
  bool release(uint32_t held);

  std::atomic<uint32_t> state_{0};
  SpinLock guard_;
  WaitQueue readers_;  // guard_
  WaitQueue writers_;  // guard_
};

static_assert(sizeof(RWMutex) == 24);

}  // namespace tri::sched

#endif
