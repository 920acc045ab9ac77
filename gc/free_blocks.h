// free_blocks.h - Which blocks of a span are free: those on its lists, and those that were never carved.
//
// Lists lead from block to block in any order, and each step is a miss of the cache: 100 ns for each free block, while the
// world stands. So the lists of several spans are followed in turn, a step each, and the next block of a span is on its way while the
// others have theirs. A GiB with 2.6 million free blocks takes 390 ms one by one, and 57 so.
//
// A list ends at what is no link: a thread may have been stopped in the middle of changing it.
//
// See gc.h for the overview. Used by: shadow.
#ifndef TRI_GC_FREE_BLOCKS_H
#define TRI_GC_FREE_BLOCKS_H

#include <cstddef>
#include <cstdint>

#include "alloc/collected.h"
#include "alloc/page_bits.h"
#include "alloc/span.h"

namespace tri::gc {

inline constexpr size_t kMaxBlocks = class_capacity(0);
/// The blocks of a span, from its first.
using FreeBlocks = PageBits<align_up(kMaxBlocks + 1, size_t{64})>;

/// Takes spans, small ones, and says of each sooner or later what is free in it. Nobody else may use them.
template <class Fn>
class FreeFinder {
 public:
  /// Calls fn(const Span*, FreeBlocks*).
  explicit FreeFinder(Fn& fn) : fn_(fn) {}
  ~FreeFinder() { flush(); }
  FreeFinder(const FreeFinder&) = delete;
  FreeFinder& operator=(const FreeFinder&) = delete;

  void add(const Span* s) {
    if (count_ == kWalks) flush();
    if (s->kind == SpanKind::kCollected) {
      FreeBlocks free;
      s->collected->each_free([&free](size_t i, uint64_t bits) { free.set_word(i, bits); });
      return fn_(s, &free);
    }
    const RemoteChain remote = s->remote.load(std::memory_order_relaxed);
    const bool none = !s->has_free() && remote.count == 0;
    Walk& w = walks_[none ? kWalks : count_++];  // the last serves those without a list
    w.span = s;
    w.at = s->free;
    w.then = remote.head();
    w.steps = 0;
    w.free = FreeBlocks();
    w.free.set(s->carved, s->capacity() - s->carved);
    if (none) return fn_(s, &w.free);
    prefetch(s, w.at);
  }
  void flush() {
    uint8_t walking[kWalks];
    for (size_t i = 0; i < count_; ++i) walking[i] = static_cast<uint8_t>(i);
    while (count_ != 0) {
      for (size_t i = 0; i < count_;) {
        Walk& w = walks_[walking[i]];
        if (w.step()) {
          ++i;
          continue;
        }
        fn_(w.span, &w.free);
        walking[i] = walking[--count_];
      }
    }
  }

 private:
  /// The offset may be anything: it is looked at later.
  static void prefetch(const Span* s, uint64_t offset) {
    __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(s->origin) + offset));
  }
  struct Walk {
    const Span* span;
    uint64_t at;    // the next block
    uint64_t then;  // the head of the other list
    uint32_t steps;
    FreeBlocks free;

    /// False at the end.
    bool step() {
      if (!span->is_block(at) || steps++ == 2 * uint32_t{span->carved}) {
        if (!span->is_block(then)) return false;
        at = then;
        then = kNil;
        return true;
      }
      free.set(at / span->size - 1, 1);
      at = span->load_link(span->block_at(at));
      prefetch(span, at);
      return true;
    }
  };
  // Misses that a processor of today has under way at once.
  static constexpr size_t kWalks = 16;

  Fn& fn_;
  Walk walks_[kWalks + 1];
  size_t count_ = 0;
};

}  // namespace tri::gc

#endif
