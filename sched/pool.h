// pool.h - Objects kept for reuse, a stripe for each processor: 56 bytes, empty when zero.
//
// As Go's sync.Pool: get() gives some object that was put, or makes one; what nobody asks for goes away in two steps. At each
// age() the objects become victims, still to be had when nothing else is there, and the victims of the last age() are dropped;
// so a pool in use keeps its objects over an age, and an idle one is empty after two.
//
// A stripe is a stack of objects under a short lock, chosen by the P, or by the thread that has none: mostly nobody else wants it, so get() and put() are
// one locked instruction each. Who finds its stripe empty looks into the others, then at the victims, then makes one.
//
// age_all() ages all pools, a few under one taking of the lock. As long as one of them holds anything it is called once a second (see
// pool_ager.h). Pools register themselves with their first put(), and are forgotten by purge().
//
// drop() is called without a lock, by whoever ages, and may use pools itself. Its pool's purge() waits for it, and drops by itself what
// the other has not come to: what drop() needs may go with the pool.
//
// Locks: the registry's, then a stripe's. Uses: waitq, allocate. Used by: shim, pool_ager.
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
  /// Drops everything. Afterwards the memory may be freed, if nobody else uses the pool. Waits while somebody else drops an object of it.
  void purge();

  /// Ages all pools, and calls drop() for what nobody has asked for. True if something is left to age.
  static bool age_all();
  /// Whether there is an object in any pool.
  static bool any_holds();
  /// Around fork(): nobody is at work in a pool when the memory is copied.
  static void lock_before_fork();
  static void unlock_after_fork();
  static void reset_after_fork();

  struct Chunk;
  struct Stripe;
  struct Drops;

 private:
  Stripe* stripes();
  void* take_from_others(Stripe* own);
  bool age_locked(Chunk** old);
  template <class Fn>
  static void each_stripe_locked(Fn&& fn);

 public:       // as all data: the struct's layout is that of tri_pool
  Pool* next;  // the registry's lock; so all below
  Pool* prev;
  std::atomic<Stripe*> stripes_;  // read without
  uintptr_t aged_;                // the number of the last age_all() that came by
};

static_assert(sizeof(Pool) == 56);

}  // namespace tri::sched

#endif
