// shadow.h - From any word to the block that it points into, and that block's mark bit.
//
// The collector asks this of every word of the program's memory, so the answer must come from little memory: not from the
// records of spans (128 bytes for every 16 KiB), but from a table of 4 bytes for each page, which says the class of its span and which page of
// it this is. Where the blocks of a class lie in a span is the same for all spans of the class.
//
//   word -> page            one subtraction and one compare: pages of the allocator's near window (alloc/arena.h)
//   page -> class, span     one load; 0 for all that is no block's
//   offset -> block         one multiplication by the reciprocal of the class's size
//   block -> mark bit       a bit for each 16 bytes: those of a page are one cache line
//
// Spans beyond the window, few if any, are in a sorted list and have mark bits of their own.
//
// The tables are the picture of one moment, made by begin() with all other threads stopped. Free blocks are marked from the start: nothing
// is looked for in them, and no sweep frees them again. What is allocated later is in no table, which means the same.
//
// Interior pointers count, and those past the last byte of a block (its end is the next one's start) count for the next one alone: who
// looks for all blocks that a word may mean asks for the byte before as well.
//
// See gc.h for the overview. Used by: marker, leaks.
#ifndef TRI_GC_SHADOW_H
#define TRI_GC_SHADOW_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/arena.h"
#include "alloc/page_bits.h"
#include "alloc/size_class.h"

namespace tri::gc {

using MarkWord = std::atomic<uint64_t>;

/// A block, and where its mark is. The block may be free, and is marked then.
struct Ref {
  char* start = nullptr;
  size_t bytes = 0;
  MarkWord* word = nullptr;
  uint64_t bit = 0;

  /// True if it was not marked before. Any thread.
  /// relaxed: the mark guards nothing; what the block holds is read by whoever set it, after the stop that came before.
  bool mark() const {
    if ((word->load(std::memory_order_relaxed) & bit) != 0) return false;
    return (word->fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }
  void unmark() const { word->fetch_and(~bit, std::memory_order_relaxed); }
  bool is_marked() const { return (word->load(std::memory_order_relaxed) & bit) != 0; }
};

class Shadow {
 public:
  /// Makes the tables. 0 or -ENOMEM. All other threads stand still, and the caller holds no lock of the allocator's.
  [[nodiscard]] int begin();
  /// Gives the memory of the tables back.
  void end();

  /// The block that `word` points into. False for all words that point into none, whatever they are.
  [[gnu::always_inline]] bool find(uintptr_t word, Ref* out) const {
    const size_t page = (word - base_) >> kPageShift;
    if (TRI_UNLIKELY(page >= pages_)) return find_far(word, out);
    const uint32_t info = infos_[page];
    if (info == 0) return false;
    const Layout& layout = layouts_[info >> kIndexBits];
    const uintptr_t span = (word & ~(kPageSize - 1)) - (uintptr_t{info & kIndexMask} << kPageShift);
    if (TRI_UNLIKELY(layout.bytes == 0)) return find_large(span, out);
    // Wraps around before the first block, and is then larger than any.
    const uint64_t offset = word - span - layout.first;
    if (offset >= layout.length) return false;
    const uint64_t index = (offset * layout.reciprocal) >> 32;
    out->start = reinterpret_cast<char*>(span + layout.first + index * layout.bytes);
    out->bytes = layout.bytes;
    set_mark(reinterpret_cast<uintptr_t>(out->start), out);
    return true;
  }

  /// Calls fn(const Ref&) for every block that is not marked.
  template <class Fn>
  void each_unmarked(Fn&& fn) const {
    each_span([&](uintptr_t start, uint32_t layout) { each_block(start, layout, false, fn); });
  }
  /// The same for those in use that are. Slower: which are free is found out anew.
  template <class Fn>
  void each_marked(Fn&& fn) const {
    each_span([&](uintptr_t start, uint32_t layout) {
      FreeBlocks free;
      find_free(start, layout, &free);
      uint32_t i = 0;
      each_block(start, layout, true, [&](const Ref& r) {
        if (layouts_[layout].bytes != 0) {
          i = static_cast<uint32_t>((reinterpret_cast<uintptr_t>(r.start) - start) / layouts_[layout].bytes);
        }
        if (!free.test(i)) fn(r);
      });
    });
  }

  size_t blocks() const { return blocks_; }  // in use, as the next
  size_t bytes() const { return bytes_; }

 private:
  // Where the blocks of a class lie in its spans.
  struct Layout {
    uint32_t first;       // bytes from the span's start to its first block
    uint32_t length;      // of all blocks together
    uint32_t bytes;       // of one; 0: the span is one large block
    uint32_t reciprocal;  // ceil(2^32 / bytes)
  };
  static constexpr unsigned kIndexBits = 24;
  static constexpr uint32_t kIndexMask = (uint32_t{1} << kIndexBits) - 1;
  static constexpr uint32_t kLarge = kSizeClasses + 1;  // 0 is no class, c + 1 is class c

  struct Layouts {
    Layout of[kSizeClasses + 2];
    constexpr const Layout& operator[](size_t i) const { return of[i]; }
  };
  static constexpr Layouts make_layouts();
  static const Layouts layouts_;

  struct FarSpan {
    uintptr_t start;
    uintptr_t end;
    uint32_t layout;
    MarkWord* marks;  // a bit for each 16 bytes; large: one
  };

  void set_mark(uintptr_t block, Ref* out) const {
    const size_t granule = (block - base_) / kBlockAlignment;
    out->word = &marks_[granule / 64];
    out->bit = uint64_t{1} << (granule % 64);
  }
  static constexpr size_t kMaxBlocks = class_capacity(0);
  using FreeBlocks = PageBits<align_up(kMaxBlocks + 1, size_t{64})>;  // the blocks of a span, from its first

  bool add(const Span* s);
  bool add_far(const Span* s);
  bool commit(uintptr_t page, size_t pages);
  static void find_free(const Span* s, FreeBlocks* out);
  void find_free(uintptr_t span, uint32_t layout, FreeBlocks* out) const;
  void mark_free_blocks(const Span* s);
  bool find_large(uintptr_t span, Ref* out) const;
  bool find_far(uintptr_t word, Ref* out) const;

  template <class Fn>
  void each_span(Fn&& fn) const {
    for (size_t slot = 0; slot < kMaxSlots; ++slot) {
      if (!slots_.test(slot)) continue;
      for (size_t page = slot * kArenaPages; page < (slot + 1) * kArenaPages && page < pages_; ++page) {
        const uint32_t info = infos_[page];
        if (info != 0 && (info & kIndexMask) == 0) fn(base_ + (page << kPageShift), info >> kIndexBits);
      }
    }
    for (size_t i = 0; i < far_count_; ++i) fn(far_[i].start, far_[i].layout);
  }
  template <class Fn>
  void each_block(uintptr_t span, uint32_t layout, bool marked, Fn&& fn) const {
    const Layout& l = layouts_[layout];
    Ref r;
    for (uint32_t at = 0; at < l.length; at += l.bytes) {
      if (find(span + l.first + at, &r) && r.is_marked() == marked) fn(static_cast<const Ref&>(r));
      if (l.bytes == 0) break;
    }
  }

  static constexpr size_t kMaxSlots = align_up(pagemap::kNearBytes / kArenaBytes, size_t{64});

  uintptr_t base_ = 0;
  size_t pages_ = 0;
  uint32_t* infos_ = nullptr;
  MarkWord* marks_ = nullptr;
  PageBits<kMaxSlots> slots_;  // of the window: those whose part of the tables can be written
  FarSpan* far_ = nullptr;     // by address
  size_t far_count_ = 0;
  size_t far_room_ = 0;
  size_t blocks_ = 0;
  size_t bytes_ = 0;
};

}  // namespace tri::gc

#endif
