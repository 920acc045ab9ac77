// map_growth.h - Moving a map's entries to a new table, bucket by bucket, as writes come. See map.h.
//
// Uses: map_bucket, map_table. Used by: map.
#ifndef TRI_SCHED_MAP_GROWTH_H
#define TRI_SCHED_MAP_GROWTH_H

#include "sched/map_table.h"

namespace tri::sched::map_detail {

// 13 / 2 entries a bucket: Go's measure of where longer chains begin to cost more than a larger table.
inline constexpr size_t kLoadNumerator = 13;
inline constexpr size_t kLoadDenominator = 2;

/// count <= kMaxHint, so nothing overflows.
inline bool is_overloaded(size_t count, size_t buckets) {
  return count > kSlots && count * kLoadDenominator > kLoadNumerator * buckets;
}

/// Makes the new table; false when there is no memory.
[[nodiscard]] bool grow(Map* m, bool doubles);
/// Makes the table that the map needs for one more entry, if it needs one; true if it did.
inline bool begin_growth(Map* m) {
  const size_t buckets = bucket_count(m->table);
  const bool doubles = is_overloaded(m->count + 1, buckets);
  if (TRI_LIKELY(!doubles && m->table->overflow < buckets)) return false;
  return grow(m, doubles);
}
/// All is moved.
void end_growth(Map* m);
/// Gives some of what the last growth left back. By writes, while m->dying.
[[gnu::cold]] void shrink_dying(Map* m);

/// Where entries of an old chain go.
struct Destination {
  char* bucket;
  unsigned used;

  unsigned take(Map* m) {
    if (used == kSlots) {
      char* const next = make_overflow(m, m->table, true);
      *overflow_slot(m, bucket) = next;
      bucket = next;
      used = 0;
    }
    return used++;
  }
};

template <class K>
[[gnu::noinline]] void move_bucket(Map* m, size_t index) {
  Table* const old = m->old_table;
  Table* const t = m->table;
  const size_t old_buckets = bucket_count(old);
  const bool doubles = t->mask != old->mask;
  char* b = bucket_at(m, old, index);
  if (!is_moved(b)) {
    Destination low{bucket_at(m, t, index), 0};
    init_bucket(m, low.bucket);
    Destination high{nullptr, 0};
    if (doubles) {
      high.bucket = bucket_at(m, t, index + old_buckets);
      init_bucket(m, high.bucket);
    }
    for (; b != nullptr; b = overflow_of(m, b)) {
      for (unsigned i = 0; i < kSlots; ++i) {
        const uint8_t tag = tag_at(b, i);
        if (tag <= kEmpty) {
          set_tag(b, i, kMovedNothing);
          continue;
        }
        const bool is_high = doubles && (K::hash(m, key_at(m, b, i)) & old_buckets) != 0;
        Destination& to = is_high ? high : low;
        const unsigned slot = to.take(m);
        set_tag(to.bucket, slot, tag);
        copy_slot(key_slot_at(m, to.bucket, slot), key_slot_at(m, b, i), m->key_slot);
        copy_slot(value_slot_at(m, to.bucket, slot), value_slot_at(m, b, i), m->value_slot);
        set_tag(b, i, is_high ? kMovedHigh : kMovedLow);
      }
    }
  }
  if (index != m->moved) return;
  // Buckets after it may have been moved because they were written to. 1024: bounds what one write does here.
  const size_t stop = index + 1024 < old_buckets ? index + 1024 : old_buckets;
  do ++m->moved;
  while (m->moved < stop && is_moved(bucket_at(m, old, m->moved)));
  if (m->moved == old_buckets) end_growth(m);
}

/// Moves the bucket that a write is about to change, and one more, so that growth ends before the next one is due.
template <class K>
void work(Map* m, uint64_t hash) {
  move_bucket<K>(m, hash & m->old_table->mask);
  if (m->old_table != nullptr) move_bucket<K>(m, m->moved);
}

}  // namespace tri::sched::map_detail

#endif
