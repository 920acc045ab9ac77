// thread.h - The record of a thread: its mcache, and whether it is still there.
//
// A thread gets its record at its first slow path, and keeps it until the last of its destructors has run. Records are
// never freed, only used again, so that a late push to the notify stack of a thread that has ended goes astray nowhere.
// What a thread owned is left to mcentral and the heap, before its record is offered to the next thread.
//
// Destructors of thread-specific data run in up to four rounds, and any of them may allocate. The record therefore goes
// in the second round; a thread that allocates even later gets a record for just that call.
//
// Used by: malloc, remote_free, shim (fork).
#ifndef TRI_ALLOC_THREAD_H
#define TRI_ALLOC_THREAD_H

#include <atomic>

#include "alloc/collected.h"
#include "alloc/mcache.h"

namespace tri {

/// The locks that a fork in a signal handler took, by their order in fork.cc.
class ForkLocks {
 public:
  void set(size_t i, bool value) { taken_[i] = value; }
  bool test(size_t i) const { return taken_[i]; }
  void clear() {
    for (bool& taken : taken_) taken = false;
  }
  /// False if all locks were taken.
  void set_interrupted(bool value) { interrupted_ = value; }
  bool interrupted() const { return interrupted_; }

 private:
  bool interrupted_ = false;
  bool taken_[CollectedHooks::kMostLocks + kSizeClasses + 6] = {};
};

struct Thread {
  MCache mcache;
  // False once nothing more will be taken from mcache.notify by a thread of its own (see remote_free.cc).
  std::atomic<bool> alive{false};
  ForkLocks fork_locks;         // owner thread
  Thread* next_all = nullptr;   // kThreads; all records ever made
  Thread* next_idle = nullptr;  // kThreads

  /// Threads that have a record now. Any thread.
  static size_t count();
};

static_assert(offsetof(Thread, mcache) == 0);
inline Thread* thread_of(MCache* mcache) { return reinterpret_cast<Thread*>(mcache); }

// What a thread keeps in thread-local storage: this pointer and a few bytes, of the initial-exec model, so that an access
// is one instruction and never a call.
TRI_INTERNAL extern constinit thread_local MCache* tls_mcache;

/// The calling thread's mcache; empty_mcache if it has none.
inline MCache* current_mcache() { return tls_mcache; }

// Locks of the collected heap that this thread holds (CollectedGuard).
TRI_INTERNAL extern constinit thread_local uint32_t tls_collected_locks;

/// Holds a lock of the collected heap. Meanwhile the thread counts as in a slow path: a goroutine that was interrupted here and lost its
/// processor would hold up all that allocate, on all processors.
class CollectedGuard {
 public:
  explicit CollectedGuard(Lock& lock) : lock_(lock) {
    ++tls_collected_locks;
    std::atomic_signal_fence(
        std::memory_order_seq_cst);  // counted before it is taken, for signal handlers of this thread
    lock_.lock();
  }
  ~CollectedGuard() {
    lock_.unlock();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    --tls_collected_locks;
  }
  CollectedGuard(const CollectedGuard&) = delete;
  CollectedGuard& operator=(const CollectedGuard&) = delete;

 private:
  Lock& lock_;
};

/// True while this thread is in a slow path of the allocator, or gets its record or gives it back: it may hold locks. For signal handlers.
bool in_slow_path();

/// The calling thread's mcache for the time of a slow path, marked busy. Its `get` is null if there is no memory for
/// one, or if this thread is in a slow path already, below the signal handler that is running now: `reentered` then.
class SlowPath {
 public:
  SlowPath() {
    MCache* const mcache = current_mcache();
    if (TRI_UNLIKELY(mcache->busy)) {
      enter_slow(mcache);
    } else {
      mcache->busy = true;
      mcache_ = mcache;
    }
  }
  ~SlowPath() {
    if (TRI_UNLIKELY(mcache_ == nullptr)) return;
    mcache_->busy = false;
    if (TRI_UNLIKELY(temporary_)) leave_temporary();
  }
  SlowPath(const SlowPath&) = delete;
  SlowPath& operator=(const SlowPath&) = delete;

  MCache* get() const { return mcache_; }
  bool reentered() const { return reentered_; }

 private:
  void enter_slow(MCache* mcache);
  void leave_temporary();

  MCache* mcache_ = nullptr;
  bool reentered_ = false;
  bool temporary_ = false;
};

/// Called before fork(), and after it on both sides (see fork.cc). Lock-free state and our own locks only.
void fork_prepare();
void fork_parent();
void fork_child();

/// All locks of the allocator, for who stops all other threads (gc/): none of those is then within it. Any thread outside of the allocator, also one
/// that libc does not know.
void lock_allocator();
void unlock_allocator();

}  // namespace tri

#endif
