// sweep_linear.h - Looking through memory from one end to the other for words that point into held blocks.
//
// Nothing is followed: a block is read because it is there, not because something leads to it. Held blocks are zero, so that none keeps another one. What a dead
// block that the program never freed points to stays held, but then the program may still free that, too.
//
// Linear costs a read of all memory in use, at the speed of the memory, and of each word that may be a pointer one bit of the tables (alloc/held.h). A marking costs
// a miss of the cache for each block that it comes to. MineSweeper (2022) is where the idea comes from, MarkUs (2020) marks.
//
// See gc.h for the overview. Used by: quarantine.
#ifndef TRI_GC_SWEEP_LINEAR_H
#define TRI_GC_SWEEP_LINEAR_H

#include <cstddef>
#include <cstdint>

#include "gc/roots.h"

namespace tri::gc {

class LinearSweep {
 public:
  /// After held::begin_look().
  LinearSweep();

  /// What the words of [begin, end) point to is reached. Any thread; the memory can be read until it returns.
  void scan(const void* begin, const void* end) const;
  /// Scans all blocks that may hold pointers. All other threads stand still, and nobody holds a lock of the allocator's. Returns the bytes.
  size_t scan_heap(Roots& roots) const;

 private:
  uintptr_t begin_ = 0;  // addresses that matter
  size_t bytes_ = 0;
};

}  // namespace tri::gc

#endif
