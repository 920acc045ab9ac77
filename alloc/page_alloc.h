// page_alloc.h - Which pages of the arenas are free: first fit over bitmaps, guided by summaries.
//
// Go's page allocator keeps a radix tree of summaries over the whole address space, which it must reserve. Here the
// tree stands over the arenas in the order of their creation, so arenas may lie anywhere and nothing is reserved:
//
//   root[i]      longest free run in 64 groups       (32 entries)
//   group[i]     longest free run in 64 arenas
//   arenas[i]    longest free run of the arena
//   chunks[i]    start, longest and end run of 512 pages; a run may cross chunks, but not arenas
//
// Each is exact: longest of a parent = maximum of its children's. First fit keeps the heap dense at its start, which
// is what lets the rest go back to the OS.
//
// Guarded by kHeap. Used by: mheap.
#ifndef TRI_ALLOC_PAGE_ALLOC_H
#define TRI_ALLOC_PAGE_ALLOC_H

#include <cstddef>
#include <cstdint>

#include "alloc/arena.h"

namespace tri {

struct PageRun {
  Arena* arena = nullptr;
  size_t page = 0;
  size_t count = 0;

  char* address() const { return arena->address(page); }
};

class PageAlloc {
 public:
  static constexpr size_t kFanOut = 64;
  static constexpr size_t kMaxArenas = kFanOut * kFanOut * 32;  // 8 TiB

  /// Adds an arena none of whose pages is free yet. False when there is no memory for the tables or no place left.
  [[nodiscard]] bool add(Arena* arena);
  /// Marks the first run of `count` free pages allocated; arena is null if there is none.
  PageRun alloc(size_t count);
  /// Marks these free pages allocated; false (and nothing done) unless they all are free.
  [[nodiscard]] bool alloc_at(Arena* arena, size_t page, size_t count);
  void free(const PageRun& run);
  /// Marks all free pages of [first, first + 64) allocated; a bit for each that was free. `first` is a multiple of 64.
  uint64_t claim(Arena* arena, size_t first);
  /// The last run of free pages that hold memory of the OS, at most `max` of them; arena is null if there is none. The
  /// run stays free.
  PageRun find_dirty(size_t max) const;

  size_t arena_count() const { return arena_count_; }
  Arena* arena(size_t ordinal) const { return arenas_[ordinal].arena; }
  size_t free_pages() const { return free_pages_; }
  /// Free and not scavenged. Any thread. seq_cst: the background thread looks here after it has announced its end (see scavenger.cc).
  size_t dirty_pages() const { return dirty_pages_.load(std::memory_order_seq_cst); }

  /// The fewest dirty pages that there were since the last call.
  size_t take_lowest_dirty() {
    const size_t lowest = lowest_dirty_;
    lowest_dirty_ = dirty_pages();
    return lowest;
  }

  void verify() const;

 private:
  struct ArenaEntry {
    Arena* arena;
    size_t longest;
  };

  void add_dirty(Arena* arena, size_t pages);
  void remove_dirty(Arena* arena, size_t pages);
  /// Recomputes the summaries above these pages.
  void update(Arena* arena, size_t page, size_t count);
  static ChunkSummary summarize(const Arena* arena, size_t chunk);
  static size_t find_in(const Arena* arena, size_t count);
  static uint16_t longest_in(const Arena* arena);

  size_t arena_count_ = 0;
  size_t free_pages_ = 0;
  std::atomic<size_t> dirty_pages_{0};  // written under kHeap
  size_t lowest_dirty_ = 0;
  size_t committed_entries_ = 0;
  ArenaEntry* arenas_ = nullptr;  // address space for kMaxArenas entries, committed as it fills
  uint16_t groups_[kMaxArenas / kFanOut] = {};
  uint16_t root_[kMaxArenas / kFanOut / kFanOut] = {};
};

}  // namespace tri

#endif
