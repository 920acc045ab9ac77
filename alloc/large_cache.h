// large_cache.h - The few large blocks that a thread freed last.
//
// A large block costs the heap's lock, its bitmaps and a pagemap entry for each page; programs that use buffers of a
// few hundred KiB allocate and free them in turn. Here they find the last ones again in a few nanoseconds, as under
// tcmalloc. Bounded in number and bytes; the oldest goes back to the heap.
//
// A cached span: place == kCached, owner == the mcache that keeps it. Owned by one thread. Used by: mcache, malloc.
#ifndef TRI_ALLOC_LARGE_CACHE_H
#define TRI_ALLOC_LARGE_CACHE_H

#include <cstddef>

#include "alloc/span.h"

namespace tri {

class LargeCache {
 public:
  static constexpr size_t kMaxBlockBytes = 512 * 1024;

  /// A cached span of at least `bytes` and not much more, or null.
  [[nodiscard]] Span* take(size_t bytes);
  /// Keeps a span whose block was freed. False if it is too large to keep.
  [[nodiscard]] bool put(Span* s, MCache* keeper);
  /// Gives all back to the heap.
  void release();

 private:
  static constexpr size_t kEntries = 16;
  static constexpr size_t kMaxBytes = 512 * 1024;
  static constexpr size_t kAllBytes = 32 * 1024 * 1024;  // of all threads together

  void remove(size_t i);
  static void evict(Span* s);

  Span* entries_[kEntries] = {};  // oldest first
  size_t count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace tri

#endif
