// cmap.cc - See cmap.h.
#include "sched/cmap.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "sched/spin.h"

namespace tri::sched {
namespace {

constexpr size_t kMostStripes = 64;  // one bit each in Table::pending
constexpr size_t kLeastSlots = 8;

constinit char expunged_object = 0;
void* const kExpunged = &expunged_object;

size_t count_stripes() {
  const size_t n = std::bit_ceil(static_cast<size_t>(processors()));
  return n < kMostStripes ? n : kMostStripes;
}

uint64_t multiply_and_fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

struct ConcurrentMap::Readers {
  struct alignas(64) Stripe {
    std::atomic<uint32_t> inside;
  };
  Stripe stripes[1];  // count_stripes() of them
};

// ---- reading ---------------------------------------------------------------------------------------------------

ConcurrentMap::Reading::Reading(ConcurrentMap* map) {
  // acquire: pairs with the release in prepare().
  Readers* const readers = map->readers_.load(std::memory_order_acquire);
  if (TRI_UNLIKELY(readers == nullptr)) return;
  count_ = &readers->stripes[mix(arch::thread_pointer()) & (count_stripes() - 1)].inside;
  // seq_cst, both: pairs with those in promote() and reclaim(). Either the count is seen, or we see the new table.
  count_->fetch_add(1, std::memory_order_seq_cst);
  read_ = map->read_.load(std::memory_order_seq_cst);
}

ConcurrentMap::Reading::~Reading() {
  // release: pairs with the load in reclaim(); what we looked at is freed after it.
  if (count_ != nullptr) count_->fetch_sub(1, std::memory_order_release);
}

void* ConcurrentMap::Reading::live_value(const Entry* e) {
  // acquire: pairs with the release of the store; what the value points to is there.
  void* const value = e->value.load(std::memory_order_acquire);
  return value == kExpunged ? nullptr : value;
}

inline size_t ConcurrentMap::length_of(const void* key) const {
  return key_size != 0 ? key_size : strlen(static_cast<const char*>(key)) + 1;
}

inline uint64_t ConcurrentMap::hash_of(const void* key, size_t length) const {
  const char* p = static_cast<const char*>(key);
  uint64_t hash = seed_ ^ length;
  for (; length >= 8; length -= 8, p += 8) {
    uint64_t word;
    __builtin_memcpy(&word, p, 8);
    hash = multiply_and_fold(hash ^ word, 0x9e3779b97f4a7c15);
  }
  uint64_t rest = 0;
  for (size_t i = 0; i < length; ++i) rest |= uint64_t{static_cast<unsigned char>(p[i])} << (i * 8);
  return multiply_and_fold(hash ^ rest, 0xbf58476d1ce4e5b9) ^ hash >> 29;
}

inline ConcurrentMap::Entry* ConcurrentMap::find(const Table* table, const void* key, uint64_t hash) const {
  if (table == nullptr) return nullptr;
  // Never full, so the probe ends.
  for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
    const Slot& slot = table->slots()[i];
    if (slot.entry == nullptr) return nullptr;
    if (slot.hash != hash) continue;
    const bool same = key_size == 8   ? __builtin_memcmp(slot.entry->key(), key, 8) == 0
                      : key_size != 0 ? memcmp(slot.entry->key(), key, key_size) == 0
                                      : strcmp(slot.entry->key(), static_cast<const char*>(key)) == 0;
    if (same) return slot.entry;
  }
}

void* ConcurrentMap::load(const void* key) {
  uint64_t hash;
  {
    Reading reading(this);
    if (reading.table() == nullptr && !reading.amended()) return nullptr;
    hash = hash_of(key, length_of(key));
    if (const Entry* const e = find(reading.table(), key, hash)) return Reading::live_value(e);
    if (!reading.amended()) return nullptr;
  }
  MutexGuard guard(lock_);
  Entry* const e = find_locked(key, hash);
  return e == nullptr ? nullptr : Reading::live_value(e);
}

// With the lock: in the read part, which may be another one by now, or in the dirty part, which counts as a miss.
ConcurrentMap::Entry* ConcurrentMap::find_locked(const void* key, uint64_t hash) {
  if (Entry* const e = find(read_table(), key, hash)) return e;
  if (!is_amended()) return nullptr;
  Entry* const e = find(dirty_, key, hash);
  missed();
  return e;
}

// ---- writing ---------------------------------------------------------------------------------------------------

int ConcurrentMap::swap(const void* key, void* value, void** before) {
  if (value == nullptr) {
    *before = remove(key);
    return 0;
  }
  if (!prepare()) return -ENOMEM;
  const uint64_t hash = hash_of(key, length_of(key));
  {
    Reading reading(this);
    if (Entry* const e = find(reading.table(), key, hash)) {
      void* seen = e->value.load(std::memory_order_relaxed);
      while (seen != kExpunged) {
        // acq_rel: pairs with loads and swaps of this value.
        if (!e->value.compare_exchange_weak(seen, value, std::memory_order_acq_rel, std::memory_order_relaxed))
          continue;
        *before = seen;
        return 0;
      }
    }
  }
  const int result = store_slow(key, hash, value, before, false);
  return result < 0 ? result : 0;
}

int ConcurrentMap::load_or_store(const void* key, void* value, void** actual) {
  if (!prepare()) return -ENOMEM;
  const uint64_t hash = hash_of(key, length_of(key));
  {
    Reading reading(this);
    if (Entry* const e = find(reading.table(), key, hash)) {
      void* seen = e->value.load(std::memory_order_acquire);
      while (seen != kExpunged) {
        if (seen != nullptr) {
          *actual = seen;
          return 1;
        }
        if (!e->value.compare_exchange_weak(seen, value, std::memory_order_acq_rel, std::memory_order_acquire))
          continue;
        *actual = value;
        return 0;
      }
    }
  }
  const int result = store_slow(key, hash, value, actual, true);
  if (result == 0) *actual = value;
  return result;
}

// Stores under the lock, adding the entry to the dirty part where it is not. *before: the value that was there. only_new: does not
// replace one, and returns 1.
int ConcurrentMap::store_slow(const void* key, uint64_t hash, void* value, void** before, bool only_new) {
  MutexGuard guard(lock_);
  Entry* e = find(read_table(), key, hash);
  if (e != nullptr) {
    if (!unexpunge(e)) return -ENOMEM;
  } else if (is_amended()) {
    e = find(dirty_, key, hash);
  }
  if (e != nullptr) {
    void* seen = e->value.load(std::memory_order_acquire);
    for (;;) {
      if (only_new && seen != nullptr) {
        *before = seen;
        return 1;
      }
      if (e->value.compare_exchange_weak(seen, value, std::memory_order_acq_rel, std::memory_order_acquire)) break;
    }
    *before = seen;
    return 0;
  }
  e = new_entry(key, hash);
  if (e == nullptr) return -ENOMEM;
  e->value.store(value, std::memory_order_relaxed);
  if ((dirty_ == nullptr && !make_dirty()) || !insert_dirty(e)) {
    deallocate(e);
    return -ENOMEM;
  }
  // Only now, with something in it: readers that miss come here.
  read_.store(read_.load(std::memory_order_relaxed) | kAmended, std::memory_order_seq_cst);
  *before = nullptr;
  return 0;
}

bool ConcurrentMap::compare_and_swap(const void* key, void* expected, void* value) {
  const auto exchange = [expected, value](Entry* e) {
    void* seen = expected;
    return e->value.compare_exchange_strong(seen, value, std::memory_order_acq_rel, std::memory_order_relaxed);
  };
  uint64_t hash;
  {
    Reading reading(this);
    if (reading.table() == nullptr && !reading.amended()) return false;
    hash = hash_of(key, length_of(key));
    if (Entry* const e = find(reading.table(), key, hash)) return exchange(e);
    if (!reading.amended()) return false;
  }
  MutexGuard guard(lock_);
  Entry* const e = find_locked(key, hash);
  return e != nullptr && exchange(e);
}

void* ConcurrentMap::remove(const void* key) {
  uint64_t hash;
  {
    Reading reading(this);
    if (reading.table() == nullptr && !reading.amended()) return nullptr;
    hash = hash_of(key, length_of(key));
    if (Entry* const e = find(reading.table(), key, hash)) {
      void* seen = e->value.load(std::memory_order_relaxed);
      while (seen != nullptr && seen != kExpunged) {
        if (e->value.compare_exchange_weak(seen, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed))
          return seen;
      }
      return nullptr;
    }
    if (!reading.amended()) return nullptr;
  }
  return remove_slow(key, hash);
}

void* ConcurrentMap::remove_slow(const void* key, uint64_t hash) {
  MutexGuard guard(lock_);
  if (Entry* const e = find(read_table(), key, hash)) {
    void* seen = e->value.load(std::memory_order_relaxed);
    while (seen != nullptr && seen != kExpunged) {
      if (e->value.compare_exchange_weak(seen, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed))
        return seen;
    }
    return nullptr;
  }
  if (!is_amended()) return nullptr;
  Entry* const e = find(dirty_, key, hash);
  void* value = nullptr;
  if (e != nullptr) {
    // Of the dirty part alone, so only those who hold the lock have ever seen it.
    value = e->value.load(std::memory_order_relaxed);
    remove_dirty(e);
    deallocate(e);
  }
  missed();
  return value;
}

void ConcurrentMap::clear() {
  MutexGuard guard(lock_);
  Table* const table = read_table();
  Entry* dead = nullptr;
  // Entries of the dirty part alone first: nobody sees them.
  for (size_t i = 0; dirty_ != nullptr && i <= dirty_->mask; ++i) {
    Entry* const e = dirty_->slots()[i].entry;
    if (e != nullptr && find(table, e->key(), e->hash) == nullptr) deallocate(e);
  }
  deallocate(dirty_);
  dirty_ = nullptr;
  misses_ = 0;
  for (size_t i = 0; table != nullptr && i <= table->mask; ++i) {
    if (Entry* const e = table->slots()[i].entry) {
      e->next_dead = dead;
      dead = e;
    }
  }
  read_.store(0, std::memory_order_seq_cst);
  if (table != nullptr) retire(table, dead);
}

void ConcurrentMap::destroy() {
  if (readers_.load(std::memory_order_acquire) == nullptr) return;
  clear();
  lock_.lock();
  while (Table* const table = retired_) {
    retired_ = table->next_retired;
    while (Entry* const e = table->dead) {
      table->dead = e->next_dead;
      deallocate(e);
    }
    deallocate(table);
  }
  lock_.unlock();
  deallocate(readers_.load(std::memory_order_relaxed));
  readers_.store(nullptr, std::memory_order_relaxed);
}

// ---- the parts; all with the lock --------------------------------------------------------------------------------

// Makes what the first store needs.
bool ConcurrentMap::prepare() {
  if (TRI_LIKELY(readers_.load(std::memory_order_acquire) != nullptr)) return true;
  MutexGuard guard(lock_);
  if (readers_.load(std::memory_order_relaxed) != nullptr) return true;
  const size_t bytes = count_stripes() * sizeof(Readers::Stripe);
  void* const memory = allocate_aligned(bytes, alignof(Readers));
  if (memory == nullptr) return false;
  memset(memory, 0, bytes);
  seed_ = os::random64();
  // release: pairs with the acquire in Reading and above.
  readers_.store(static_cast<Readers*>(memory), std::memory_order_release);
  return true;
}

inline ConcurrentMap::Table* ConcurrentMap::read_table() const {
  return reinterpret_cast<Table*>(read_.load(std::memory_order_relaxed) & ~kAmended);
}

bool ConcurrentMap::is_amended() const { return (read_.load(std::memory_order_relaxed) & kAmended) != 0; }

ConcurrentMap::Entry* ConcurrentMap::new_entry(const void* key, uint64_t hash) {
  const size_t length = length_of(key);
  void* const memory = allocate(sizeof(Entry) + length);
  if (memory == nullptr) return nullptr;
  Entry* const e = ::new (memory) Entry{};
  e->hash = hash;
  memcpy(e->key(), key, length);
  return e;
}

// Replaces the dirty part by one with room for so many entries, with what is in it.
bool ConcurrentMap::grow_dirty(size_t entries) {
  size_t slots = kLeastSlots;
  while (slots / 4 * 3 < entries) slots *= 2;
  Table* const table = static_cast<Table*>(allocate_zeroed(sizeof(Table) + slots * sizeof(Slot)));
  if (table == nullptr) return false;
  table->mask = slots - 1;
  Table* const old = dirty_;
  dirty_ = table;
  for (size_t i = 0; old != nullptr && i <= old->mask; ++i) {
    if (old->slots()[i].entry != nullptr) (void)insert_dirty(old->slots()[i].entry);
  }
  deallocate(old);
  return true;
}

bool ConcurrentMap::insert_dirty(Entry* e) {
  if ((dirty_->mask + 1) / 4 * 3 <= dirty_->used && !grow_dirty(dirty_->used + 1)) return false;
  size_t i = e->hash & dirty_->mask;
  while (dirty_->slots()[i].entry != nullptr) i = (i + 1) & dirty_->mask;
  dirty_->slots()[i] = {e->hash, e};
  ++dirty_->used;
  return true;
}

// Takes an entry out, and moves those behind it forward that may, so that no probe meets a hole before its end.
void ConcurrentMap::remove_dirty(const Entry* e) {
  Slot* const slots = dirty_->slots();
  const size_t mask = dirty_->mask;
  size_t hole = e->hash & mask;
  while (slots[hole].entry != e) hole = (hole + 1) & mask;
  for (size_t i = (hole + 1) & mask; slots[i].entry != nullptr; i = (i + 1) & mask) {
    // It may move if its home is not between the hole and itself.
    if (((i - slots[i].hash) & mask) < ((i - hole) & mask)) continue;
    slots[hole] = slots[i];
    hole = i;
  }
  slots[hole] = {0, nullptr};
  --dirty_->used;
}

// A dirty part with all entries of the read part that are not deleted; those that are get expunged.
bool ConcurrentMap::make_dirty() {
  const Table* const table = read_table();
  // Room for all first: afterwards nothing can fail half-way.
  if (!grow_dirty(table == nullptr ? 1 : table->used + 1)) return false;
  for (size_t i = 0; table != nullptr && i <= table->mask; ++i) {
    Entry* const e = table->slots()[i].entry;
    if (e == nullptr) continue;
    void* seen = e->value.load(std::memory_order_relaxed);
    while (seen == nullptr) {
      if (e->value.compare_exchange_weak(seen, kExpunged, std::memory_order_acq_rel, std::memory_order_relaxed)) break;
    }
    if (seen != nullptr && seen != kExpunged) (void)insert_dirty(e);
  }
  return true;
}

// Lets an entry of the read part be stored to. False if there is no memory for it in the dirty part.
bool ConcurrentMap::unexpunge(Entry* e) {
  // Only who holds the lock expunges, or undoes it.
  if (e->value.load(std::memory_order_relaxed) != kExpunged) return true;
  // Expunged entries were left out when a dirty part was made. It may have been promoted since: then e went with the old read part.
  TRI_ASSERT(dirty_ != nullptr);
  if (!insert_dirty(e)) return false;
  e->value.store(nullptr, std::memory_order_relaxed);
  return true;
}

void ConcurrentMap::missed() {
  if (++misses_ >= dirty_->used) promote();
}

void ConcurrentMap::promote() {
  Table* const old = read_table();
  Entry* dead = nullptr;
  for (size_t i = 0; old != nullptr && i <= old->mask; ++i) {
    Entry* const e = old->slots()[i].entry;
    if (e == nullptr || e->value.load(std::memory_order_relaxed) != kExpunged) continue;
    e->next_dead = dead;
    dead = e;
  }
  // seq_cst: pairs with those in Reading.
  read_.store(reinterpret_cast<uintptr_t>(dirty_), std::memory_order_seq_cst);
  dirty_ = nullptr;
  misses_ = 0;
  if (old != nullptr) {
    retire(old, dead);
  } else {
    reclaim();
  }
}

void ConcurrentMap::retire(Table* table, Entry* dead) {
  table->dead = dead;
  const size_t n = count_stripes();
  table->pending = n == 64 ? UINT64_MAX : (uint64_t{1} << n) - 1;
  table->next_retired = retired_;
  retired_ = table;
  reclaim();
}

// Frees what no reader can see any more. A stripe that was empty once since a table was replaced has no reader of it, for who
// came later saw the new one.
void ConcurrentMap::reclaim() {
  Readers* const readers = readers_.load(std::memory_order_relaxed);
  if (retired_ == nullptr) return;
  uint64_t empty = 0;
  for (size_t i = 0; i < count_stripes(); ++i) {
    // seq_cst: pairs with the count in Reading.
    if (readers->stripes[i].inside.load(std::memory_order_seq_cst) == 0) empty |= uint64_t{1} << i;
  }
  for (Table** at = &retired_; *at != nullptr;) {
    Table* const table = *at;
    table->pending &= ~empty;
    if (table->pending != 0) {
      at = &table->next_retired;
      continue;
    }
    *at = table->next_retired;
    while (Entry* const e = table->dead) {
      table->dead = e->next_dead;
      deallocate(e);
    }
    deallocate(table);
  }
}

size_t ConcurrentMap::retired() {
  MutexGuard guard(lock_);
  reclaim();
  size_t n = 0;
  for (const Table* t = retired_; t != nullptr; t = t->next_retired) ++n;
  return n;
}

}  // namespace tri::sched
