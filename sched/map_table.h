// map_table.h - The memory of a map: tables, overflow buckets, keys and values that stand elsewhere, and what must outlive iterations.
//
// What is replaced while an iteration is under way is retired: it stays until the last of them ends.
//
// Uses: alloc, map_bucket. Used by: map, map_growth, map_iter.
#ifndef TRI_SCHED_MAP_TABLE_H
#define TRI_SCHED_MAP_TABLE_H

#include "sched/map_bucket.h"

namespace tri::sched::map_detail {

/// Another number at each call; nobody outside can foretell it. A few nanoseconds, where the kernel takes hundreds.
uint64_t draw();

/// A table of `buckets` (a power of two) and `spares` overflow buckets. Its buckets are garbage unless `zeroed`.
[[nodiscard]] Table* make_table(const Map* m, size_t buckets, size_t spares, bool zeroed);
inline size_t bucket_count(const Table* t) { return t->mask + 1; }
void free_blocks(Retired* block);
void free_table(Table* t);
/// One more overflow bucket for table t; null when there is no memory. Spare ones are kept for moving while that goes on.
[[nodiscard]] char* make_overflow(Map* m, Table* t, bool is_moving);

/// Memory for a key or value that has no place in the bucket; null when there is none.
[[nodiscard]] char* make_part(size_t bytes);
void retire_part(Map* m, char* part);

/// Somebody iterates.
inline bool is_pinned(const Map* m) { return m->pins.load(std::memory_order_relaxed) != 0; }
void retire_table(Map* m, Table* t);
/// Frees what was replaced while somebody iterated, now that nobody does.
void free_retired(Map* m);

}  // namespace tri::sched::map_detail

#endif
