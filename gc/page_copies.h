// page_copies.h - What written pages held when they were last scanned.
//
// The kernel says of a page that it was written, not where. A program that goes on writing writes to the same pages again and again, and
// for each of their words a marker would look for a mark that is set already: some 250 misses of the cache for a page of small blocks, 10 us. So what was
// scanned of a page is kept, and next time only words that differ are looked at: half a microsecond. Without it, rounds (cycle.h)
// do not converge against 100,000 pages written a second; with it they find some dozens in the end.
//
// A copy begins as zeros, which lead nowhere; words that were not scanned, those of unmarked blocks, stay zeros.
//
// One thread asks, others may read and write copies that they were given. See gc.h for the overview. Used by: cycle.
#ifndef TRI_GC_PAGE_COPIES_H
#define TRI_GC_PAGE_COPIES_H

#include <cstddef>
#include <cstdint>

namespace tri::gc {

class PageCopies {
 public:
  PageCopies() = default;
  ~PageCopies() { release(); }
  PageCopies(const PageCopies&) = delete;
  PageCopies& operator=(const PageCopies&) = delete;

  /// Makes room for at most so many pages of the OS; memory is taken as they come. False without memory: then there are no copies.
  bool reserve(size_t pages);
  void release();
  /// The copy of the page that begins here: that of last time, or zeros. Null if there is no room left.
  [[nodiscard]] uintptr_t* of(uintptr_t page);
  /// The same, but null if there is none yet. Any number of threads.
  [[nodiscard]] uintptr_t* find(uintptr_t page) const;

 private:
  size_t slot_of(uintptr_t page) const;
  uintptr_t* copy_in(size_t slot) const;

  // The copies are made usable so many at a time.
  static constexpr size_t kStep = 64;

  uintptr_t* keys_ = nullptr;  // open addressing; 0: free
  uint32_t* places_ = nullptr;
  char* copies_ = nullptr;
  size_t slots_ = 0;  // a power of two, at least twice the room
  size_t room_ = 0;
  size_t count_ = 0;
  size_t usable_ = 0;
};

}  // namespace tri::gc

#endif
