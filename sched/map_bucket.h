// map_bucket.h - How a map's buckets are laid out, and how keys are hashed and compared in them. See map.h.
//
// Used by: map, map_table, map_growth, map_iter.
#ifndef TRI_SCHED_MAP_BUCKET_H
#define TRI_SCHED_MAP_BUCKET_H

#include <bit>
#include <cstdlib>
#include <cstring>

#include "alloc/base/bits.h"
#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "sched/hash.h"
#include "sched/map.h"

namespace tri::sched {

/// Any block that an iteration may still look at begins so.
struct Retired {
  Retired* next;
  uint64_t unused;  // what follows is aligned to 16
};

struct Table {
  Table* next_retired;
  Retired* loose;  // overflow buckets that were allocated one by one: they live as long as the table
  char* buckets;
  char* spare;  // the next overflow bucket that came with the table, behind the buckets
  char* end;
  size_t mask;
  size_t overflow;  // overflow buckets in use
  uint64_t unused;
};
static_assert(sizeof(Table) == 64 && sizeof(Retired) == kBlockAlignment);

namespace map_detail {

inline constexpr unsigned kSlots = 8;
inline constexpr size_t kNoBucket = SIZE_MAX;

inline constexpr uint8_t kEmptyRest = 0;
inline constexpr uint8_t kEmpty = 1;
inline constexpr uint8_t kMovedLow = 2;
inline constexpr uint8_t kMovedHigh = 3;
inline constexpr uint8_t kMovedNothing = 4;
inline constexpr uint8_t kMinTag = 5;

inline uint8_t tag_of(uint64_t hash) {
  const auto top = static_cast<uint8_t>(hash >> 56);
  return top < kMinTag ? static_cast<uint8_t>(top + kMinTag) : top;
}

// The eight tags of a bucket as one word: slot i is byte i.
static_assert(std::endian::native == std::endian::little);
using TagVector [[gnu::vector_size(8)]] = uint8_t;

/// The high bit of each byte that equals `tag`.
inline uint64_t slots_with(uint64_t tags, uint8_t tag) {
  const TagVector wanted = {tag, tag, tag, tag, tag, tag, tag, tag};
  return std::bit_cast<uint64_t>(std::bit_cast<TagVector>(tags) == wanted) & 0x8080808080808080;
}
/// kEmptyRest and kEmpty, which differ in the lowest bit alone.
inline uint64_t free_slots(uint64_t tags) { return slots_with(tags & 0xfefefefefefefefe, 0); }
inline unsigned first_slot(uint64_t slots) { return static_cast<unsigned>(std::countr_zero(slots)) / 8; }

inline uint64_t tags_of(const char* bucket) { return read8(bucket); }
inline uint8_t tag_at(const char* bucket, unsigned i) { return static_cast<uint8_t>(bucket[i]); }
inline void set_tag(char* bucket, unsigned i, uint8_t tag) { bucket[i] = static_cast<char>(tag); }
inline bool is_moved(const char* bucket) {
  const uint8_t tag = tag_at(bucket, 0);
  return tag > kEmpty && tag < kMinTag;
}

inline char* bucket_at(const Map* m, const Table* t, size_t index) { return t->buckets + index * m->bucket_size; }
inline char** overflow_slot(const Map* m, char* bucket) {
  return reinterpret_cast<char**>(bucket + m->bucket_size - sizeof(char*));
}
inline char* overflow_of(const Map* m, const char* bucket) {
  char* next;
  memcpy(&next, bucket + m->bucket_size - sizeof next, sizeof next);
  return next;
}
inline void init_bucket(const Map* m, char* bucket) {
  memset(bucket, kEmptyRest, kSlots);
  *overflow_slot(m, bucket) = nullptr;
}

inline char* pointer_at(const char* slot) {
  char* p;
  memcpy(&p, slot, sizeof p);
  return p;
}
inline char* value_slot_at(const Map* m, const char* bucket, unsigned i) {
  return const_cast<char*>(bucket) + m->value_offset + i * size_t{m->value_slot};
}
inline char* value_at(const Map* m, const char* bucket, unsigned i) {
  char* const slot = value_slot_at(m, bucket, i);
  return TRI_UNLIKELY(m->indirect_value) ? pointer_at(slot) : slot;
}
/// Most slots are words: a call of memcpy would cost more than the rest of a move.
inline void copy_slot(void* to, const void* from, size_t n) {
  if (TRI_LIKELY(n == 8)) {
    memcpy(to, from, 8);
  } else if (n == 4) {
    memcpy(to, from, 4);
  } else if (n != 0) {
    memcpy(to, from, n);
  }
}
inline char* key_slot_at(const Map* m, const char* bucket, unsigned i) {
  return const_cast<char*>(bucket) + m->key_offset + i * size_t{m->key_slot};
}
inline const char* key_at(const Map* m, const char* bucket, unsigned i) {
  const char* const slot = key_slot_at(m, bucket, i);
  return TRI_UNLIKELY(m->indirect_key) ? pointer_at(slot) : slot;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fatal(const char* what) {
  Line line;
  line.text("tri: ").text(what).in_program().write_to(2);
  abort();
}

// ---- keys -----------------------------------------------------------------------------------------------------

// Each kind of key is a class, and what depends on it a template, so that for integers a search holds no call and
// multiplies by constants.

struct WordKey4 {
  static constexpr bool kReflexive = true;
  static uint64_t hash(const Map* m, const void* key) { return hash_word(read4(key), m->seed); }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    return read4(key) == read4(bucket + m->key_offset + 4 * i);
  }
};

struct WordKey8 {
  static constexpr bool kReflexive = true;
  static uint64_t hash(const Map* m, const void* key) { return hash_word(read8(key), m->seed); }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    return read8(key) == read8(bucket + m->key_offset + 8 * i);
  }
};

struct BytesKey {
  static constexpr bool kReflexive = true;
  static uint64_t hash(const Map* m, const void* key) { return hash_bytes(key, m->key_size, m->seed); }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    return memcmp(key, key_at(m, bucket, i), m->key_size) == 0;
  }
};

struct StringKey {
  static constexpr bool kReflexive = true;
  static const char* text(const void* key) { return pointer_at(static_cast<const char*>(key)); }
  static uint64_t hash(const Map* m, const void* key) { return hash_bytes(text(key), strlen(text(key)), m->seed); }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    const char* const a = text(key);
    const char* const b = pointer_at(bucket + m->key_offset + sizeof(char*) * i);
    return a == b || strcmp(a, b) == 0;
  }
};

struct SliceKey {
  static constexpr bool kReflexive = true;
  static KeySlice get(const void* key) {
    KeySlice k;
    memcpy(&k, key, sizeof k);
    return k;
  }
  static uint64_t hash(const Map* m, const void* key) {
    const KeySlice k = get(key);
    return hash_bytes(k.data, k.len, m->seed);
  }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    const KeySlice a = get(key);
    const KeySlice b = get(bucket + m->key_offset + sizeof(KeySlice) * i);
    return a.len == b.len && (a.data == b.data || a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
  }
};

struct CustomKey {
  static constexpr bool kReflexive = false;  // nothing forbids a key like NaN
  static uint64_t hash(const Map* m, const void* key) {
    // Mixed once more: a function that returns its key is a common one, and has no top bits.
    return fold(m->hash(key, m->seed) ^ m->seed, second_seed(m->seed) | 1);
  }
  static bool equal(const Map* m, const void* key, const char* bucket, unsigned i) {
    return m->equal(key, key_at(m, bucket, i));
  }
};

template <class Fn>
auto with_key(const Map* m, Fn&& fn) {
  switch (m->kind) {
    case KeyKind::kBytes:
      if (m->key_size == 8) return fn(WordKey8{});
      if (m->key_size == 4) return fn(WordKey4{});
      return fn(BytesKey{});
    case KeyKind::kString:
      return fn(StringKey{});
    case KeyKind::kSlice:
      return fn(SliceKey{});
    case KeyKind::kCustom:
      break;
  }
  return fn(CustomKey{});
}

}  // namespace map_detail
}  // namespace tri::sched

#endif
