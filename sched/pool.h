// pool.h - Objects kept for reuse, a stripe for each processor: 56 bytes, empty when zero.
//
// As Go's sync.Pool: get() gives some object that was put, or makes one; what nobody asks for goes away in two steps. At each
// age() the objects become victims, still to be had when nothing else is there, and the victims of the last age() are dropped;
// so a pool in use keeps its objects over an age, and an idle one is empty after two.
//
// A stripe is a stack of objects under a short lock, chosen by the P, or by the thread that has none: mostly nobody else wants it, so get() and put() are
// one locked instruction each. Who finds its stripe empty looks into the others, then at the victims, then makes one.
//
// age_pools() ages all pools; who collects garbage or watches memory calls it. Pools register themselves with their first
// put(), and are forgotten by purge().
//
// Uses: mutex, allocate. Used by: shim, sysmon.
#ifndef TRI_SCHED_POOL_H
#define TRI_SCHED_POOL_H

#include <atomic>
#include <cstddef>

#include "alloc/base/list.h"
#include "sched/spin_lock.h"

namespace tri::sched {

class Pool {
 public:
  /// All null: get() returns null when there is nothing, and what is dropped is forgotten.
  void* (*make)(void* arg);
  void (*drop)(void* object, void* arg);
  void* arg;

  /// An object, which is the caller's; null if there is none and make() gives none.
  [[nodiscard]] void* get();
  /// Keeps the object, or drops it at once when there is no memory to keep it in. Null is ignored.
  void put(void* object);
  void age();
  /// Drops everything. Afterwards the memory may be freed, if nobody else uses the pool.
  void purge();

 private:
  struct Chunk;
  struct Stripe;
  friend void age_pools();

  Stripe* stripes();
  void* take_from_others(Stripe* own);
  Chunk* age_locked();

 public:       // as all data: the struct's layout is that of tri_pool
  Pool* next;  // the registry's lock
  Pool* prev;
  std::atomic<Stripe*> stripes_;
  uintptr_t reserved_;
};

static_assert(sizeof(Pool) == 56);

/// Ages all pools that hold objects. May call their drop().
void age_pools();

}  // namespace tri::sched

#endif
