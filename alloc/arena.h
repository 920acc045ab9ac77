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
// The pagemap has two levels: a table with a word for each slot of the 47-bit address space (16 MiB of addresses, of
// which a process touches a few pages), and leaves with a Span* for each page. Leaves are filled with &null_span, so
// the fast path of free() need not test what it finds. The word of the table is *biased*: it points to where the leaf's
// entry for address 0 would be, so the lookup needs no mask.
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
  size_t ordinal = 0;       // position in PageAlloc's table
  size_t dirty_pages = 0;   // free and not scavenged
  uint16_t longest = 0;     // free pages in a row
  ChunkSummary chunks[kArenaChunks];
  PageBits<kArenaPages> allocated;
  PageBits<kArenaPages> committed;
  PageBits<kArenaPages> scavenged;

  char* address(size_t page) const { return base + page * kPageSize; }
  size_t page_of(const void* p) const { return static_cast<size_t>(static_cast<const char*>(p) - base) / kPageSize; }
};

namespace pagemap {

inline constexpr unsigned kAddressBits = 47;
inline constexpr size_t kSlots = size_t{1} << (kAddressBits - kArenaShift);

using Entry = std::atomic<Span*>;

// Biased leaves; 0 where there is none. Null before init().
TRI_INTERNAL extern constinit std::atomic<uintptr_t>* table;
// kSlots once there is a table, 0 before: so that free() may be the first call of a process.
TRI_INTERNAL extern constinit size_t slots;

/// The span of the page that p points into, or &null_span. Any thread, any p.
inline Span* lookup(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  const size_t slot = address >> kArenaShift;
  if (TRI_UNLIKELY(slot >= slots)) return &null_span;
  // relaxed: who holds a block got it, with everything that led to it, from the thread that made its span.
  const uintptr_t leaf = table[slot].load(std::memory_order_relaxed);
  if (TRI_UNLIKELY(leaf == 0)) return &null_span;
  return reinterpret_cast<Entry*>(leaf + (address >> kPageShift) * sizeof(Entry))->load(std::memory_order_relaxed);
}

/// Makes the table. False when there is no memory. Caller holds kHeap.
[[nodiscard]] bool init();
/// Makes the leaf of p's slot if there is none. Caller holds kHeap.
[[nodiscard]] bool ensure_leaf(const void* p);
/// The leaf must exist.
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
