// page_cache.h - Up to 64 neighbouring pages that a thread has taken from the heap at once.
//
// As in Go: the cache claims whatever is free in an aligned block of 64 pages, so it fills holes rather than asking for
// a fresh run; runs for small spans then come from it without the heap's lock. Span records are kept beside them for the
// same reason. Pages come back to the heap itself, never to a cache.
//
// Owned by one thread. Used by: mcache, mheap.
#ifndef TRI_ALLOC_PAGE_CACHE_H
#define TRI_ALLOC_PAGE_CACHE_H

#include "alloc/page_alloc.h"
#include "alloc/span.h"

namespace tri {

struct PageCache {
  static constexpr size_t kPages = 64;
  static constexpr size_t kRecords = kPages * kPageSize / (16 * 1024);  // for the smallest spans
  static constexpr size_t kMaxRun = kPages / 4;                         // longer runs would be found too seldom

  Arena* arena = nullptr;
  size_t first = 0;         // page of bit 0
  uint64_t free = 0;        // a bit for each page that can be handed out
  Span* records = nullptr;  // unused, linked by next

  /// A run of pages, or one with a null arena.
  PageRun alloc(size_t count) {
    // Bit i of `runs` stays set if pages i ... i + count - 1 are all free.
    uint64_t runs = free;
    for (size_t n = 1; n < count && runs != 0; ++n) runs &= free >> n;
    if (runs == 0) return {};
    const auto bit = static_cast<size_t>(std::countr_zero(runs));
    free &= ~(((uint64_t{1} << count) - 1) << bit);
    return {arena, first + bit, count};
  }

  Span* take_record() {
    Span* s = records;
    if (s != nullptr) {
      records = s->next;
      s->next = nullptr;
    }
    return s;
  }
};

static_assert(PageCache::kMaxRun < 64);

}  // namespace tri

#endif
