// thread_list.h - All Thread records: in use, and waiting for their next thread.
//
// Guarded by kThreads. Used by: thread, fork, stats, scavenger.
#ifndef TRI_ALLOC_THREAD_LIST_H
#define TRI_ALLOC_THREAD_LIST_H

#include <atomic>

#include "alloc/base/lock.h"
#include "alloc/counters.h"
#include "alloc/persistent.h"
#include "alloc/remote_free.h"
#include "alloc/thread.h"

namespace tri {

class ThreadList {
 public:
  /// A record for the calling thread; null when there is no memory.
  [[nodiscard]] Thread* acquire() {
    LockGuard guard(lock_);
    Thread* t = idle_;
    if (t != nullptr) {
      idle_ = t->next_idle;
    } else {
      void* memory = persistent::alloc(sizeof(Thread), alignof(Thread));
      if (memory == nullptr) return nullptr;
      t = ::new (memory) Thread;
      t->next_all = all_;
      all_ = t;
    }
    set_count(count() + 1);
    t->alive.store(true, std::memory_order_seq_cst);
    return t;
  }

  /// Takes the record of the calling thread, which owns no span any more.
  void retire(Thread* t) {
    // seq_cst, both the store and the look at the stack in drain_notify(): see notify() in remote_free.cc.
    t->alive.store(false, std::memory_order_seq_cst);
    drain_notify(t->mcache);
    t->mcache.busy = false;
    LockGuard guard(lock_);
    t->next_idle = idle_;
    idle_ = t;
    set_count(count() - 1);
  }

  size_t count() const { return count_.load(std::memory_order_relaxed); }

  /// Calls fn(thread) for each record, in use or not, with the lock held.
  template <class Fn>
  void each(Fn&& fn) {
    LockGuard guard(lock_);
    for (Thread* t = all_; t != nullptr; t = t->next_all) fn(t);
  }

  /// In a forked child: all records but `mine` (may be null) are fresh and idle.
  void reset_after_fork(Thread* mine) {
    idle_ = nullptr;
    size_t n = 0;
    for (Thread* t = all_; t != nullptr; t = t->next_all) {
      if (t == mine) {
        ++n;
        continue;
      }
      Thread* const next_all = t->next_all;
      ::new (static_cast<void*>(t)) Thread;
      t->next_all = next_all;
      t->next_idle = idle_;
      idle_ = t;
    }
    set_count(n);
  }

  Lock& lock() { return lock_; }

 private:
  void set_count(size_t n) {
    count_.store(n, std::memory_order_relaxed);
    counters->set_threads(n);
  }

  Lock lock_{LockRank::kThreads};
  std::atomic<size_t> count_{0};  // written under kThreads
  Thread* all_ = nullptr;
  Thread* idle_ = nullptr;
};

extern constinit ThreadList thread_list;

}  // namespace tri

#endif
