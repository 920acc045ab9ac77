// shadow.h - From any word to the block that it points into, and that block's mark bit.
//
// The collector asks this of every word of the program's memory, so the answer must come from little memory: not from the
// records of spans (128 bytes for every 16 KiB), but from a table of 4 bytes for each page, which says the class of its span and which page of
// it this is. Where the blocks of a class lie in a span is the same for all spans of the class.
//
//   word -> page            one subtraction and one compare: pages of the allocator's near window (alloc/arena.h)
//   page -> class, span     one load; 0 for all that is no block's
//   offset -> block         one multiplication by the reciprocal of the class's size
//   block -> slot           256 for each page before its span, and its number in the span; a large block is the one of its span
//
// Marks are kept apart from the blocks, for 64 slots at a time, a *unit*: a word of marks, and beside it a word of *grey* bits: reached, and not
// scanned yet. A block is grey first; who sets the first grey bit of a unit has the unit scanned (mark_queue.h), and who scans it takes all of
// its grey bits at once and makes marks of them. Marks are only ever set. Both words are in one cache line.
//
// Spans beyond the window, few if any, are in a sorted list and have units of their own.
//
// The tables are either the picture of one moment, made by begin() with all other threads stopped. Free blocks are marked from the start: nothing
// is looked for in them, and no sweep frees them again. What is allocated later is in no table, which means the same. To find all free
// blocks takes a look at each of them; who lets the program run on marks those of the current spans alone, from which threads allocate, and
// those of others when they become current (Free::kCurrent, blacken()). How long the stop is then depends on the number of spans.
//
// Or build() makes them while the program runs. Nothing is said of free blocks then; a span that is freed meanwhile is taken out before its pages
// can be another's (the heap tells: forget()), and what is allocated later is in no table, which its caller must make up for. See cycle.h.
//
// Interior pointers count, and those past the last byte of a block (its end is the next one's start) count for the next one alone: who
// looks for all blocks that a word may mean asks for the byte before as well.
//
// See gc.h for the overview. Used by: marker, leaks, why, cycle, heap.
#ifndef TRI_GC_SHADOW_H
#define TRI_GC_SHADOW_H

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/arena.h"
#include "alloc/page_bits.h"
#include "alloc/size_class.h"
#include "gc/free_blocks.h"

namespace tri::gc {

using MarkWord = std::atomic<uint64_t>;

/// Of 64 blocks of a span. relaxed, all of it: the bits guard nothing; what a block holds is read by whoever scans it, after the stop
/// that came before. A grey bit is taken by one exchange with 0, since both are changes of one word; and a mark set by one, likewise.
struct MarkUnit {
  MarkWord marks;
  MarkWord grey;
};

/// A block, and where its mark is. The block may be free, and is marked then.
struct Ref {
  char* start = nullptr;
  size_t bytes = 0;
  MarkWord* word = nullptr;
  uint64_t bit = 0;
  bool pointer_free = false;  // holds no pointers, whatever its words look like

  /// True if it was not marked before. Any thread.
  bool mark() const {
    if ((word->load(std::memory_order_relaxed) & bit) != 0) return false;
    return (word->fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }
  void unmark() const { word->fetch_and(~bit, std::memory_order_relaxed); }
  bool is_marked() const { return (word->load(std::memory_order_relaxed) & bit) != 0; }
};

class Shadow {
 public:
  enum class Free : uint8_t { kAll, kCurrent };

  /// Gets memory for the tables of the heap as it is now, and touches it, so that begin() need not. 0 or -ENOMEM. Any time before begin();
  /// takes the heap's lock for a short while.
  [[nodiscard]] int prepare();
  /// Makes the tables. 0 or -ENOMEM. All other threads stand still, and the caller holds no lock of the allocator's.
  [[nodiscard]] int begin(Free free = Free::kAll);
  /// Marks what is free of a span that was there when begin() was called, or all of a large one: before the next block of it is allocated, by who
  /// may allocate it. Any time; others may mark meanwhile.
  void blacken(const Span* s);
  /// Makes the tables beside the program, after prepare(), with addresses pinned (alloc/mheap.h) and this object told of what is gone and grown. 0
  /// or -ENOMEM.
  [[nodiscard]] int build();
  /// [start, start + bytes) holds no block any more; a large block has grown. With the heap's lock held; others may mark meanwhile.
  void forget(const char* start, size_t bytes);
  void grow(const Span* s);
  /// A block that grew found no memory in the tables: they are of no use.
  bool is_incomplete() const { return incomplete_; }
  /// Takes all marks back. Nobody marks meanwhile.
  void clear_marks();
  /// Gives the memory of the tables back.
  void end();

  // A slot is the number of its unit, 6 bits for the block in it, and above all, whether the block is pointer-free.
  using Slot = uint64_t;
  using Unit = uint64_t;
  static constexpr unsigned kUnitShift = 6;
  static constexpr Slot kPointerFree = Slot{1} << 63;
  static constexpr Unit unit_of(Slot slot) { return (slot & ~kPointerFree) >> kUnitShift; }
  static constexpr uint64_t bit_of(Slot slot) { return uint64_t{1} << (slot % 64); }

  /// The slot of the block that `word` points into. False for all words that point into none, whatever they are.
  [[gnu::always_inline]] bool find_slot(uintptr_t word, Slot* out) const {
    const size_t page = (word - base_) >> kPageShift;
    if (TRI_LIKELY(page >= pages_)) return TRI_UNLIKELY((far_count_ | outside_count_) != 0) && find_far(word, out);
    const uint32_t info = infos_[page].load(std::memory_order_relaxed);
    if (info == 0) return TRI_UNLIKELY(outside_count_ != 0) && find_outside(word, out);
    const Layout& layout = layouts_[(info & ~kPointerFreeInfo) >> kIndexBits];
    const uint64_t first_page = page - (info & kIndexMask);
    // Wraps around before the first block, and is then larger than any.
    const uint64_t offset = word - base_ - (first_page << kPageShift) - layout.first;
    if (offset >= layout.length) return false;
    *out = ((offset * layout.reciprocal) >> 32) + first_page * kPageSlots +
           (uint64_t{info & kPointerFreeInfo} << (63 - 31));
    return true;
  }
  /// The same with all that is known of the block.
  bool find(uintptr_t word, Ref* out) const {
    Slot slot;
    if (!find_slot(word, &slot)) return false;
    const Blocks b = blocks_of(unit_of(slot));
    *out = {b.at(static_cast<unsigned>(slot % 64)), b.bytes, &unit(unit_of(slot))->marks, bit_of(slot),
            (slot & kPointerFree) != 0};
    return true;
  }

  /// What memory that starts somewhere is, as far as all of it is the same.
  struct Part {
    enum Kind : uint8_t { kNone, kPointerFree, kSmall, kLarge };
    Kind kind;
    Slot first;  // kSmall: the slots that overlap it; kLarge: the block's
    Slot last;
  };
  /// Of [at, *end), which is the heap's, from `at` to what *end is lowered to.
  Part part_at(uintptr_t at, uintptr_t* end) const;

  [[gnu::always_inline]] MarkUnit* unit(Unit u) const {
    if (TRI_UNLIKELY((u & kBeyond) != 0)) return far_unit(u);
    return &units_[u];
  }
  /// The blocks of a unit, by their numbers in it.
  struct Blocks {
    char* first;
    size_t bytes;  // of each
    char* at(unsigned i) const { return first + i * bytes; }
  };
  [[gnu::always_inline]] Blocks blocks_of(Unit u) const {
    if (TRI_UNLIKELY((u & kBeyond) != 0)) return far_blocks_of(u);
    const uint64_t page = u / kPageUnits;
    const uint32_t info = infos_[page].load(std::memory_order_relaxed);
    const Layout& layout = layouts_[(info & ~kPointerFreeInfo) >> kIndexBits];
    const uint64_t first_page = page - (info & kIndexMask);
    char* const span = reinterpret_cast<char*>(base_ + (first_page << kPageShift));
    // The length of a large block stands where a second unit would.
    if (TRI_UNLIKELY(layout.bytes == 0)) {
      // Forgotten while it waited to be scanned: it has no block, and no length.
      return {span, info == 0 ? 0 : units_[u + 1].marks.load(std::memory_order_relaxed)};
    }
    return {span + layout.first + (u - first_page * kPageUnits) * 64 * layout.bytes, layout.bytes};
  }

  /// The units of a span that was there when begin() was called: those of its blocks in order. Null for one that is in no table.
  MarkUnit* units_of(const Span* s) const;

  /// The addresses for whose words find_slot() is worth asking: [*begin, *begin + *bytes). False if there are others as well.
  bool window(uintptr_t* begin, size_t* bytes) const {
    *begin = base_;
    *bytes = pages_ << kPageShift;
    return (far_count_ | outside_count_) == 0;
  }

  /// Memory that is no block's, but is to be found and marked like one. By address, and none overlaps another. It is neither counted in blocks()
  /// nor among those that the next two call for.
  struct Outside {
    uintptr_t begin;
    uintptr_t end;
    MarkUnit unit;
    bool is_reached() const {
      return (unit.marks.load(std::memory_order_relaxed) | unit.grey.load(std::memory_order_relaxed)) != 0;
    }
  };
  /// `ranges` stay the caller's, and in place, until end(). Before anything is marked.
  void add_outside(Outside* ranges, size_t n);

  /// Calls fn(const Ref&) for every block that is not marked.
  template <class Fn>
  void each_unmarked(Fn&& fn) const {
    each_unit([&](Unit u, uint64_t valid, bool pointer_free) {
      MarkUnit* const m = unit(u);
      uint64_t left = valid & ~m->marks.load(std::memory_order_relaxed);
      if (left == 0) return;
      const Blocks b = blocks_of(u);
      for (; left != 0; left &= left - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(left));
        fn(Ref{b.at(i), b.bytes, &m->marks, uint64_t{1} << i, pointer_free});
      }
    });
  }
  /// Calls fn(const Ref&) for every block that is marked.
  template <class Fn>
  void each_marked(Fn&& fn) const {
    each_unit([&](Unit u, uint64_t valid, bool pointer_free) {
      MarkUnit* const m = unit(u);
      uint64_t left = valid & m->marks.load(std::memory_order_relaxed);
      if (left == 0) return;
      const Blocks b = blocks_of(u);
      for (; left != 0; left &= left - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(left));
        fn(Ref{b.at(i), b.bytes, &m->marks, uint64_t{1} << i, pointer_free});
      }
    });
  }
  /// Calls fn(unit) for those that have grey blocks. Meanwhile they may be scanned, and there may come more.
  template <class Fn>
  void each_grey(Fn&& fn) const {
    each_unit([&](Unit u, uint64_t, bool) {
      if (unit(u)->grey.load(std::memory_order_relaxed) != 0) fn(u);
    });
  }

  /// The tables in pieces, for several who share the work: each span is in one of them. In order of addresses, but that the last is of all spans
  /// beyond the window. Calls fn(unit, which of its bits are blocks, whether those are pointer-free).
  size_t pieces() const { return ceil_div(pages_, kPiecePages) + 1; }
  template <class Fn>
  void each_unit_in(size_t piece, Fn&& fn) const {
    const auto each_of = [&](uint32_t info, Unit first) {
      uint64_t left = layouts_[(info & ~kPointerFreeInfo) >> kIndexBits].blocks;
      for (Unit u = first; left != 0; ++u) {
        const uint64_t n = left < 64 ? left : 64;
        fn(u, ~uint64_t{0} >> (64 - n), (info & kPointerFreeInfo) != 0);
        left -= n;
      }
    };
    if (piece + 1 == pieces()) {
      for (size_t i = 0; i < far_count_; ++i) {
        if (!far_[i].is_gone()) each_of(far_[i].info, kFar + (i << kFarShift));
      }
      return;
    }
    if (!parts_.test(piece * kPiecePages / kPartPages)) return;
    for (size_t page = piece * kPiecePages; page < (piece + 1) * kPiecePages && page < pages_; ++page) {
      const uint32_t info = infos_[page].load(std::memory_order_relaxed);
      if (info != 0 && (info & kIndexMask) == 0) each_of(info, page * kPageUnits);
    }
  }

  /// For tables beside these: units of the window are numbers below near_units(); others have indices below far_units().
  size_t near_units() const { return pages_ * kPageUnits; }
  size_t far_units() const { return far_count_ << kFarShift; }
  static constexpr bool is_far(Unit u) { return (u & kFar) != 0; }
  static constexpr size_t far_index(Unit u) { return u - kFar; }

  /// In use when begin() was called; with kCurrent, free ones of other spans count as such.
  size_t blocks() const { return blocks_; }
  size_t bytes() const { return bytes_; }

 private:
  // Where the blocks of a class lie in its spans.
  struct Layout {
    uint64_t length;      // of all blocks together
    uint32_t first;       // bytes from the span's start to its first block
    uint32_t bytes;       // of one; 0: the span is one large block
    uint64_t reciprocal;  // ceil(2^32 / bytes)
    uint64_t blocks;
  };
  static_assert(sizeof(Layout) == 32);
  // A page's word: whether its blocks are pointer-free, the layout, which page of the span it is.
  static constexpr uint32_t kPointerFreeInfo = uint32_t{1} << 31;
  static constexpr unsigned kIndexBits = 24;
  static constexpr uint32_t kIndexMask = (uint32_t{1} << kIndexBits) - 1;
  static constexpr uint32_t kLarge = kSizeClasses + 1;  // 0 is no class, c + 1 is class c
  static_assert(kLarge < kPointerFreeInfo >> kIndexBits);
  static constexpr size_t kPageSlots = kPageSize / kBlockAlignment;
  static constexpr size_t kPageUnits = kPageSlots / 64;
  static_assert(kPageUnits >= 2, "room for the length of a large block");

  struct Layouts {
    Layout of[kSizeClasses + 2];
    constexpr const Layout& operator[](size_t i) const { return of[i]; }
  };
  static constexpr Layouts make_layouts();
  static const Layouts layouts_;

  struct FarSpan {
    uintptr_t start;
    uintptr_t end;
    uint32_t info;
    bool gone;  // atomic_ref, relaxed, as the infos_
    MarkUnit* units;
    bool is_gone() const { return std::atomic_ref<const bool>(gone).load(std::memory_order_relaxed); }
  };
  // The unit number w of the far span number i is kFar + (i << kFarShift) + w.
  static constexpr Unit kFar = Unit{1} << 56;
  static constexpr unsigned kFarShift = 8;
  // That of the outside range number i is kOutside + i.
  static constexpr Unit kOutside = Unit{1} << 55;
  static constexpr Unit kBeyond = kFar | kOutside;
  static_assert(kMaxBlocks / 64 <= size_t{1} << kFarShift);

  static size_t units_in(const Layout& l) { return ceil_div(l.blocks, uint64_t{64}); }

  bool reserve();
  bool add(const Span* s);
  bool add_far(const Span* s, uint32_t info);
  bool commit(uintptr_t page, size_t pages);
  void count_in_use(const Span* s, size_t free);
  bool find_far(uintptr_t word, Slot* out) const;
  bool find_outside(uintptr_t word, Slot* out) const;
  Part far_part_at(uintptr_t at, uintptr_t* end) const;
  static Part part_of(const Layout& layout, uintptr_t span, Slot slots, uintptr_t at, uintptr_t end);
  static size_t units_of_far(uint32_t info);
  MarkUnit* far_unit(Unit u) const;
  Blocks far_blocks_of(Unit u) const;

  template <class Fn>
  void each_unit(Fn&& fn) const {
    for (size_t piece = 0; piece < pieces(); ++piece) each_unit_in(piece, fn);
  }

  // The tables are made writable in parts; the units of one fill a huge page.
  static constexpr size_t kPartPages = 2 * kArenaPages;
  static_assert(kPartPages * kPageUnits * sizeof(MarkUnit) == size_t{2} << 20);
  static constexpr size_t kPiecePages = 256;
  static_assert(kPartPages % kPiecePages == 0);
  static constexpr size_t kMaxParts = align_up(pagemap::kNearBytes / kPageSize / kPartPages, size_t{64});

  uintptr_t base_ = 0;
  size_t pages_ = 0;
  // relaxed: they are written before anybody marks, but for what is forgotten, which may be found for a while: its memory stays readable.
  std::atomic<uint32_t>* infos_ = nullptr;
  MarkUnit* units_ = nullptr;
  PageBits<kMaxParts> parts_;  // those that can be written
  FarSpan* far_ = nullptr;     // by address
  size_t far_count_ = 0;
  size_t far_room_ = 0;
  Outside* outside_ = nullptr;  // by address
  size_t outside_count_ = 0;
  bool incomplete_ = false;
  size_t blocks_ = 0;
  size_t bytes_ = 0;
};

}  // namespace tri::gc

#endif
