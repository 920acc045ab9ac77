// mark_queue.h - What markers have still to scan, shared among them.
//
// In chunks, first in, first out: a unit (shadow.h) waits while others find more of its blocks, and the longer it waits the more of them
// are scanned in one visit, in the order of their addresses. Each marker fills one chunk and empties another by itself; only full
// ones come here. When a marker has nothing to do, others hand over what they have not filled yet (wants_work()).
//
//   take()    a chunk; or waits for one; or, when all markers wait, the marking is over: null for all of them, and the next drain can begin
//
// A unit is in the queue once at most, so there is an end to the memory that it takes. If there is none left, the unit stays grey, and the
// tables are searched for such units when all else is done (kSearch).
//
// Any marker, at any time, but for what is said below. See gc.h for the overview. Used by: marker.
#ifndef TRI_GC_MARK_QUEUE_H
#define TRI_GC_MARK_QUEUE_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/lock.h"
#include "gc/shadow.h"

namespace tri::gc {

/// A unit whose grey blocks are to be scanned; or memory, if it has bytes.
struct Work {
  uint64_t at;  // a unit's number, or an address
  size_t bytes;
};

struct MarkChunk {
  // A chunk of pages, less the header.
  static constexpr size_t kBytes = 4096;
  static constexpr size_t kMost = kBytes / sizeof(Work) - 1;
  MarkChunk* next;
  uint32_t begin;  // what was taken
  uint32_t end;    // what was put
  Work work[kMost];

  bool empty() const { return begin == end; }
  bool full() const { return end == kMost; }
};
static_assert(sizeof(MarkChunk) == MarkChunk::kBytes);

class MarkQueue {
 public:
  explicit MarkQueue(unsigned markers) : markers_(markers) {}
  ~MarkQueue();
  MarkQueue(const MarkQueue&) = delete;
  MarkQueue& operator=(const MarkQueue&) = delete;

  /// relaxed: it only goes down, while the caller of leave() has yet to come, and never below those that are there. Who reads it too early
  /// takes more care than he needs to.
  unsigned markers() const { return markers_.load(std::memory_order_relaxed); }
  /// Fewer than were announced: `count` that never came. By one who is no idle marker.
  void leave(unsigned count);

  enum class Next : uint8_t { kChunk, kSearch, kOver };
  /// The oldest chunk; kSearch: the caller alone looks for grey units, and takes again; kOver: nobody has anything to do.
  Next take(MarkChunk** out);
  /// The oldest chunk if there is one.
  [[nodiscard]] bool try_take(MarkChunk** out);
  /// True if there seems to be one.
  bool has_work() const { return head_hint_.load(std::memory_order_relaxed) != nullptr; }
  /// True if another marker waits for work that nobody has put here.
  bool wants_work() const { return waiting_.load(std::memory_order_relaxed) != 0 && !has_work(); }
  void put(MarkChunk* c);
  /// An empty one; null without memory.
  [[nodiscard]] MarkChunk* get_empty();
  void put_empty(MarkChunk* c);
  /// A unit could not be put anywhere.
  void note_lost() { lost_.store(true, std::memory_order_relaxed); }
  /// Searches so far.
  uint32_t searches() const { return searches_; }

 private:
  // The kernel is asked for so much at a time.
  static constexpr size_t kSlabBytes = 64 * 1024;
  struct Slab {
    Slab* next;
  };

  MarkChunk* pop();
  bool add_slab();

  Lock lock_{LockRank::kMarkQueue};  // guards what has no other owner
  MarkChunk* head_ = nullptr;
  MarkChunk* tail_ = nullptr;
  MarkChunk* empty_ = nullptr;
  Slab* slabs_ = nullptr;
  std::atomic<unsigned> markers_;  // the same
  uint32_t searches_ = 0;
  std::atomic<MarkChunk*> head_hint_{nullptr};  // head_; written under the lock, read without
  std::atomic<uint32_t> waiting_{0};            // the same
  std::atomic<uint32_t> changed_{0};            // counts what those who wait want to know; their futex
  std::atomic<bool> lost_{false};
  uint32_t drains_ = 0;
};

}  // namespace tri::gc

#endif
