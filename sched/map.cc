// map.cc - Reading and writing. See map.h.
#include "sched/map.h"

#include <cerrno>
#include <cstring>

#include "alloc/base/check.h"
#include "alloc/malloc.h"
#include "sched/map_bucket.h"
#include "sched/map_growth.h"
#include "sched/map_table.h"

namespace tri::sched {

using namespace map_detail;

namespace {

constexpr size_t kMaxInline = 128;
constexpr size_t kMaxPart = 1U << 30;
constexpr size_t kMaxHint = PTRDIFF_MAX / 32;  // more than there can be addresses for

void begin_write(Map* m) {
  if (TRI_UNLIKELY(m->writing.load(std::memory_order_relaxed) != 0)) fatal("concurrent map writes");
  m->writing.store(1, std::memory_order_relaxed);
}
void end_write(Map* m) {
  if (TRI_UNLIKELY(m->writing.load(std::memory_order_relaxed) == 0)) fatal("concurrent map writes");
  m->writing.store(0, std::memory_order_relaxed);
}

struct Place {
  char* bucket;  // null: there is no such entry
  unsigned slot;
};

template <class K>
[[gnu::always_inline]] inline Place search(const Map* m, char* b, uint64_t hash, const void* key) {
  const uint8_t tag = tag_of(hash);
  do {
    const uint64_t tags = tags_of(b);
    for (uint64_t slots = slots_with(tags, tag); slots != 0; slots &= slots - 1) {
      const unsigned i = first_slot(slots);
      if (TRI_LIKELY(K::equal(m, key, b, i))) return Place{b, i};
    }
    if (slots_with(tags, kEmptyRest) != 0) break;
    b = overflow_of(m, b);
  } while (b != nullptr);
  return Place{nullptr, 0};
}

template <class K>
[[gnu::always_inline]] inline Place find(const Map* m, const void* key) {
  if (m->count == 0) return Place{nullptr, 0};
  if (TRI_UNLIKELY(m->writing.load(std::memory_order_relaxed) != 0)) fatal("concurrent map read and map write");
  const uint64_t hash = K::hash(m, key);
  char* b = bucket_at(m, m->table, hash & m->table->mask);
  if (TRI_UNLIKELY(m->old_table != nullptr)) {
    char* const old = bucket_at(m, m->old_table, hash & m->old_table->mask);
    if (!is_moved(old)) b = old;
  }
  return search<K>(m, b, hash, key);
}

[[gnu::noinline]] bool fill_parts(Map* m, const Place& place, const void* key) {
  char* const key_slot = key_slot_at(m, place.bucket, place.slot);
  char* const value_slot = value_slot_at(m, place.bucket, place.slot);
  char* key_part = nullptr;
  char* value_part = nullptr;
  if (m->indirect_key && (key_part = make_part(m->key_size)) == nullptr) return false;
  if (m->indirect_value && (value_part = make_part(m->value_size)) == nullptr) {
    if (key_part != nullptr) deallocate(reinterpret_cast<Retired*>(key_part) - 1);
    return false;
  }
  if (value_part != nullptr) memcpy(value_slot, &value_part, sizeof value_part);
  if (key_part == nullptr) {
    memcpy(key_slot, key, m->key_slot);
  } else {
    memcpy(key_part, key, m->key_size);
    memcpy(key_slot, &key_part, sizeof key_part);
  }
  return true;
}

/// Fills a free slot with a new key and room for its value; false when there is no memory.
[[gnu::always_inline]] inline bool fill_slot(Map* m, const Place& place, const void* key) {
  if (TRI_LIKELY(!m->indirect_key && !m->indirect_value)) {
    copy_slot(key_slot_at(m, place.bucket, place.slot), key, m->key_slot);
    return true;
  }
  return fill_parts(m, place, key);
}

/// The value of `key`, which is garbage if *fresh; null when there is no memory.
template <class K>
[[gnu::always_inline]] inline char* put_locked(Map* m, const void* key, bool* fresh) {
  const uint64_t hash = K::hash(m, key);
  const uint8_t tag = tag_of(hash);
  *fresh = false;
  if (TRI_UNLIKELY(m->table == nullptr)) {
    m->table = make_table(m, 1, 0, true);
    if (m->table == nullptr) return nullptr;
  }
  if (TRI_UNLIKELY(m->dying != nullptr)) shrink_dying(m);
  // At most twice: once more after growth has begun.
  for (;;) {
    if (TRI_UNLIKELY(m->old_table != nullptr)) work<K>(m, hash);
    char* b = bucket_at(m, m->table, hash & m->table->mask);
    Place place{nullptr, 0};
    for (;;) {
      const uint64_t tags = tags_of(b);
      for (uint64_t slots = slots_with(tags, tag); slots != 0; slots &= slots - 1) {
        const unsigned i = first_slot(slots);
        if (TRI_LIKELY(K::equal(m, key, b, i))) return value_at(m, b, i);
      }
      if (place.bucket == nullptr) {
        if (const uint64_t slots = free_slots(tags); slots != 0) place = Place{b, first_slot(slots)};
      }
      if (slots_with(tags, kEmptyRest) != 0) break;
      char* const next = overflow_of(m, b);
      if (next == nullptr) break;
      b = next;
    }
    if (m->old_table == nullptr && TRI_UNLIKELY(begin_growth(m))) continue;
    if (TRI_UNLIKELY(place.bucket == nullptr)) {
      char* const next = make_overflow(m, m->table, false);
      if (next == nullptr) return nullptr;
      *overflow_slot(m, b) = next;
      place = Place{next, 0};
    }
    if (TRI_UNLIKELY(!fill_slot(m, place, key))) return nullptr;
    set_tag(place.bucket, place.slot, tag);
    ++m->count;
    *fresh = true;
    return value_at(m, place.bucket, place.slot);
  }
}

template <class K>
char* put(Map* m, const void* key, bool* fresh) {
  begin_write(m);
  char* const value = put_locked<K>(m, key, fresh);
  end_write(m);
  return value;
}

/// Makes a slot free, and if nothing follows it in its chain says so, also for free ones in front of it.
void free_slot(Map* m, char* first, Place place) {
  char* b = place.bucket;
  unsigned i = place.slot;
  set_tag(b, i, kEmpty);
  const char* const next = overflow_of(m, b);
  const uint8_t after = i + 1 < kSlots ? tag_at(b, i + 1) : next == nullptr ? kEmptyRest : tag_at(next, 0);
  if (after != kEmptyRest) return;
  for (;;) {
    set_tag(b, i, kEmptyRest);
    if (i != 0) {
      --i;
    } else {
      if (b == first) return;
      char* before = first;
      while (overflow_of(m, before) != b) before = overflow_of(m, before);
      b = before;
      i = kSlots - 1;
    }
    if (tag_at(b, i) != kEmpty) return;
  }
}

void retire_parts(Map* m, const char* b, unsigned i) {
  if (m->indirect_key) retire_part(m, pointer_at(key_slot_at(m, b, i)));
  if (m->indirect_value) retire_part(m, pointer_at(value_slot_at(m, b, i)));
}

/// Takes an entry that is about to go out of what iterations may still look at: its key may not be readable afterwards, so
/// they must not come across it and look it up. Copies of an entry that moved are alike to the bit.
void forget_copies(Map* m, const Table* t, uint64_t hash, const char* key_slot) {
  for (char* b = bucket_at(m, t, hash & t->mask); b != nullptr; b = overflow_of(m, b)) {
    for (unsigned i = 0; i < kSlots; ++i) {
      const uint8_t tag = tag_at(b, i);
      if (tag != kMovedLow && tag != kMovedHigh) continue;
      if (memcmp(key_slot_at(m, b, i), key_slot, m->key_slot) == 0) set_tag(b, i, kMovedNothing);
    }
  }
}
[[gnu::cold, gnu::noinline]] void forget_all_copies(Map* m, uint64_t hash, const char* key_slot) {
  if (m->old_table != nullptr) forget_copies(m, m->old_table, hash, key_slot);
  for (const Table* t = m->retired_tables.load(std::memory_order_relaxed); t != nullptr; t = t->next_retired) {
    forget_copies(m, t, hash, key_slot);
  }
}

template <class K>
bool take_locked(Map* m, const void* key, void* key_out, void* value_out) {
  const uint64_t hash = K::hash(m, key);
  if (TRI_UNLIKELY(m->dying != nullptr)) shrink_dying(m);
  if (TRI_UNLIKELY(m->old_table != nullptr)) work<K>(m, hash);
  char* const first = bucket_at(m, m->table, hash & m->table->mask);
  const Place place = search<K>(m, first, hash, key);
  if (place.bucket == nullptr) return false;
  if (key_out != nullptr) memcpy(key_out, key_at(m, place.bucket, place.slot), m->key_size);
  if (value_out != nullptr) memcpy(value_out, value_at(m, place.bucket, place.slot), m->value_size);
  if (TRI_UNLIKELY(is_pinned(m))) forget_all_copies(m, hash, key_slot_at(m, place.bucket, place.slot));
  if (TRI_UNLIKELY(m->indirect_key || m->indirect_value)) retire_parts(m, place.bucket, place.slot);
  free_slot(m, first, place);
  --m->count;
  // Who has learnt which keys collide must begin anew. An iteration relies on the seed.
  if (m->count == 0 && m->old_table == nullptr && !is_pinned(m)) m->seed = draw();
  return true;
}

/// Calls fn(bucket) for each bucket of the chains of table t that hold something: not those that growth has not reached,
/// of which `t` is the new table, nor those that it has left.
template <class Fn>
void each_bucket(const Map* m, const Table* t, Fn&& fn) {
  for (size_t index = 0; index < bucket_count(t); ++index) {
    if (t == m->table && m->old_table != nullptr && !is_moved(bucket_at(m, m->old_table, index & m->old_table->mask))) {
      continue;
    }
    char* b = bucket_at(m, t, index);
    if (is_moved(b)) continue;
    while (b != nullptr) {
      char* const next = overflow_of(m, b);
      fn(b, index);
      b = next;
    }
  }
}

void retire_all_parts(Map* m) {
  if (!m->indirect_key && !m->indirect_value) return;
  for (const Table* t : {m->old_table, m->table}) {
    if (t == nullptr) continue;
    each_bucket(m, t, [m](char* b, size_t) {
      for (unsigned i = 0; i < kSlots; ++i) {
        if (tag_at(b, i) >= kMinTag) retire_parts(m, b, i);
      }
    });
  }
}

/// What clear() does while somebody iterates: he finds nothing more, and the tables stay until he has gone.
void retire_tables(Map* m) {
  for (Table* t : {m->table, m->old_table}) {
    if (t == nullptr) continue;
    for (size_t index = 0; index < bucket_count(t); ++index) {
      char* b = bucket_at(m, t, index);
      // A bucket that growth has not reached is garbage, its overflow pointer too.
      if (t == m->table && m->old_table != nullptr &&
          !is_moved(bucket_at(m, m->old_table, index & m->old_table->mask))) {
        init_bucket(m, b);
      }
      for (; b != nullptr; b = overflow_of(m, b)) memset(b, kEmptyRest, kSlots);
    }
  }
  for (Table* t = m->retired_tables.load(std::memory_order_relaxed); t != nullptr; t = t->next_retired) {
    for (size_t index = 0; index < bucket_count(t); ++index) {
      for (char* b = bucket_at(m, t, index); b != nullptr; b = overflow_of(m, b)) memset(b, kEmptyRest, kSlots);
    }
  }
  if (m->old_table != nullptr) retire_table(m, m->old_table);
  retire_table(m, m->table);
  m->table = m->old_table = nullptr;
}

void reset_table(Map* m, Table* t) {
  for (size_t index = 0; index < bucket_count(t); ++index) init_bucket(m, bucket_at(m, t, index));
  free_blocks(t->loose);
  t->loose = nullptr;
  t->spare = t->buckets + bucket_count(t) * m->bucket_size;
  t->overflow = 0;
}

bool set_layout(Map* m, const MapType& type) {
  m->kind = type.kind;
  m->key_size = type.key_size;
  m->value_size = type.value_size;
  m->hash = type.hash;
  m->equal = type.equal;
  if (type.key_size > kMaxPart || type.value_size > kMaxPart) return false;
  if (type.kind == KeyKind::kString && type.key_size != sizeof(char*)) return false;
  if (type.kind == KeyKind::kSlice && type.key_size != sizeof(KeySlice)) return false;
  if (type.kind == KeyKind::kCustom && (type.hash == nullptr || type.equal == nullptr)) return false;
  m->indirect_key = type.key_size > kMaxInline;
  m->indirect_value = type.value_size > kMaxInline;
  const size_t key = m->indirect_key ? sizeof(char*) : type.key_size;
  const size_t value = m->indirect_value ? sizeof(char*) : type.value_size;
  // Types that want 16 have sizes that are multiples of it. A KeySlice does not.
  const bool wide_key = key != 0 && is_aligned(key, 16) && type.kind != KeyKind::kSlice;
  const bool wide_value = value != 0 && is_aligned(value, 16);
  const size_t key_offset = wide_key ? 16 : 8;
  const size_t value_offset = align_up(key_offset + kSlots * key, wide_value ? 16 : 8);
  const size_t size = align_up(value_offset + kSlots * value + sizeof(char*), wide_key || wide_value ? 16 : 8);
  m->key_slot = static_cast<uint8_t>(key);
  m->value_slot = static_cast<uint8_t>(value);
  m->key_offset = static_cast<uint8_t>(key_offset);
  m->value_offset = static_cast<uint16_t>(value_offset);
  m->bucket_size = static_cast<uint32_t>(size);
  return true;
}

}  // namespace

Map* map_create(const MapType& type, size_t hint) {
  if (hint > kMaxHint) return nullptr;
  auto* const m = static_cast<Map*>(allocate_zeroed(sizeof(Map)));
  if (m == nullptr) return nullptr;
  if (!set_layout(m, type)) {
    deallocate(m);
    return nullptr;
  }
  m->seed = draw();
  if (hint > kSlots) {
    size_t buckets = 1;
    while (is_overloaded(hint, buckets)) buckets *= 2;
    // An eighth: what random keys need on the way to the full load, about, and what is not used is not touched.
    m->table = make_table(m, buckets, buckets / 8, true);
    if (m->table == nullptr) {
      deallocate(m);
      return nullptr;
    }
  }
  return m;
}

void map_destroy(Map* m) {
  if (m == nullptr) return;
  begin_write(m);
  m->pins.store(0, std::memory_order_relaxed);
  retire_all_parts(m);
  for (Table* t : {m->table, m->old_table, m->dying}) {
    if (t != nullptr) free_table(t);
  }
  free_retired(m);
  deallocate(m);
}

void* map_find(Map* m, const void* key) {
  if (m == nullptr) return nullptr;
  return with_key(m, [&](auto k) -> void* {
    const Place place = find<decltype(k)>(m, key);
    return place.bucket == nullptr ? nullptr : value_at(m, place.bucket, place.slot);
  });
}

void* map_find_entry(Map* m, const void* key, const void** stored_key) {
  *stored_key = nullptr;
  if (m == nullptr) return nullptr;
  return with_key(m, [&](auto k) -> void* {
    const Place place = find<decltype(k)>(m, key);
    if (place.bucket == nullptr) return nullptr;
    *stored_key = key_at(m, place.bucket, place.slot);
    return value_at(m, place.bucket, place.slot);
  });
}

void* map_put(Map* m, const void* key, bool* fresh) {
  char* const value = with_key(m, [&](auto k) { return put<decltype(k)>(m, key, fresh); });
  if (value != nullptr && *fresh) memset(value, 0, m->value_size);
  return value;
}

int map_set(Map* m, const void* key, const void* value) {
  bool fresh;
  char* const place = with_key(m, [&](auto k) { return put<decltype(k)>(m, key, &fresh); });
  if (place == nullptr) return -ENOMEM;
  copy_slot(place, value, m->value_size);
  return 0;
}

int map_take(Map* m, const void* key, void* key_out, void* value_out) {
  if (m == nullptr || m->count == 0) return -ENOENT;
  begin_write(m);
  const bool found = with_key(m, [&](auto k) { return take_locked<decltype(k)>(m, key, key_out, value_out); });
  end_write(m);
  return found ? 0 : -ENOENT;
}

void map_clear(Map* m) {
  if (m == nullptr) return;
  begin_write(m);
  if (m->table != nullptr) {
    retire_all_parts(m);
    if (is_pinned(m)) {
      retire_tables(m);
    } else {
      if (m->old_table != nullptr) free_table(m->old_table);
      m->old_table = nullptr;
      reset_table(m, m->table);
      m->seed = draw();
    }
    m->count = 0;
  }
  end_write(m);
}

// ---- verification ---------------------------------------------------------------------------------------------

void map_verify(Map* m) {
  size_t entries = 0;
  for (const Table* t : {m->table, m->old_table}) {
    if (t == nullptr) continue;
    size_t overflow = 0;
    size_t chain = kNoBucket;
    bool is_rest = false;
    each_bucket(m, t, [&](char* b, size_t index) {
      if (index == chain) {
        ++overflow;
      } else {
        is_rest = false;
      }
      chain = index;
      for (unsigned i = 0; i < kSlots; ++i) {
        const uint8_t tag = tag_at(b, i);
        TRI_CHECK(tag <= kEmpty || tag >= kMinTag);
        TRI_CHECK(!is_rest || tag == kEmptyRest);
        is_rest = tag == kEmptyRest;
        if (tag < kMinTag) continue;
        ++entries;
        const uint64_t hash = with_key(m, [&](auto k) { return decltype(k)::hash(m, key_at(m, b, i)); });
        TRI_CHECK(tag == tag_of(hash));
        TRI_CHECK((hash & t->mask) == index);
      }
    });
    TRI_CHECK(overflow <= t->overflow);
    TRI_CHECK(m->old_table != nullptr || overflow == t->overflow);
  }
  TRI_CHECK(entries == m->count);
}

MapShape map_shape(const Map* m) {
  if (m->table == nullptr) return MapShape{};
  return MapShape{bucket_count(m->table), m->old_table == nullptr ? 0 : bucket_count(m->old_table), m->table->overflow};
}

}  // namespace tri::sched
