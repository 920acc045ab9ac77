// marker.h - Follows what looks like a pointer, from block to block.
//
// Conservative: every aligned word of a block may be a pointer. Of a graph in random order nearly every step is a miss of the cache and of
// the TLB, so a marker is as fast as it has misses under way at once, and as it does several things with a page once it is there. So
// blocks are not scanned one by one as they are found, but by units, up to 64 neighbours (shadow.h) that were found while the unit waited
// in a queue, first in, first out; the way of Go's Green Tea collector (2025). Two rings give prefetches their time, after Cher, Hosking
// and Vitek (2004):
//
//   word -> (table) -> slot     prefetch its unit       ring of candidates
//   neither marked nor grey: make it grey; the unit's first: into the queue
//   unit from the queue: make marks of its grey bits, prefetch those blocks      ring of blocks
//   scan a block                its words, as above
//
// Two rings alone, with a stack of blocks behind them, were the other design. bench/gc, one marker, nanoseconds an object, two rings -> units:
// random graph of 1 GiB 81 -> 45, sequential 44 -> 11; of 256 MiB 58 -> 29 and 40 -> 12, a list in random order 219 -> 213. There is no
// graph on which the rings alone won. Lengths of the rings from 16 to 32 and units ahead from 8 to 16 make no difference.
//
// One marker belongs to one thread; several share a queue, and the marks. A marker that is alone changes them without atomic operations.
// The program may write to the blocks meanwhile: a word that changes is seen before or after. The memory must stay readable.
//
// See gc.h for the overview. Used by: mark_team, leaks.
#ifndef TRI_GC_MARKER_H
#define TRI_GC_MARKER_H

#include <cstddef>
#include <cstdint>

#include "gc/mark_queue.h"
#include "gc/shadow.h"

namespace tri::gc {

class Marker {
 public:
  /// Alone.
  explicit Marker(const Shadow& shadow) : Marker(shadow, own_queue_) {}
  /// One of queue.markers().
  Marker(const Shadow& shadow, MarkQueue& queue);
  ~Marker();
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;

  /// Whatever the aligned words of [begin, end) point to is reached. The memory must be readable until drain() is over.
  void add_roots(const void* begin, const void* end);
  /// The same, of memory that is gone after the call.
  void scan_roots(const void* begin, const void* end);
  /// [begin, end) of the heap may have changed since it was scanned: marked blocks in it are scanned again, and so is all that is no block of the
  /// tables. The same rules as for add_roots().
  void add_written(uintptr_t begin, uintptr_t end);
  /// The same of a page or less of it, at once; `copy` is the page's (page_copies.h).
  void scan_written(uintptr_t begin, uintptr_t end, uintptr_t* copy);
  /// The contents of a block, whether it is marked or not.
  void add_block(const Ref& r) { add_roots(r.start, r.start + r.bytes); }
  /// Follows all that was added, by this marker and the others of the queue, all of which must call it. Everything reachable is marked then.
  void drain();

  /// Marked by this one so far; free blocks do not count.
  uint64_t blocks() const { return blocks_; }
  uint64_t bytes() const { return bytes_; }
  /// Bytes marked ever, by all markers of the process, about: told by each from chunk to chunk. Any thread.
  static uint64_t progress();
  /// Times that the tables were searched for units for want of memory.
  uint32_t rescans() const { return queue_.searches(); }

 private:
  struct Block {
    const char* begin;
    size_t bytes;
  };
  static constexpr size_t kCandidates = 32;
  static constexpr size_t kBlocks = 16;
  // Units of a chunk whose marks are on their way.
  static constexpr uint32_t kUnitsAhead = 8;
  // Larger blocks are scanned in pieces: others take part, and what they lead to is followed before it fills the queue.
  static constexpr size_t kMaxPiece = 128 * 1024;
  // Smaller ones are not filtered.
  static constexpr size_t kFilterWords = 64;
  // So much is worth another marker's while.
  static constexpr uint32_t kWorthSharing = 4;

  template <bool kAlone>
  void drain_as();
  template <bool kAlone>
  void scan(const char* begin, size_t bytes);
  template <bool kAlone>
  void scan_filtered(const uintptr_t* words, size_t n);
  template <bool kAlone>
  void candidate(uintptr_t word);
  template <bool kAlone>
  void settle(Shadow::Slot slot);
  template <bool kAlone>
  void flush_candidates();
  template <bool kAlone>
  void visit_unit(Shadow::Unit u);
  template <bool kAlone>
  void visit_block(const char* begin, size_t bytes);
  template <bool kAlone>
  void visit(const Work& w);
  template <bool kAlone>
  void flush_blocks();
  template <bool kAlone>
  void scan_piece(const char* begin, size_t bytes);
  template <bool kAlone>
  void grey_again(Shadow::Unit u, uint64_t slots);
  template <bool kAlone>
  void add_written_as(uintptr_t begin, uintptr_t end);
  template <bool kAlone>
  void scan_written_as(uintptr_t begin, uintptr_t end, uintptr_t* copy);
  template <bool kAlone>
  void scan_changed(uintptr_t begin, uintptr_t end, uintptr_t* copy);
  template <bool kAlone>
  void search();
  template <bool kAlone>
  void scan_words(const void* begin, const void* end);
  [[nodiscard]] bool push(Work w);
  [[nodiscard]] bool make_room();
  bool pop(Work* out);
  bool get_chunk();
  void share();
  void prefetch_unit(uint32_t at) const;

  const Shadow& shadow_;
  MarkQueue own_queue_{1};
  MarkQueue& queue_;
  Shadow::Slot candidates_[kCandidates];
  size_t candidate_head_ = 0;  // both count up; the place is that modulo the length
  size_t candidate_tail_ = 0;
  Block ready_[kBlocks];
  size_t ready_head_ = 0;
  size_t ready_tail_ = 0;
  MarkChunk* in_ = nullptr;
  MarkChunk* out_ = nullptr;
  uint64_t blocks_ = 0;
  uint64_t bytes_ = 0;
  uint64_t told_ = 0;  // of bytes_
};

}  // namespace tri::gc

#endif
