// rwmutex.cc - See rwmutex.h.
#include "sched/rwmutex.h"

#include <cerrno>

#include "sched/context.h"
#include "sched/fatal.h"

namespace tri::sched {

void RWMutex::read_lock() {
  if (TRI_LIKELY(read_lock_until(kNoWait) == 0)) return;
  G* const g = current();
  if (g == nullptr) fatal("no memory to wait for rwlock", this);
  Uncancelled scope(g);
  if (read_lock_until(kForever) != 0) fatal("too many readers of rwlock", this);
}

void RWMutex::write_lock() {
  if (TRI_LIKELY(write_lock_until(kNoWait) == 0)) return;
  G* const g = current();
  if (g == nullptr) fatal("no memory to wait for rwlock", this);
  Uncancelled scope(g);
  (void)write_lock_until(kForever);
}

// With guard_ held: adds `taken` to state_, if nothing is in it but what is `harmless` and `past_queue` allows; else sets
// kWaiters. True if taken.
bool RWMutex::enlist(uint32_t harmless, bool past_queue, uint32_t taken) {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    const bool free = (seen & ~(harmless | kWaiters)) == 0 && past_queue;
    const uint32_t next = free ? seen + taken : seen | kWaiters;
    if (state_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed)) return free;
  }
}

// With guard_ held, which it gives up.
int RWMutex::queue_up(WaitQueue* queue, WaitReason reason, Time deadline) {
  G* const g = current();  // not null: the caller has asked
  Waiter w(g, begin_wait(g));
  queue->push_back(&w);
  const int result = park(reason, &guard_, deadline);
  if (result < 0) leave(queue, &w);
  return result;
}

// Not inlined: see leave_queue().
[[gnu::noinline]] void RWMutex::leave(WaitQueue* queue, Waiter* w) {
  WakeList wake;
  guard_.lock();
  if (w->queued()) queue->remove(w);
  uint32_t state = state_.load(std::memory_order_acquire);
  if ((state & kWaiters) != 0) {
    // It may have been the writer that kept readers from joining those who are in.
    if ((state & kWriter) == 0 && writers_.empty()) state += pop_readers(&wake);
    // release: what readers did who have left goes on from the load above to the next writer, past this store.
    state_.store((state & ~kWaiters) | waiters_bit(), std::memory_order_release);
  }
  guard_.unlock();
  wake.wake();
}

int RWMutex::read_lock_slow(Time deadline) {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  while ((seen & (kWriter | kWaiters)) == 0) {
    if (seen >= kMostReaders) return -EOVERFLOW;
    if (state_.compare_exchange_weak(seen, seen + kReader, std::memory_order_acquire, std::memory_order_relaxed))
      return 0;
  }
  if (deadline <= kNoWait) return -EAGAIN;
  if (current() == nullptr) return -ENOMEM;
  guard_.lock();
  if (enlist(~(kWriter | kWaiters), writers_.empty(), kReader)) {
    guard_.unlock();
    return 0;
  }
  return queue_up(&readers_, WaitReason::kReadLock, deadline);
}

int RWMutex::write_lock_slow(Time deadline) {
  if (deadline <= kNoWait) return -EAGAIN;
  if (current() == nullptr) return -ENOMEM;
  guard_.lock();
  if (enlist(0, writers_.empty() && readers_.empty(), kWriter)) {
    guard_.unlock();
    return 0;
  }
  return queue_up(&writers_, WaitReason::kWriteLock, deadline);
}

uint32_t RWMutex::pop_readers(WakeList* wake) {
  uint32_t granted = 0;
  while (Waiter* const w = readers_.pop_claimed()) {
    wake->add(w, 0);
    granted += kReader;
  }
  return granted;
}

uint32_t RWMutex::pop_writer(WakeList* wake) {
  Waiter* const w = writers_.pop_claimed();
  if (w == nullptr) return 0;
  wake->add(w, 0);
  return kWriter;
}

// Gives up what is held to those who wait. False, and still held, if nobody waits any more: for then
// nobody keeps the memory alive once state_ says that it is free, and guard_ must not be touched any more.
bool RWMutex::release(uint32_t held) {
  WakeList wake;
  guard_.lock();
  // acquire: what other readers did happens before what the writer does that we wake.
  const uint32_t seen = state_.load(std::memory_order_acquire);
  if ((seen & kWaiters) == 0) {
    guard_.unlock();
    return false;
  }
  uint32_t next = (seen & ~kWaiters) - held;
  if (next == 0) {
    next = held == kWriter ? pop_readers(&wake) : pop_writer(&wake);
    if (next == 0) next = held == kWriter ? pop_writer(&wake) : pop_readers(&wake);
    if (next == 0) {
      state_.store(seen & ~kWaiters, std::memory_order_relaxed);
      guard_.unlock();
      return false;
    }
  }
  // release: pairs with the acquire of those who come by later; those who were popped are told by ready().
  state_.store(next | waiters_bit(), std::memory_order_release);
  guard_.unlock();
  wake.wake();
  return true;
}

void RWMutex::read_unlock() {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (TRI_UNLIKELY(seen < kReader)) fatal("read unlock of rwlock without reader", this);
    if (TRI_LIKELY((seen & kWaiters) == 0)) {
      // release: pairs with the acquire of the next writer.
      if (state_.compare_exchange_weak(seen, seen - kReader, std::memory_order_release, std::memory_order_relaxed))
        return;
    } else {
      if (release(kReader)) return;
      seen = state_.load(std::memory_order_relaxed);
    }
  }
}

void RWMutex::write_unlock() {
  for (;;) {
    uint32_t seen = kWriter;
    // release: pairs with the acquire of whoever is next.
    if (TRI_LIKELY(state_.compare_exchange_strong(seen, 0, std::memory_order_release, std::memory_order_relaxed)))
      return;
    if ((seen & kWriter) == 0) fatal("write unlock of rwlock without writer", this);
    if (release(kWriter)) return;
  }
}

}  // namespace tri::sched
