// cmap_each.h - The inside of ConcurrentMap as far as its template each() needs it. See cmap.h.
#ifndef TRI_SCHED_CMAP_EACH_H
#define TRI_SCHED_CMAP_EACH_H

#include "sched/cmap.h"

namespace tri::sched {

struct ConcurrentMap::Entry {
  std::atomic<void*> value;
  uint64_t hash;
  Entry* next_dead;  // lock_; of those that go with a table
  // The key follows.

  char* key() { return reinterpret_cast<char*>(this + 1); }
  const char* key() const { return reinterpret_cast<const char*>(this + 1); }
};

struct ConcurrentMap::Slot {
  uint64_t hash;
  Entry* entry;  // null: free
};

struct ConcurrentMap::Table {
  size_t mask;
  size_t used;
  // Once retired, all lock_:
  Table* next_retired;
  Entry* dead;       // entries that go with it
  uint64_t pending;  // stripes that have not been seen empty since
  // The slots follow.

  Slot* slots() { return reinterpret_cast<Slot*>(this + 1); }
  const Slot* slots() const { return reinterpret_cast<const Slot*>(this + 1); }
};

/// Keeps what it sees of the read part from being freed. May be left on another thread.
class ConcurrentMap::Reading {
 public:
  explicit Reading(ConcurrentMap* map);
  ~Reading();
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  /// Null: the map is empty.
  const Table* table() const { return reinterpret_cast<const Table*>(read_ & ~kAmended); }
  bool amended() const { return (read_ & kAmended) != 0; }
  static void* live_value(const Entry* e);

 private:
  std::atomic<uint32_t>* count_ = nullptr;
  uintptr_t read_ = 0;
};

template <class Fn>
void ConcurrentMap::each(Fn&& fn) {
  if (is_amended()) {
    MutexGuard guard(lock_);
    if (is_amended()) promote();
  }
  Reading reading(this);
  const Table* const table = reading.table();
  for (size_t i = 0; table != nullptr && i <= table->mask; ++i) {
    const Entry* const e = table->slots()[i].entry;
    void* const value = e == nullptr ? nullptr : Reading::live_value(e);
    if (value != nullptr && !fn(e->key(), value)) break;
  }
}

}  // namespace tri::sched

#endif
