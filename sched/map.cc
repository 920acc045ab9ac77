// map.cc - See map.h.
#include "sched/map.h"

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "alloc/base/check.h"
#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "sched/hash.h"

namespace tri::sched {

// ---- layout ---------------------------------------------------------------------------------------------------

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

namespace {

constexpr unsigned kSlots = 8;
// 13 / 2 entries a bucket: Go's measure of where longer chains begin to cost more than a larger table.
constexpr size_t kLoadNumerator = 13;
constexpr size_t kLoadDenominator = 2;
constexpr size_t kMaxInline = 128;
constexpr size_t kMaxPart = 1U << 30;
// Freed at once costs less than 0.3 ms.
constexpr size_t kMinDying = 2 * 1024 * 1024;
constexpr size_t kDyingStep = 512 * 1024;
constexpr uint32_t kWritesPerDyingStep = 64;   // power of two
constexpr size_t kMaxHint = PTRDIFF_MAX / 32;  // more than there can be addresses for
constexpr size_t kNoBucket = SIZE_MAX;

constexpr uint8_t kEmptyRest = 0;
constexpr uint8_t kEmpty = 1;
constexpr uint8_t kMovedLow = 2;
constexpr uint8_t kMovedHigh = 3;
constexpr uint8_t kMovedNothing = 4;
constexpr uint8_t kMinTag = 5;

uint8_t tag_of(uint64_t hash) {
  const auto top = static_cast<uint8_t>(hash >> 56);
  return top < kMinTag ? static_cast<uint8_t>(top + kMinTag) : top;
}

// The eight tags of a bucket as one word: slot i is byte i.
static_assert(std::endian::native == std::endian::little);
using TagVector [[gnu::vector_size(8)]] = uint8_t;

/// The high bit of each byte that equals `tag`.
uint64_t slots_with(uint64_t tags, uint8_t tag) {
  const TagVector wanted = {tag, tag, tag, tag, tag, tag, tag, tag};
  return std::bit_cast<uint64_t>(std::bit_cast<TagVector>(tags) == wanted) & 0x8080808080808080;
}
/// kEmptyRest and kEmpty, which differ in the lowest bit alone.
uint64_t free_slots(uint64_t tags) { return slots_with(tags & 0xfefefefefefefefe, 0); }
unsigned first_slot(uint64_t slots) { return static_cast<unsigned>(std::countr_zero(slots)) / 8; }

uint64_t tags_of(const char* bucket) { return read8(bucket); }
uint8_t tag_at(const char* bucket, unsigned i) { return static_cast<uint8_t>(bucket[i]); }
void set_tag(char* bucket, unsigned i, uint8_t tag) { bucket[i] = static_cast<char>(tag); }
bool is_moved(const char* bucket) {
  const uint8_t tag = tag_at(bucket, 0);
  return tag > kEmpty && tag < kMinTag;
}

char* bucket_at(const Map* m, const Table* t, size_t index) { return t->buckets + index * m->bucket_size; }
char** overflow_slot(const Map* m, char* bucket) {
  return reinterpret_cast<char**>(bucket + m->bucket_size - sizeof(char*));
}
char* overflow_of(const Map* m, const char* bucket) {
  char* next;
  memcpy(&next, bucket + m->bucket_size - sizeof next, sizeof next);
  return next;
}
void init_bucket(const Map* m, char* bucket) {
  memset(bucket, kEmptyRest, kSlots);
  *overflow_slot(m, bucket) = nullptr;
}

char* pointer_at(const char* slot) {
  char* p;
  memcpy(&p, slot, sizeof p);
  return p;
}
char* value_slot_at(const Map* m, const char* bucket, unsigned i) {
  return const_cast<char*>(bucket) + m->value_offset + i * size_t{m->value_slot};
}
char* value_at(const Map* m, const char* bucket, unsigned i) {
  char* const slot = value_slot_at(m, bucket, i);
  return TRI_UNLIKELY(m->indirect_value) ? pointer_at(slot) : slot;
}
/// Most slots are words: a call of memcpy would cost more than the rest of a move.
void copy_slot(void* to, const void* from, size_t n) {
  if (TRI_LIKELY(n == 8)) {
    memcpy(to, from, 8);
  } else if (n == 4) {
    memcpy(to, from, 4);
  } else if (n != 0) {
    memcpy(to, from, n);
  }
}
char* key_slot_at(const Map* m, const char* bucket, unsigned i) {
  return const_cast<char*>(bucket) + m->key_offset + i * size_t{m->key_slot};
}
const char* key_at(const Map* m, const char* bucket, unsigned i) {
  const char* const slot = key_slot_at(m, bucket, i);
  return TRI_UNLIKELY(m->indirect_key) ? pointer_at(slot) : slot;
}

[[noreturn, gnu::cold, gnu::noinline]] void fatal(const char* what) {
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

// ---- seeds ----------------------------------------------------------------------------------------------------

constinit std::atomic<uint64_t> secret{0};
constinit std::atomic<uint64_t> drawn{0};

/// Another number at each call; nobody outside can foretell it. A few nanoseconds, where the kernel takes hundreds.
uint64_t draw() {
  uint64_t s = secret.load(std::memory_order_relaxed);
  if (TRI_UNLIKELY(s == 0)) {
    // Two threads may both ask for one: the first stays.
    const uint64_t fresh = os::random64() | 1;
    s = secret.compare_exchange_strong(s, fresh, std::memory_order_relaxed) ? fresh : s;
  }
  const uint64_t n = drawn.fetch_add(1, std::memory_order_relaxed);
  return fold(mix(s + n), std::rotl(s, 32) | 1) ^ mix(n ^ s);
}

// ---- tables ---------------------------------------------------------------------------------------------------

/// A table of `buckets` (a power of two) and `spares` overflow buckets. Its buckets are garbage unless `zeroed`.
Table* make_table(const Map* m, size_t buckets, size_t spares, bool zeroed) {
  size_t bytes;
  if (__builtin_mul_overflow(buckets + spares, size_t{m->bucket_size}, &bytes)) return nullptr;
  if (bytes > PTRDIFF_MAX - sizeof(Table)) return nullptr;
  bytes += sizeof(Table);
  // Large memory that is new from the kernel is zero, and costs nothing until it is touched.
  auto* const t = static_cast<Table*>(zeroed ? allocate_zeroed(bytes) : allocate(bytes));
  if (t == nullptr) return nullptr;
  char* const first = reinterpret_cast<char*>(t + 1);
  char* const spare = first + buckets * m->bucket_size;
  *t = Table{nullptr, nullptr, first, spare, spare + spares * m->bucket_size, buckets - 1, 0, 0};
  return t;
}

void free_blocks(Retired* block) {
  while (block != nullptr) {
    Retired* const next = block->next;
    deallocate(block);
    block = next;
  }
}

void free_table(Table* t) {
  free_blocks(t->loose);
  deallocate(t);
}

bool is_pinned(const Map* m) { return m->pins.load(std::memory_order_relaxed) != 0; }

/// Frees what was replaced while somebody iterated, now that nobody does.
void free_retired(Map* m) {
  // acquire: pairs with the release of the writer that pushed; the last pin was dropped after that.
  Table* t = m->retired_tables.exchange(nullptr, std::memory_order_acquire);
  while (t != nullptr) {
    Table* const next = t->next_retired;
    free_table(t);
    t = next;
  }
  free_blocks(m->retired_blocks.exchange(nullptr, std::memory_order_acquire));
}

void retire_table(Map* m, Table* t) {
  if (!is_pinned(m)) return free_table(t);
  t->next_retired = m->retired_tables.load(std::memory_order_relaxed);
  m->retired_tables.store(t, std::memory_order_release);  // pairs with free_retired()
}

/// Memory for a key or value that has no place in the bucket; null when there is none.
char* make_part(size_t bytes) {
  auto* const block = static_cast<Retired*>(allocate(sizeof(Retired) + bytes));
  return block == nullptr ? nullptr : reinterpret_cast<char*>(block + 1);
}
void retire_part(Map* m, char* part) {
  Retired* const block = reinterpret_cast<Retired*>(part) - 1;
  if (!is_pinned(m)) return deallocate(block);
  block->next = m->retired_blocks.load(std::memory_order_relaxed);
  m->retired_blocks.store(block, std::memory_order_release);  // pairs with free_retired()
}

/// One more overflow bucket for table t; null when there is no memory. Spare ones are kept for moving while that goes on.
char* make_overflow(Map* m, Table* t, bool is_moving) {
  char* bucket;
  if (t->spare != t->end && (is_moving || m->old_table == nullptr)) {
    bucket = t->spare;
    t->spare += m->bucket_size;
  } else {
    TRI_ASSERT(!is_moving);
    bucket = make_part(m->bucket_size);
    if (bucket == nullptr) return nullptr;
    Retired* const block = reinterpret_cast<Retired*>(bucket) - 1;
    block->next = t->loose;
    t->loose = block;
  }
  ++t->overflow;
  init_bucket(m, bucket);
  return bucket;
}

// ---- growth ---------------------------------------------------------------------------------------------------

size_t bucket_count(const Table* t) { return t->mask + 1; }

/// count <= kMaxHint, so nothing overflows.
bool is_overloaded(size_t count, size_t buckets) {
  return count > kSlots && count * kLoadDenominator > kLoadNumerator * buckets;
}

/// Makes the table that the map needs for one more entry, if it needs one; true if it did.
bool begin_growth(Map* m) {
  Table* const t = m->table;
  const size_t buckets = bucket_count(t);
  const bool doubles = is_overloaded(m->count + 1, buckets);
  if (!doubles && t->overflow < buckets) return false;
  Table* const fresh = make_table(m, doubles ? buckets * 2 : buckets, t->overflow, false);
  if (fresh == nullptr) return false;
  m->old_table = t;
  m->table = fresh;
  m->moved = 0;
  return true;
}

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

void end_growth(Map* m) {
  Table* const old = m->old_table;
  m->old_table = nullptr;
  if (!is_pinned(m) && usable_size(old) >= kMinDying) {
    // None is left from the growth before: there were more writes since than that takes.
    if (m->dying != nullptr) free_table(m->dying);
    m->dying = old;
  } else {
    retire_table(m, old);
  }
  if constexpr (kVerify) map_verify(m);
}

/// Gives some of what the last growth left back.
[[gnu::cold, gnu::noinline]] void shrink_dying(Map* m) {
  if (++m->writes_while_dying % kWritesPerDyingStep != 0) return;
  Table* const t = m->dying;
  for (size_t i = 0; i < kWritesPerDyingStep && t->loose != nullptr; ++i) {
    Retired* const next = t->loose->next;
    deallocate(t->loose);
    t->loose = next;
  }
  const size_t size = usable_size(t);
  if (size > 2 * kDyingStep && resize_in_place(t, size - kDyingStep)) return;
  if (t->loose != nullptr) return;
  deallocate(t);
  m->dying = nullptr;
}

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

// ---- reading and writing --------------------------------------------------------------------------------------

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

// ---- iteration ------------------------------------------------------------------------------------------------

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
