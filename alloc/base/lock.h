// lock.h - A mutex of four bytes that knows its holder.
//
// The word is 0, or the holder's thread id with bit 31 set while somebody may sleep on it. Knowing the holder is what
// makes fork() inside a signal handler possible: the handler can see that the thread it interrupted holds the lock.
// After fork the child resets every lock, except those that its own thread holds below it on the stack.
//
// Uses: sys. Used by: every shared structure of the allocator.
#ifndef TRI_ALLOC_BASE_LOCK_H
#define TRI_ALLOC_BASE_LOCK_H

#include <atomic>
#include <cstdint>

#include "alloc/base/check.h"
#include "alloc/base/lock_rank.h"

namespace tri {

class Lock {
 public:
  explicit constexpr Lock(LockRank rank) : rank_(rank) {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  void lock();
  /// Gives up after about `microseconds`; false then.
  [[nodiscard]] bool try_lock_for(unsigned microseconds);
  void unlock();
  bool held_by_me() const;
  /// For a forked child, which has another id than the thread that it was.
  bool was_held_by(uint32_t thread_id) const;

  /// In a forked child only: whoever held it in the parent does not exist here.
  void reset_after_fork() { word_.store(0, std::memory_order_relaxed); }

 private:
  void lock_slow(uint32_t me);

  std::atomic<uint32_t> word_{0};
  LockRank rank_;
};

class LockGuard {
 public:
  explicit LockGuard(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace tri

#endif
