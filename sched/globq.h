// globq.h - The queue of runnable goroutines that no P has: a list under a lock, whose length is readable without.
//
// It takes what plain threads start and wake, what a full ring throws out, and what lost its P. Every 61st tick of a P looks
// here first, so that full rings starve nobody. Preempted goroutines wait in one of their own for a P.
//
// Used by: proc, find_work, park.
#ifndef TRI_SCHED_GLOBQ_H
#define TRI_SCHED_GLOBQ_H

#include <atomic>
#include <cstdint>

#include "sched/g.h"

namespace tri::sched {

class GlobQ {
 public:
  /// Any thread, in parallel with everything; so all below. The batch is linked by next and ends in `last`.
  void put(G* first, G* last, uint32_t n) {
    last->next = nullptr;
    SpinGuard guard(lock_);
    (tail_ == nullptr ? head_ : tail_->next) = first;
    tail_ = last;
    // seq_cst: stands before the putter's look at idle Ps; pairs with the sleeper's second look.
    size_.store(size_.load(std::memory_order_relaxed) + n, std::memory_order_seq_cst);
  }
  void put(G* g) { put(g, g, 1); }

  /// Up to n of them, linked by next and ended by null.
  G* take(uint32_t n) {
    SpinGuard guard(lock_);
    G* const first = head_;
    if (first == nullptr) return nullptr;
    G* last = first;
    uint32_t got = 1;
    for (; got < n && last->next != nullptr; ++got) last = last->next;
    head_ = last->next;
    if (head_ == nullptr) tail_ = nullptr;
    last->next = nullptr;
    size_.store(size_.load(std::memory_order_relaxed) - got, std::memory_order_relaxed);
    return first;
  }

  /// A hint, but to a sleeper that has announced itself.
  uint32_t size() const { return size_.load(std::memory_order_relaxed); }

  void reset_after_fork() {
    lock_.reset_after_fork();
    head_ = tail_ = nullptr;
    size_.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t> size_{0};  // written under lock_
  SpinLock lock_;
  G* head_ = nullptr;
  G* tail_ = nullptr;
};

}  // namespace tri::sched

#endif
