// cmap.h - A map for many readers: lookups without a lock, 96 bytes, empty when zero.
//
// As Go's sync.Map up to 1.23, made for keys that are written once and read often, or for threads with keys of their own:
//
//   read part    a table that never changes; its entries' values do, by CAS. Looked up without a lock.
//   dirty part   all live entries of the read part, and new ones. Under the lock. Exists only while there are new ones: "amended".
//   promotion    after as many lookups had to take the lock as the dirty part has entries, it becomes the read part.
//
// An entry's value is a pointer; null: deleted. kExpunged: deleted, and not in the dirty part, so that a store to it has to
// put it there first.
//
// Keys are copied into the entries: `key_size` bytes, or strings ended by 0 if that is 0, compared byte by byte. Callbacks for hash
// and equality were rejected: with keys by reference, a reader of a table that is out of date would look at keys that
// their owner has freed; and a call for each look costs more than the lookup.
//
// There is no collector to keep what a late reader still looks at. So readers count themselves in and out, on a stripe by thread;
// what a promotion leaves behind is freed when each stripe was seen empty once since. With its two atomic instructions on a line
// that is mostly the thread's own, a lookup stays at about 20 ns, and readers do not disturb each other.
//
// Values are the user's: who deletes or replaces one must know that nobody still uses it.
//
// Uses: mutex. Used by: shim.
#ifndef TRI_SCHED_CMAP_H
#define TRI_SCHED_CMAP_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sched/mutex.h"

namespace tri::sched {

class ConcurrentMap {
 public:
  /// The value, or null. Any thread; takes a lock only while the map is amended.
  [[nodiscard]] void* load(const void* key);
  /// 0; -ENOMEM. *before: the value that was there, or null. A null value deletes.
  [[nodiscard]] int swap(const void* key, void* value, void** before);
  /// Stores the value if there is none. *actual: what is there then. 1: it was there; 0: stored; -ENOMEM.
  [[nodiscard]] int load_or_store(const void* key, void* value, void** actual);
  /// Returns the value that was deleted, or null.
  void* remove(const void* key);
  /// Replaces `expected` (not null) by `value` (null: deletes). False if it was not there.
  [[nodiscard]] bool compare_and_swap(const void* key, void* expected, void* value);
  /// Calls fn for the entries there are, each once, until it returns false. What changes meanwhile is seen or not. fn may use the map.
  template <class Fn>
  void each(Fn&& fn);
  /// Deletes everything.
  void clear();
  /// Frees everything, while nobody uses the map. It is empty then, and may be used again.
  void destroy();

  uint32_t key_size;

  /// Tables that wait for readers to leave. For tests.
  size_t retired();

 private:
  struct Entry;
  struct Slot;
  struct Table;
  struct Readers;
  class Reading;

  static constexpr uintptr_t kAmended = 1;

  size_t length_of(const void* key) const;
  uint64_t hash_of(const void* key, size_t length) const;
  bool prepare();
  Table* read_table() const;
  bool is_amended() const;
  Entry* find(const Table* table, const void* key, uint64_t hash) const;
  Entry* new_entry(const void* key, uint64_t hash);
  [[nodiscard]] bool make_dirty();
  [[nodiscard]] bool insert_dirty(Entry* e);
  [[nodiscard]] bool grow_dirty(size_t entries);
  void remove_dirty(const Entry* e);
  [[nodiscard]] bool unexpunge(Entry* e);
  Entry* find_locked(const void* key, uint64_t hash);
  void* remove_slow(const void* key, uint64_t hash);
  int store_slow(const void* key, uint64_t hash, void* value, void** before, bool only_new);
  void missed();
  void promote();
  void retire(Table* table, Entry* dead);
  void reclaim();

  uint32_t misses_;                // lock_
  std::atomic<uintptr_t> read_;    // Table | kAmended; written under lock_
  std::atomic<Readers*> readers_;  // constant after the first use
  Table* dirty_;                   // lock_
  Table* retired_;                 // lock_
  uint64_t seed_;                  // constant after the first use
  Mutex lock_;
  [[maybe_unused]] uintptr_t reserved_[4];
};

static_assert(sizeof(ConcurrentMap) == 96);

}  // namespace tri::sched

#include "sched/cmap_each.h"

#endif
