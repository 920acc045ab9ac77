// huge_cache.h - The few huge blocks that were freed last, with their memory.
//
// A program that computes on arrays of some ten MiB allocates and frees one for each intermediate result. Each as a new mapping would cost a
// page fault for every page: more than most of what is done with it. So the last ones stay for the next of about their size,
// few and for a short time: what nobody has asked for within a half-life of free pages goes back to the OS (scavenger.h).
//
// Only once the program has shown that it does this: by asking for a size that it had freed shortly before, and that went back to the OS.
// One that grows an array by half again and again frees sizes that it never asks for again, and would hold all of them.
//
// A cached span: place == kCached, still on the heap's list and in the pagemap, which is how a second free() of it is found out.
// Guarded by the heap's lock. Used by: mheap.
#ifndef TRI_ALLOC_HUGE_CACHE_H
#define TRI_ALLOC_HUGE_CACHE_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/span.h"

namespace tri {

class HugeCache {
 public:
  /// Of all entries together. Larger blocks are not kept: what they cost is little beside what is done with them.
  static constexpr size_t kMaxBytes = size_t{64} * 1024 * 1024;
  static constexpr size_t kEntries = 4;

  /// The smallest that serves, at most an eighth larger than asked for; null for none. `alignment` is a power of two.
  [[nodiscard]] Span* take(size_t bytes, size_t alignment);
  /// Whether one that is freed now should be kept; for some there is room only once others have gone (take_oldest()).
  bool wants(const Span* s) const { return is_in_use_ && s->bytes <= kMaxBytes; }
  /// One of this size goes back to the OS.
  void note_gone(size_t bytes);
  bool has_room(size_t bytes) const { return count_ < kEntries && bytes_now() + bytes <= kMaxBytes; }
  void put(Span* s, int64_t now_ns);
  /// One that has been here since before `ns`, unused; null for none. It goes back to the OS.
  [[nodiscard]] Span* take_older(int64_t ns);
  [[nodiscard]] Span* take_oldest();
  /// Any thread, without the lock: a hint then.
  size_t bytes() const { return bytes_now(); }

 private:
  struct Entry {
    Span* span;
    int64_t since;
  };

  size_t bytes_now() const { return bytes_.load(std::memory_order_relaxed); }
  Span* remove(size_t i);
  static bool serves(size_t have, size_t bytes) { return have >= bytes && have <= bytes + bytes / 8; }

  Entry entries_[kEntries] = {};  // oldest first
  size_t count_ = 0;
  std::atomic<size_t> bytes_{0};
  size_t gone_[kEntries] = {};  // the sizes that went last; 0: none
  size_t next_gone_ = 0;
  bool is_in_use_ = false;  // the program asks for what it has freed
};

}  // namespace tri

#endif
