// own_memory.h - What the library has mapped for itself: memory in which a collector must not look for the program's pointers.
//
// Span records, page tables and the like name every block, in use or not. Whoever scans the address space leaves them out by
// this list. Blocks themselves are no part of it: the heap knows where they are (MHeap::each_range()).
//
// Regions are never given back. Any thread. Used by: persistent, arena, page_alloc, sched; read by gc.
#ifndef TRI_ALLOC_OWN_MEMORY_H
#define TRI_ALLOC_OWN_MEMORY_H

#include <cstddef>

namespace tri::own_memory {

struct Region {
  const Region* next;
  const char* start;
  size_t bytes;
};

/// Adds a region. False when there is no memory to note it in.
[[nodiscard]] bool add(const void* start, size_t bytes);
/// The same, noted in `r`, which stays for good.
void add(Region* r, const void* start, size_t bytes);

const Region* first();

}  // namespace tri::own_memory

#endif
