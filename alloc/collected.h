// collected.h - Spans whose blocks a collector frees.
//
// Nobody frees them one by one as a rule, so that no list leads through them: which blocks of a small one are in use stands in bits
// beside the span, which sweeping replaces by what was marked. Pages and classes are those of all other spans, so
// that whoever walks the heap needs no second map of it.
//
//   in_use    a bit for each block: handed out, or in the owner's run
//   freed     blocks that are free as soon as the span's lock can be had and nothing is being marked; still in in_use
//   run       the blocks that the owner hands out one after the other, by a pointer of its own (CollectedRun)
//   free      those not in in_use, and what is left of the run
//
// A thread may stand still anywhere while others look at its spans, so the owner writes in this order: run, in_use, CollectedRun. Where
// CollectedRun does not point into the run, that has just been taken, and all of it is free.
//
// in_use: the owner, while the span is current; else who holds the lock of its list (gc/heap.h). Used by: malloc, walk, stats, gc.
#ifndef TRI_ALLOC_COLLECTED_H
#define TRI_ALLOC_COLLECTED_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/lock.h"
#include "alloc/span.h"

namespace tri {

/// Where a thread allocates: blocks from next to end. Atomic because others look, in their own time or while the thread stands still.
struct CollectedRun {
  std::atomic<char*> next{nullptr};
  std::atomic<char*> end{nullptr};
  size_t size = 0;  // of a block
};

/// Beside the record of each span of collected blocks, large ones included; then `words` words of in_use, and as many of freed.
struct CollectedSpan {
  using Word = std::atomic<uint64_t>;

  CollectedSpan* next = nullptr;  // List
  CollectedSpan* prev = nullptr;
  Span* span = nullptr;
  const CollectedRun* owner = nullptr;  // kCurrent only
  std::atomic<uint32_t> run{0};         // first | last + 1 << 16, in blocks
  uint32_t swept = 0;                   // the cycle whose marks it has taken
  uint32_t listed = 0;                  // the cycle before which it was put on its list
  uint16_t words = 0;                   // constant, for as long as the record lives
  uint16_t layout = 0;                  // which words of a block hold pointers; 0: any
  bool needs_zero = false;              // free blocks may hold old contents
  bool is_freed = false;                // large: by the program, while it could not go yet

  Word* in_use() { return reinterpret_cast<Word*>(this + 1); }
  const Word* in_use() const { return reinterpret_cast<const Word*>(this + 1); }
  Word* freed() { return in_use() + words; }

  static constexpr size_t words_for(size_t blocks) { return (blocks + 63) / 64; }
  static constexpr size_t bytes_for(size_t words) { return sizeof(CollectedSpan) + 2 * words * sizeof(Word); }
  /// Bits of the word number i that stand for blocks [begin, end).
  static constexpr uint64_t mask_of(size_t i, size_t begin, size_t end) {
    const size_t low = begin > i * 64 ? begin - i * 64 : 0;
    const size_t high = end < i * 64 + 64 ? (end > i * 64 ? end - i * 64 : 0) : 64;
    if (low >= high) return 0;
    return ~uint64_t{0} >> (64 - (high - low)) << low;
  }
  /// The blocks that exist.
  uint64_t valid(size_t i) const { return mask_of(i, 0, span->capacity()); }
  size_t index_of(const void* block) const { return span->offset_of(block) / span->size - 1; }
  char* block(size_t i) const { return span->block_at((i + 1) * span->size); }

  /// What the owner has not handed out yet of its run; empty if the span is not current. Of another thread's span: while that stands still.
  void unused(size_t* begin, size_t* end) const {
    const uint32_t both = run.load(std::memory_order_relaxed);
    *begin = both & 0xffff;
    *end = both >> 16;
    if (owner == nullptr) {
      *end = *begin;
      return;
    }
    const char* const at = owner->next.load(std::memory_order_relaxed);
    if (at >= block(*begin) && at <= block(*end)) *begin = index_of(at);
  }
  /// Calls fn(word number, free blocks).
  template <class Fn>
  void each_free(Fn&& fn) const {
    size_t begin, end;
    unused(&begin, &end);
    for (size_t i = 0; i < words; ++i) {
      fn(i, (~in_use()[i].load(std::memory_order_relaxed) & valid(i)) | mask_of(i, begin, end));
    }
  }
  /// The same with those in freed.
  template <class Fn>
  void each_unused(Fn&& fn) const {
    each_free([&](size_t i, uint64_t free) { fn(i, free | in_use()[words + i].load(std::memory_order_relaxed)); });
  }
  /// Whether the block is handed out, and not freed. With the lock of its list; of the span that another thread allocates from, the blocks of
  /// its run all count as handed out.
  bool is_in_use(size_t i) {
    const uint64_t bit = uint64_t{1} << (i % 64);
    return (in_use()[i / 64].load(std::memory_order_relaxed) & ~freed()[i / 64].load(std::memory_order_relaxed) &
            bit) != 0;
  }
};

/// What the collector does about its blocks. Installed before there is any.
struct CollectedHooks {
  /// Frees what may be a block of a collected span; says what is wrong if it is none.
  void (*free)(void* p, Span* s) = nullptr;
  /// realloc() of such a block.
  void* (*reallocate)(void* p, Span* s, size_t n) = nullptr;
  /// The calling thread ends.
  void (*thread_ends)() = nullptr;
  /// Its locks, `stride` bytes apart: fork(), and who stops all threads, take them before all others.
  Lock* locks = nullptr;
  size_t stride = 0;
  std::atomic<size_t> count{0};
  static constexpr size_t kMostLocks = 2 * kSizeClasses + 2;
};
extern constinit CollectedHooks collected_hooks;

}  // namespace tri

#endif
