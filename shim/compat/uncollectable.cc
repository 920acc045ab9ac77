// uncollectable.cc - Blocks that stay until they are freed: GC_malloc_uncollectable(). See compat.h.
//
// Their addresses stand in a table in memory that is searched as all of the program's is, so that it keeps them. Linear probing; a place is
// empty (0), was given up (1), or holds an address. A table is replaced before it is more than half full.
#include <errno.h>
#include <pthread.h>

#include <atomic>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

constexpr uintptr_t kEmpty = 0;
constexpr uintptr_t kGone = 1;
constexpr size_t kFirstRoom = 512;

constinit pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
constinit uintptr_t* table = nullptr;
constinit size_t room = 0;  // a power of two
constinit size_t used = 0;  // places that are not empty
constinit std::atomic<size_t> kept{0};

struct Guard {
  Guard() { pthread_mutex_lock(&lock); }
  ~Guard() { pthread_mutex_unlock(&lock); }
};

[[gnu::constructor]] void prepare_fork() {
  pthread_atfork([] { pthread_mutex_lock(&lock); }, [] { pthread_mutex_unlock(&lock); },
                 [] { pthread_mutex_unlock(&lock); });
}

size_t place_of(uintptr_t address) {
  uint64_t x = address;
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  return x & (room - 1);
}

void put(uintptr_t address) {
  size_t i = place_of(address);
  while (table[i] != kEmpty) i = (i + 1) & (room - 1);
  table[i] = address;
  ++used;
}

bool make_room() {
  if (used + 1 <= room / 2) return true;
  const size_t live = kept.load(std::memory_order_relaxed);
  const size_t larger = live + 1 <= room / 4 ? room : (room == 0 ? kFirstRoom : 2 * room);
  // Of the allocator, and led to by `table`: this is what makes the blocks reachable.
  auto* const fresh = static_cast<uintptr_t*>(tri_alloc(larger * sizeof(uintptr_t), TRI_ZERO));
  if (fresh == nullptr) return false;
  uintptr_t* const old = table;
  const size_t old_room = room;
  table = fresh;
  room = larger;
  used = 0;
  for (size_t i = 0; i < old_room; ++i) {
    if (old[i] > kGone) put(old[i]);
  }
  tri_free(old);  // led to by the stack until here
  return true;
}

size_t find(uintptr_t address) {
  if (room == 0) return SIZE_MAX;
  for (size_t i = place_of(address); table[i] != kEmpty; i = (i + 1) & (room - 1)) {
    if (table[i] == address) return i;
  }
  return SIZE_MAX;
}

}  // namespace

bool any_kept() { return kept.load(std::memory_order_relaxed) != 0; }

bool keep(const void* p) {
  const Guard guard;
  if (!make_room()) return false;
  put(reinterpret_cast<uintptr_t>(p));
  kept.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool is_kept(const void* p) {
  const Guard guard;
  return find(reinterpret_cast<uintptr_t>(p)) != SIZE_MAX;
}

bool forget(const void* p) {
  const Guard guard;
  const size_t i = find(reinterpret_cast<uintptr_t>(p));
  if (p == nullptr || i == SIZE_MAX) return false;
  table[i] = kGone;
  kept.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

}  // namespace tri::compat
