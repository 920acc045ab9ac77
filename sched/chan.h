// chan.h - Channels: a ring of values, and the two queues of those who wait for it, under one lock.
//
// As Go's. A value passes in one of three ways, and always in the order of the calls:
//
//   somebody receives already   the sender copies straight to where the receiver wants it, and makes it run next
//   there is room               into the ring; a receiver takes the first
//   neither                     the sender waits in line with its value; a receiver takes the ring's first value and puts that
//                               of the first sender at its end (or, without a ring, takes it straight from the sender)
//
//   receivers wait  =>  count == 0 and no sender waits        senders wait  =>  count == capacity
//   closed          =>  nobody waits
//
// (Waiters whose wait is over, but who have not taken themselves out yet, do not count.) One locked instruction for a send or
// receive that need not wait (the lock's; unlocking is a store), one more (the claim) for each waiter that is woken.
//
// What happens before what is Go's, since everything is done under the lock: a send before the receive of its value completes;
// close before a receive that tells of it; a receive without ring before its send completes; the k-th receive before the
// (k + capacity)-th send completes.
//
// Uses: waitq. Used by: select, shim.
#ifndef TRI_SCHED_CHAN_H
#define TRI_SCHED_CHAN_H

#include <atomic>
#include <cstddef>

#include "sched/waitq.h"

namespace tri::sched {

/// Bit 0 of what a waiter of a channel is woken with: the channel was closed. Above it, the number of the select's case.
inline constexpr int kWokenClosed = 1;
inline constexpr int kCaseShift = 1;

class Channel {
 public:
  /// One reference is the caller's. Null without memory, or for a size that no memory has.
  [[nodiscard]] static Channel* create(size_t elem_size, size_t capacity);
  void ref();
  /// Frees the channel with the last reference.
  void unref();

  /// 0; -EPIPE: closed; -EAGAIN: would wait, and the deadline is kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM. Any thread.
  [[nodiscard]] int send(const void* value, Time deadline);
  /// The same; `out` may be null: the value is dropped. -EPIPE: closed and empty; *out is zeroed.
  [[nodiscard]] int receive(void* out, Time deadline);
  /// Wakes all who wait. False if it was closed already.
  [[nodiscard]] bool close();

  size_t length() const { return count_.load(std::memory_order_acquire); }
  size_t capacity() const { return capacity_; }
  size_t elem_size() const { return elem_size_; }
  bool is_closed() const { return closed_.load(std::memory_order_acquire); }

  // ---- for select ------------------------------------------------------------------------------------------------

  /// Whether a call would not wait: without the lock only a hint.
  bool may_send() const {
    const bool full = is_full();
    return !full | is_closed();  // no branch: mostly neither is so
  }
  bool may_receive() const {
    const bool empty = is_empty();
    return !empty | is_closed();
  }
  SpinLock& lock() { return lock_; }

  /// What a send or receive under the lock came to.
  enum class Outcome : uint8_t { kWouldWait, kDone, kClosed };
  /// With the lock held, does it if it need not wait. *wake: who is to be readied after the unlock, with its result; or null.
  [[nodiscard]] Outcome try_send(const void* value, Waiter** wake);
  [[nodiscard]] Outcome try_receive(void* out, Waiter** wake);
  WaitQueue& senders() { return senders_; }
  WaitQueue& receivers() { return receivers_; }
  void zero_element(void* out) const;

  /// Checks the equations above; with the lock held.
  void verify() const;

 private:
  Channel(uint32_t elem_size, size_t capacity) : elem_size_(elem_size), capacity_(capacity) {}
  Outcome send_locked(const void* value, Waiter** wake);
  Outcome receive_locked(void* out, Waiter** wake);
  void unlock_and_wake(const Waiter* wake);
  int wait_send(const void* value, Time deadline);
  int wait_receive(void* out, Time deadline);
  // Both looks are acquire: closed_, looked at after it, must not be as it was before.
  bool is_full() const { return capacity_ == 0 ? receivers_.empty() : length() == capacity_; }
  bool is_empty() const { return capacity_ == 0 ? senders_.empty() : length() == 0; }
  char* slot(size_t i) { return reinterpret_cast<char*>(this + 1) + i * elem_size_; }
  void put(const void* value);
  void take(void* out);

  SpinLock lock_;
  std::atomic<uint32_t> references_{1};
  const uint32_t elem_size_;
  std::atomic<bool> closed_{false};  // lock_; read without
  std::atomic<size_t> count_{0};     // lock_; read without
  const size_t capacity_;
  WaitQueue receivers_;  // lock_
  WaitQueue senders_;    // lock_
  size_t put_at_ = 0;    // lock_
  size_t take_at_ = 0;   // lock_
  // The ring follows, aligned to 16 as blocks are.
};

static_assert(sizeof(Channel) == 64);

/// Never returns 0: waits on no channel at all, until the deadline or a cancellation.
[[nodiscard]] int wait_on_nothing(Time deadline);

}  // namespace tri::sched

#endif
