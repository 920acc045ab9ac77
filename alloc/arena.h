// arena.h - 64 MiB slots of address space, and the pagemap that leads from an address to its span.
//
// An Arena is a slot (64 MiB, aligned) of which the heap owns some pages: all of them as a rule, a few where address
// space is limited. Its pages are, from the heap's view,
//
//   allocated    the bit is set: part of a span, in a page cache, or not ours at all
//   committed    readable and writable; the others are reserved only
//   scavenged    known to read as zero: never touched, or given back. Kept while allocated; cleared on free for the pages
//                that the span touched.
//
// The pagemap has a near part and a far part. Near is a window of 16 GiB of addresses around the first arena, where the
// kernel puts mappings next: a flat table with a word for each page, the distance of its span from the record before the
// table. That is a record of zeros: so an untouched word leads to a span that nobody owns, the table costs only the parts that
// are in use, and free() tests nothing. Far is the
// rest of the program's address space: a table of slots, and for each slot in use a leaf like a piece of the near table. Most
// programs never need it, and it is not even reserved before.
//
// Lookups need no lock, at any time, for any bit pattern. Arenas are guarded by kHeap; entries of the pagemap by the
// owner of the span that they are about.
//
// Used by: page_alloc, mheap, span, malloc (lookup).
#ifndef TRI_ALLOC_ARENA_H
#define TRI_ALLOC_ARENA_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/page_bits.h"
#include "alloc/size_class.h"
#include "alloc/span.h"
#include "tri_arch.h"

namespace tri {

inline constexpr size_t kArenaShift = 26;
inline constexpr size_t kArenaBytes = size_t{1} << kArenaShift;
inline constexpr size_t kArenaPages = kArenaBytes / kPageSize;
inline constexpr size_t kChunkPages = 512;  // one summary for each: Go's choice, and 8 words to scan
inline constexpr size_t kArenaChunks = kArenaPages / kChunkPages;

/// The free pages of a chunk: at its start, at most in a row, at its end.
struct ChunkSummary {
  uint16_t start = 0;
  uint16_t longest = 0;
  uint16_t end = 0;
};

struct Arena {
  char* base = nullptr;
  size_t ordinal = 0;      // position in PageAlloc's table
  size_t dirty_pages = 0;  // free and not scavenged
  uint16_t longest = 0;    // free pages in a row
  ChunkSummary chunks[kArenaChunks];
  PageBits<kArenaPages> allocated;
  PageBits<kArenaPages> committed;
  PageBits<kArenaPages> scavenged;

  char* address(size_t page) const { return base + page * kPageSize; }
  size_t page_of(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - base) / kPageSize; }
};

namespace pagemap {

inline constexpr size_t kSlots = size_t{1} << (arch::kAddressBits - kArenaShift);
inline constexpr size_t kNearBytes = size_t{16} << 30;
// With a limit on address space: 1 GiB, whose table takes a MiB.
inline constexpr size_t kNearBytesIfLimited = size_t{1} << 30;

using FarEntry = std::atomic<Span*>;
using NearEntry = std::atomic<uintptr_t>;

struct NearTable {
  Span null;  // zeros; never written
  NearEntry entries[kNearBytes / kPageSize];
};
static_assert(offsetof(NearTable, entries) == sizeof(Span));

// The near window. Set once, before the process has a block; no pages before, so that free() may be the first call of all.
TRI_INTERNAL extern constinit uintptr_t near_base;
TRI_INTERNAL extern constinit size_t near_pages;
TRI_INTERNAL extern constinit NearEntry* near_entries;

/// True if p is in the near window; *index is then its page there.
inline bool is_near(const void* p, size_t* index) {
  *index = (reinterpret_cast<uintptr_t>(p) - near_base) >> kPageShift;
  return TRI_LIKELY(*index < near_pages);
}

/// The span of a page of the window; for a page without one, a record that nobody owns, of kind kNone.
/// relaxed: who holds a block got it, with everything that led to it, from the thread that made its span; for others what they read
/// of the span depends on the word, which every processor of ours keeps in order.
inline Span* near_span(size_t index) {
  const uintptr_t distance = near_entries[index].load(std::memory_order_relaxed);
  return reinterpret_cast<Span*>(reinterpret_cast<uintptr_t>(near_entries) + distance - sizeof(Span));
}

[[gnu::noinline]] Span* far_lookup(const void* p);

/// The span of the page that p points into, or &null_span. Any thread, any p.
inline Span* lookup(const void* p) {
  size_t index;
  if (!is_near(p, &index)) return far_lookup(p);
  Span* const s = near_span(index);
  return s->kind == SpanKind::kNone ? &null_span : s;
}

/// Makes room for entries for [p, p + bytes), which lies in one slot; the first call places the near window around p.
/// False when there is no memory. Caller holds kHeap.
[[nodiscard]] bool prepare(const void* p, size_t bytes);
/// For pages that are prepared.
void set(const void* p, size_t pages, Span* span);
inline void clear(const void* p, size_t pages) { set(p, pages, &null_span); }

/// The heap's arena at p's slot, or null. Any thread.
Arena* arena_of(const void* p);
void set_arena(Arena* arena);

/// The span that p lies in, found also from pages in the middle of a block that have no entry of their own. Slower than
/// lookup(): for tri_base() and for messages. Null if there is none.
Span* find(const void* p);

}  // namespace pagemap
}  // namespace tri

#endif
