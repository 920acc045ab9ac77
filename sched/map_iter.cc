// map_iter.cc - Iteration over a map that may grow meanwhile. See map.h.
#include "sched/map.h"
#include "sched/map_bucket.h"
#include "sched/map_table.h"

namespace tri::sched {

using namespace map_detail;

void map_iter_begin(MapIter* it, Map* m) {
  *it = MapIter{};
  if (m == nullptr || m->count == 0) return;
  if (TRI_UNLIKELY(m->writing.load(std::memory_order_relaxed) != 0)) fatal("concurrent map iteration and map write");
  m->pins.fetch_add(1, std::memory_order_relaxed);
  const uint64_t random = draw();
  it->map = m;
  it->table = m->table;
  it->start = it->next = (random >> 3) & m->table->mask;
  it->slot_offset = random & (kSlots - 1);
  it->slot = kSlots;
  it->pinned = true;
}

void map_iter_end(MapIter* it) {
  it->key = nullptr;
  it->value = nullptr;
  if (!it->pinned) return;
  it->pinned = false;
  // acq_rel: what this iteration read comes before the frees of whoever drops the last pin.
  if (it->map->pins.fetch_sub(1, std::memory_order_acq_rel) == 1) free_retired(it->map);
}

namespace {

/// The next bucket to look at, in it->bucket; false at the end.
bool next_bucket(MapIter* it) {
  const Map* const m = it->map;
  if (it->bucket != nullptr) it->bucket = overflow_of(m, it->bucket);
  it->slot = 0;
  if (it->bucket != nullptr) return true;
  if (it->wrapped && it->next == it->start) return false;
  const size_t index = it->next;
  it->bucket = bucket_at(m, it->table, index);
  it->only = kNoBucket;
  if (m->old_table != nullptr && it->table == m->table) {
    // The iteration began during this growth. What will come here stands in the old bucket, with what goes to the
    // other half.
    const char* const old = bucket_at(m, m->old_table, index & m->old_table->mask);
    if (!is_moved(old)) {
      it->bucket = old;
      if (m->old_table->mask != m->table->mask) it->only = index;
    }
  }
  if (it->next == it->table->mask) {
    it->next = 0;
    it->wrapped = true;
  } else {
    ++it->next;
  }
  // A start at 0 has wrapped when it comes back there.
  return true;
}

/// Shows the entry in slot i, if it is to be shown.
template <class K>
bool show(MapIter* it, unsigned i) {
  Map* const m = it->map;
  const char* const b = it->bucket;
  const uint8_t tag = tag_at(b, i);
  if (tag <= kEmpty || tag == kMovedNothing) return false;
  const char* const key = key_at(m, b, i);
  if (it->only != kNoBucket && (K::hash(m, key) & it->table->mask) != it->only) return false;
  if (tag >= kMinTag || (!K::kReflexive && !m->equal(key, key))) {
    it->key = key;
    it->value = value_at(m, b, i);
    return true;
  }
  // It was moved since; it may have been deleted, or changed.
  it->value = map_find_entry(m, key, &it->key);
  return it->value != nullptr;
}

template <class K>
bool next_entry(MapIter* it) {
  for (;;) {
    while (it->slot < kSlots) {
      const unsigned i = (it->slot + it->slot_offset) & (kSlots - 1);
      ++it->slot;
      if (show<K>(it, i)) return true;
    }
    if (!next_bucket(it)) return false;
  }
}

}  // namespace

bool map_iter_next(MapIter* it) {
  Map* const m = it->map;
  if (!it->pinned) return false;
  if (TRI_UNLIKELY(m->writing.load(std::memory_order_relaxed) != 0)) fatal("concurrent map iteration and map write");
  if (m->count != 0 && with_key(m, [&](auto k) { return next_entry<decltype(k)>(it); })) return true;
  map_iter_end(it);
  return false;
}

}  // namespace tri::sched
