// mcentral.h - The spans of one size class that no thread owns.
//
// They were left by threads that ended while blocks in them were in use. Threads that need a span of the class take one
// from here before they ask the heap, so memory outlives its owner. Blocks in them are freed under the lock; a span
// whose last block goes returns to the heap.
//
//   orphan span:  owner == null;  countdown == blocks in use;  on `partial` if kPartial, on no list if kFull
//
// Guarded by one lock for each class. Used by: mcache, remote_free, thread.
#ifndef TRI_ALLOC_MCENTRAL_H
#define TRI_ALLOC_MCENTRAL_H

#include "alloc/base/list.h"
#include "alloc/base/lock.h"
#include "alloc/span.h"

namespace tri {

class alignas(64) MCentral {
 public:
  /// A span with room, now owned by `owner`; null if there is none. Any thread.
  [[nodiscard]] Span* take(MCache* owner, uintptr_t owner_tp);
  /// Leaves a span with `in_use` > 0 blocks in use to whoever needs it. By its owner, in no list.
  void put(Span* s, uint32_t in_use);
  /// Adds free blocks, a chain in the span's own encoding, to an orphan. False if it has an owner after all.
  [[nodiscard]] bool free_chain(Span* s, const RemoteChain& chain);
  /// Moves what other threads freed to the free list of an orphan. False if it has an owner after all. The caller holds
  /// the span's token (see span.h).
  [[nodiscard]] bool collect_remote(Span* s);

  size_t spans() const { return spans_.load(std::memory_order_relaxed); }
  Lock& lock() { return lock_; }

 private:
  /// With the lock held; true if the span is now wholly free, and off all lists.
  [[nodiscard]] bool add_free(Span* s, const RemoteChain& chain);

  Lock lock_{LockRank::kCentral};
  List<Span> partial_;
  // Orphans of the class. Written under the lock; read without it, to see that there is nothing to take.
  std::atomic<size_t> spans_{0};
};

extern constinit MCentral mcentral[kSizeClasses];

}  // namespace tri

#endif
