// waitq.h - Who waits on a channel or a lock, first in, first out: Go's sudog queues.
//
// A Waiter stands on the stack of the one who waits, once for each queue that it is in (select: several), and a queue is one
// pointer: a circular list, so that it fits into a lock of a few words that begins as zeros.
//
//   next == null  <=>  the Waiter is in no queue
//
// Everything happens under the lock of the object that owns the queue, except empty(). A Waiter whose claim() failed has left
// already in thought (its deadline passed, another case of its select won): pop_claimed() drops it on the way, and its
// owner finds under the same lock that nothing is to be removed. A Waiter that was claimed stays where it is, and may be
// read without the lock, until ready() is called for it.
//
// Uses: wait. Used by: chan, select, mutex, rwmutex, cond, waitgroup, once, semaphore.
#ifndef TRI_SCHED_WAITQ_H
#define TRI_SCHED_WAITQ_H

#include <atomic>

#include "alloc/base/check.h"
#include "sched/m.h"
#include "sched/wait.h"

namespace tri::sched {

/// current(), without a call where there is one already.
inline G* current_inline() {
  G* const g = current_g();
  return TRI_LIKELY(g != nullptr) ? g : current();
}

struct Waiter {
  Waiter() = default;
  Waiter(G* who, WaitId wait) : g(who), id(wait) {}

  Waiter* next = nullptr;
  Waiter* prev;  // valid only while next is
  G* g;
  WaitId id;
  void* elem;      // chan: where the value is or goes; null for none
  int result = 0;  // what ready() gives, if nothing else comes of it
  // Nobody but those who hold the queue's lock can claim the wait: it has no deadline, no context, no other queue.
  bool sole = false;
  uint32_t n;  // semaphore: how many; rwmutex, once: unused
  Time since;  // mutex: when it came

  bool queued() const { return next != nullptr; }
};

class WaitQueue {
 public:
  constexpr WaitQueue() = default;

  /// Without the lock only a hint; acquire, for who looks at something else after it (see chan.h).
  bool empty() const { return head_.load(std::memory_order_acquire) == nullptr; }

  void push_back(Waiter* w) {
    Waiter* const head = front();
    if (head == nullptr) {
      w->next = w->prev = w;
      set(w);
      return;
    }
    w->next = head;
    w->prev = head->prev;
    head->prev->next = w;
    head->prev = w;
  }
  void push_front(Waiter* w) {
    push_back(w);
    set(w);
  }
  void remove(Waiter* w) {
    TRI_ASSERT(w->queued());
    Waiter* const next = w->next;
    if (next == w) {
      set(nullptr);
    } else {
      w->prev->next = next;
      next->prev = w->prev;
      if (front() == w) set(next);
    }
    w->next = nullptr;
  }
  Waiter* front() const { return head_.load(std::memory_order_relaxed); }

  /// The first that still waits, which is now the caller's to wake; null if there is none.
  [[nodiscard]] Waiter* pop_claimed() {
    for (;;) {
      Waiter* const w = front();
      if (w == nullptr) return nullptr;
      remove(w);
      // A locked instruction less where there is no race.
      if (TRI_LIKELY(w->sole)) {
        w->g->wait.store(w->id | 1, std::memory_order_relaxed);
        return w;
      }
      if (TRI_LIKELY(claim_inline(w->g, w->id))) return w;
    }
  }

 private:
  void set(Waiter* w) { head_.store(w, std::memory_order_relaxed); }

  std::atomic<Waiter*> head_{nullptr};
};

/// What a waiter does whose wait ended without a partner: takes itself out, if nobody has yet. A function of its own, never
/// inlined: after park() the goroutine may be on another thread, and a compiler may keep addresses of thread-local variables
/// (those of the lock's critical section) over the call.
void leave_queue(SpinLock& lock, WaitQueue& queue, Waiter* w);

/// Waiters that were claimed under a lock and are woken after it, in their order. Linked through `next`.
class WakeList {
 public:
  void add(Waiter* w, int result) {
    TRI_ASSERT(!w->queued());
    w->result = result;
    *last_ = w;
    last_ = &w->next;
  }
  bool empty() const { return first_ == nullptr; }
  void wake() {
    *last_ = nullptr;
    for (Waiter* w = first_; w != nullptr;) {
      Waiter* const next = w->next;  // before ready(): then the stack that it stands on is its owner's again
      w->next = nullptr;
      ready(w->g, w->result);
      w = next;
    }
  }

 private:
  Waiter* first_ = nullptr;
  Waiter** last_ = &first_;
};

}  // namespace tri::sched

#endif
