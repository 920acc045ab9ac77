// chan.cc - See chan.h.
#include "sched/chan.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "alloc/malloc.h"
#include "sched/fatal.h"

namespace tri::sched {
namespace {

// The sizes that values mostly have, without a call of memcpy.
[[gnu::always_inline]] inline void copy(void* to, const void* from, size_t size) {
  switch (size) {
    case 0:
      return;
    case 4:
      __builtin_memcpy(to, from, 4);
      return;
    case 8:
      __builtin_memcpy(to, from, 8);
      return;
    case 16:
      __builtin_memcpy(to, from, 16);
      return;
    default:
      memcpy(to, from, size);
  }
}

}  // namespace

Channel* Channel::create(size_t elem_size, size_t capacity) {
  size_t bytes;
  if (elem_size > UINT32_MAX) return nullptr;
  if (__builtin_mul_overflow(elem_size, capacity, &bytes)) return nullptr;
  if (__builtin_add_overflow(bytes, sizeof(Channel), &bytes)) return nullptr;
  void* const memory = allocate(bytes);
  if (memory == nullptr) return nullptr;
  return ::new (memory) Channel(static_cast<uint32_t>(elem_size), capacity);
}

void Channel::ref() { references_.fetch_add(1, std::memory_order_relaxed); }

void Channel::unref() {
  // acq_rel: what the other holders did happens before the free.
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (!receivers_.empty() || !senders_.empty()) fatal("last reference given up while somebody waits on channel", this);
  this->~Channel();
  deallocate(this);
}

void Channel::zero_element(void* out) const {
  if (out != nullptr) memset(out, 0, elem_size_);
}

inline void Channel::put(const void* value) {
  copy(slot(put_at_), value, elem_size_);
  const size_t next = put_at_ + 1;
  put_at_ = next == capacity_ ? 0 : next;
}

inline void Channel::take(void* out) {
  if (out != nullptr) copy(out, slot(take_at_), elem_size_);
  const size_t next = take_at_ + 1;
  take_at_ = next == capacity_ ? 0 : next;
}

[[gnu::always_inline]] inline Channel::Outcome Channel::send_locked(const void* value, Waiter** wake) {
  if constexpr (kVerify) verify();
  if (TRI_UNLIKELY(closed_.load(std::memory_order_relaxed))) return Outcome::kClosed;
  if (Waiter* const w = receivers_.pop_claimed()) {
    if (w->elem != nullptr) copy(w->elem, value, elem_size_);
    *wake = w;
    return Outcome::kDone;
  }
  const size_t count = count_.load(std::memory_order_relaxed);
  if (count == capacity_) return Outcome::kWouldWait;
  put(value);
  count_.store(count + 1, std::memory_order_relaxed);
  return Outcome::kDone;
}

[[gnu::always_inline]] inline Channel::Outcome Channel::receive_locked(void* out, Waiter** wake) {
  if constexpr (kVerify) verify();
  const size_t count = count_.load(std::memory_order_relaxed);
  if (count != 0) {
    take(out);
    if (Waiter* const w = senders_.pop_claimed()) {
      put(w->elem);
      *wake = w;
    } else {
      count_.store(count - 1, std::memory_order_relaxed);
    }
    return Outcome::kDone;
  }
  if (TRI_UNLIKELY(closed_.load(std::memory_order_relaxed))) {
    zero_element(out);
    return Outcome::kClosed;
  }
  if (Waiter* const w = senders_.pop_claimed()) {
    if (out != nullptr) copy(out, w->elem, elem_size_);
    *wake = w;
    return Outcome::kDone;
  }
  return Outcome::kWouldWait;
}

// Ends what lock_first() began.
[[gnu::always_inline]] inline void Channel::unlock_and_wake(const Waiter* wake) {
  lock_.release();
  if (wake != nullptr) ready_in_critical(wake->g, wake->result);
  leave_critical_last();
}

Channel::Outcome Channel::try_send(const void* value, Waiter** wake) { return send_locked(value, wake); }
Channel::Outcome Channel::try_receive(void* out, Waiter** wake) { return receive_locked(out, wake); }

int Channel::send(const void* value, Time deadline) {
  // A try that must fail needs no lock. Each look is at one word; a channel is closed once and for all, and a closed one does
  // not turn from "has room" to "has none". So "not closed", then "full", means that it was both at one moment.
  if (deadline <= kNoWait && !is_closed() && is_full()) return -EAGAIN;
  Waiter* wake = nullptr;
  lock_.lock_first();
  const Outcome outcome = send_locked(value, &wake);
  if (TRI_LIKELY(outcome == Outcome::kDone)) {
    unlock_and_wake(wake);
    return 0;
  }
  if (outcome == Outcome::kWouldWait && deadline > kNoWait) return wait_send(value, deadline);
  lock_.unlock_last();
  return outcome == Outcome::kClosed ? -EPIPE : -EAGAIN;
}

int Channel::receive(void* out, Time deadline) {
  // Here the second look at the ring is needed: values sent between the first and the close are still to be received.
  if (deadline <= kNoWait && is_empty() && !is_closed()) return -EAGAIN;
  Waiter* wake = nullptr;
  lock_.lock_first();
  const Outcome outcome = receive_locked(out, &wake);
  if (TRI_LIKELY(outcome == Outcome::kDone)) {
    unlock_and_wake(wake);
    return 0;
  }
  if (outcome == Outcome::kWouldWait && deadline > kNoWait) return wait_receive(out, deadline);
  lock_.unlock_last();
  return outcome == Outcome::kClosed ? -EPIPE : -EAGAIN;
}

// Waits with the lock held, which park() gives up.
[[gnu::noinline]] int Channel::wait_send(const void* value, Time deadline) {
  G* const g = current_inline();
  if (TRI_UNLIKELY(g == nullptr)) {
    lock_.unlock();
    return -ENOMEM;
  }
  Waiter w(g, begin_wait_inline(g));
  w.sole = deadline == kForever && g->context == nullptr;
  w.elem = const_cast<void*>(value);
  senders_.push_back(&w);
  const int result = park(WaitReason::kSend, &lock_, deadline);
  if (TRI_LIKELY(result >= 0)) return result == kWokenClosed ? -EPIPE : 0;
  leave_queue(lock_, senders_, &w);
  return result;
}

[[gnu::noinline]] int Channel::wait_receive(void* out, Time deadline) {
  G* const g = current_inline();
  if (TRI_UNLIKELY(g == nullptr)) {
    lock_.unlock();
    return -ENOMEM;
  }
  Waiter w(g, begin_wait_inline(g));
  w.sole = deadline == kForever && g->context == nullptr;
  w.elem = out;
  receivers_.push_back(&w);
  const int result = park(WaitReason::kReceive, &lock_, deadline);
  if (TRI_LIKELY(result == 0)) return 0;
  if (result == kWokenClosed) {
    zero_element(out);
    return -EPIPE;
  }
  leave_queue(lock_, receivers_, &w);
  return result;
}

bool Channel::close() {
  WakeList wake;
  lock_.lock();
  if (closed_.load(std::memory_order_relaxed)) {
    lock_.unlock();
    return false;
  }
  // release: pairs with the acquire of a receive that finds the channel closed without taking the lock.
  closed_.store(true, std::memory_order_release);
  while (Waiter* const w = receivers_.pop_claimed()) wake.add(w, w->result | kWokenClosed);
  while (Waiter* const w = senders_.pop_claimed()) wake.add(w, w->result | kWokenClosed);
  if constexpr (kVerify) verify();
  lock_.unlock();
  wake.wake();
  return true;
}

void Channel::verify() const {
  TRI_CHECK(lock_.is_locked());
  TRI_CHECK(length() <= capacity_);
  TRI_CHECK(capacity_ == 0 || (put_at_ < capacity_ && take_at_ < capacity_));
  TRI_CHECK(capacity_ == 0 || (take_at_ + length()) % capacity_ == put_at_);
  if (closed_.load(std::memory_order_relaxed)) {
    TRI_CHECK(receivers_.empty());
    TRI_CHECK(senders_.empty());
  }
}

int wait_on_nothing(Time deadline) {
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  begin_wait(g);
  return park(WaitReason::kNilChannel, nullptr, deadline);
}

}  // namespace tri::sched
