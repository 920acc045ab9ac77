// marker.h - Follows what looks like a pointer, from block to block.
//
// Conservative: every aligned word of a block may be a pointer. Of a graph in random order nearly every step is a miss of the cache and of
// the TLB, so a marker is as fast as it has misses under way at once. Between finding a word and using what it leads to stand
// two rings, after Cher, Hosking and Vitek (2004), where a FIFO in front of the mark stack gives the prefetch its time:
//
//   word -> (table) -> block    prefetch its mark       ring of candidates
//   mark was not set: set it    prefetch its contents   ring of blocks; when that is full, the stack
//   scan the block              its words, as above
//
// The stack grows in chunks. If there is no memory for another, blocks stay marked and unscanned, and all marked blocks are scanned
// again once the rest is done, as often as that happens: slower, never wrong.
//
// One marker belongs to one thread. See gc.h for the overview. Used by: leaks.
#ifndef TRI_GC_MARKER_H
#define TRI_GC_MARKER_H

#include <cstddef>
#include <cstdint>

#include "gc/shadow.h"

namespace tri::gc {

class Marker {
 public:
  explicit Marker(const Shadow& shadow) : shadow_(shadow) {}
  ~Marker();
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;

  /// Whatever the aligned words of [begin, end) point to is reached. The memory must be readable.
  void add_roots(const void* begin, const void* end);
  /// The same, of memory that is gone after the call.
  void scan_roots(const void* begin, const void* end);
  /// The contents of a block, whether it is marked or not.
  void add_block(const Ref& r) { add_roots(r.start, r.start + r.bytes); }
  /// Follows all that was added. Everything reachable is marked then.
  void drain();

  /// So far; free blocks do not count.
  uint64_t blocks() const { return blocks_; }
  uint64_t bytes() const { return bytes_; }
  /// Times that the heap was scanned again for want of memory.
  uint32_t rescans() const { return rescans_; }

 private:
  struct Piece {
    const char* begin;
    size_t bytes;
  };
  // Flat from 16 on (peers' figures and bench/gc).
  static constexpr size_t kRing = 16;
  static constexpr size_t kChunkBytes = 64 * 1024;
  struct Chunk {
    Chunk* below;
    Piece pieces[(kChunkBytes - 2 * sizeof(void*)) / sizeof(Piece)];
  };
  static_assert(sizeof(Chunk) <= kChunkBytes);
  static constexpr size_t kPerChunk = sizeof Chunk::pieces / sizeof(Piece);
  // Larger blocks are scanned in pieces, so that what they lead to is followed before it fills the stack.
  static constexpr size_t kMaxPiece = 128 * 1024;

  void scan(const char* begin, size_t bytes);
  void candidate(uintptr_t word);
  void settle(const Ref& r);
  void flush_candidates();
  void push(const char* begin, size_t bytes);
  [[nodiscard]] bool push_stack(Piece piece);
  bool pop(Piece* out);
  bool pop_stack(Piece* out);

  const Shadow& shadow_;
  Ref candidates_[kRing];
  size_t candidate_at_ = 0;  // counts up; the slot is that modulo kRing
  Piece ready_[kRing];
  size_t ready_head_ = 0;
  size_t ready_tail_ = 0;
  Chunk* top_ = nullptr;
  Chunk* spare_ = nullptr;  // one, so that a stack that swings about a border does not map and unmap
  size_t in_top_ = 0;
  bool overflowed_ = false;
  uint64_t blocks_ = 0;
  uint64_t bytes_ = 0;
  uint32_t rescans_ = 0;
};

}  // namespace tri::gc

#endif
