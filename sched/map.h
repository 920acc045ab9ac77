// map.h - A hash map that grows without a pause and may change while it is iterated: Go's classic one.
//
// 2^log2 buckets of eight entries; the hash's low bits choose the bucket, its top eight bits (the tag) stand in front, so
// that one comparison of eight bytes finds the candidates. What does not fit goes to overflow buckets, chained.
//
//   bucket = tags[8] | keys[8] | values[8] | overflow        keys and values above 128 bytes stand elsewhere, by pointer
//   tag    = kEmptyRest  free, and so is everything after it in the chain     (a search ends here)
//            kEmpty      free
//            kMovedLow, kMovedHigh, kMovedNothing   the entry's bucket was moved: to the same number, to number + old
//                        size, it was free. All eight tags of a bucket change at once, so one of them tells.
//            >= kMinTag  an entry's
//
// Growth (above 6.5 entries a bucket: double; more overflow buckets than buckets: same size, which packs the entries): a new
// table is made, the old one stays, and every write moves the bucket that it is about to change, and one more. So a write
// costs at most two moves. A bucket of the new table is not touched, not even zeroed, before the old bucket that goes
// there is moved; reads look at the old one until then.
//
//   Moving never allocates, so it never fails: chain by chain the entries need no more overflow buckets than they had, and the
//   new table is made with that many spare ones. Only writes that add an entry can run out of memory, and they change
//   nothing then. A growth for which there is no memory is put off: the chains get longer.
//
// The old table goes the same way: the kernel takes a millisecond for every 13 MiB, so what is large is given back by pieces, at
// one write in 64.
//
// Iteration visits bucket numbers as they were when it began, from a random one on, and in each bucket slots from a
// random one on. Growth meanwhile only moves entries; a moved one is looked up by its key, to learn whether it still
// exists, and where (a delete takes it out of the old tables, too: its key may point to what is freed next). For that the tables that an iteration may stand in must stay: each iteration under way pins the map, and
// what is replaced meanwhile is freed when the last of them ends. (Go's collector sees to this by itself.) So each
// entry comes at most once, deleted ones do not come, new ones may or may not.
//
// Reads, iteration among them, may run in parallel with each other. A write in parallel with anything is the program's
// mistake, noticed often, at no cost, by a flag that each write raises and each call looks at.
//
// To read it in order: map_bucket, map_table, map_growth, map, map_iter.
//
// Uses: alloc, hash. Used by: shim.
#ifndef TRI_SCHED_MAP_H
#define TRI_SCHED_MAP_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri::sched {

/// How keys are hashed and compared.
enum class KeyKind : uint8_t {
  kBytes,   // by the key's own bytes: integers, pointers, structs without padding
  kString,  // const char*, by what it points to up to the 0; not copied
  kSlice,   // KeySlice, by what it points to; not copied
  kCustom,
};

struct KeySlice {
  const void* data;
  size_t len;
};

using HashFn = uint64_t (*)(const void* key, uint64_t seed);
using EqualFn = bool (*)(const void* a, const void* b);

struct MapType {
  KeyKind kind;
  size_t key_size;
  size_t value_size;
  HashFn hash;    // kCustom only
  EqualFn equal;  // kCustom only
};

struct Table;
struct Retired;

struct Map {
  // ---- what a lookup reads
  Table* table;      // null: no entry was ever made
  Table* old_table;  // not null while growing
  size_t count;
  uint64_t seed;
  uint32_t bucket_size;
  uint16_t value_offset;
  uint8_t key_offset;
  uint8_t key_slot;  // bytes in the bucket: the key, or a pointer to it
  uint8_t value_slot;
  bool indirect_key;
  bool indirect_value;
  KeyKind kind;
  std::atomic<uint8_t> writing;  // relaxed: a hint, see above
  size_t key_size;
  HashFn hash;
  EqualFn equal;
  // ---- the rest
  size_t value_size;
  size_t moved;  // old buckets below this number are all moved
  Table* dying;  // large, left by the last growth: writes give it back piece by piece
  uint32_t writes_while_dying;
  // Iterations under way. Any thread: relaxed to raise, acq_rel to drop.
  std::atomic<uint32_t> pins;
  std::atomic<Table*> retired_tables;  // writers push, exclusively; who drops the last pin takes all
  std::atomic<Retired*> retired_blocks;
};

struct MapIter {
  const void* key;  // null at the end
  void* value;
  Map* map;
  // ---- private
  Table* table;  // as it was at the beginning
  const char* bucket;
  size_t start;
  size_t next;
  size_t only;  // of an old bucket that is not yet moved: only entries that will go to this bucket
  uint8_t slot;
  uint8_t slot_offset;
  bool wrapped;
  bool pinned;
};

/// A map, with room for `hint` entries. Null: no memory, or a type that cannot be (too large; kCustom without functions).
[[nodiscard]] Map* map_create(const MapType& type, size_t hint);
void map_destroy(Map* m);
/// The value, or null. In parallel with other reads.
void* map_find(Map* m, const void* key);
/// As map_find(), and where the key stands.
void* map_find_entry(Map* m, const void* key, const void** stored_key);
/// Where the value of `key` stands, or will: zeroed then, and *fresh. Null when there is no memory; nothing changed then.
void* map_put(Map* m, const void* key, bool* fresh);
/// Stores a value. 0 or -ENOMEM.
int map_set(Map* m, const void* key, const void* value);
/// Removes an entry, and copies its parts out where wanted. 0 or -ENOENT.
int map_take(Map* m, const void* key, void* key_out, void* value_out);
/// Removes all entries and keeps the buckets.
void map_clear(Map* m);

void map_iter_begin(MapIter* it, Map* m);
bool map_iter_next(MapIter* it);
/// Not needed after the end, and harmless then.
void map_iter_end(MapIter* it);

/// Checks the equations of the head comment: for tests and verifying builds. Nobody writes meanwhile.
void map_verify(Map* m);
struct MapShape {
  size_t buckets, old_buckets, overflow;
};
MapShape map_shape(const Map* m);

}  // namespace tri::sched

#endif
