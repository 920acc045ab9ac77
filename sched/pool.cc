// pool.cc - See pool.h.
#include "sched/pool.h"

#include <new>

#include "alloc/malloc.h"
#include "sched/context.h"
#include "sched/fatal.h"
#include "sched/pool_ager.h"
#include "sched/proc.h"
#include "sched/spin.h"
#include "sched/waitq.h"

namespace tri::sched {

// A piece of a stack of objects. Who detaches it notes whose they are, and how they are dropped.
struct Pool::Chunk {
  static constexpr size_t kRoom = 27;

  Chunk* next;
  Pool* pool;
  void (*drop)(void*, void*);
  void* arg;
  size_t used;
  void* objects[kRoom];
};

struct alignas(64) Pool::Stripe {
  SpinLock lock;
  // Whether it pays to look: written under the lock.
  std::atomic<bool> has_objects{false};
  std::atomic<bool> has_victims{false};
  Chunk* objects = nullptr;  // lock
  Chunk* victims = nullptr;  // lock
  Chunk* spare = nullptr;    // lock; an empty one, so that a pool at the edge of a chunk does not allocate each time

  void* pop(Chunk* Stripe::*from, std::atomic<bool> Stripe::*has);
};

namespace {

constexpr size_t kMostStripes = 64;

// Pools that are aged under one taking of the lock: about 10 us, with few processors.
constexpr uint32_t kBatch = 16;

constinit SpinLock registry_lock;
constinit List<Pool> registry;         // registry_lock: those that were aged last are at the end
constinit List<Pool::Drops> droppers;  // registry_lock
constinit uintptr_t ages = 0;          // registry_lock: of all pools, so far
constinit WaitQueue purgers;           // registry_lock: who waits for a drop() to return

size_t count_stripes() {
  const size_t n = std::bit_ceil(static_cast<size_t>(processors()));
  return n < kMostStripes ? n : kMostStripes;
}

// That of the P, for a goroutine; it may be another one before the stripe is locked, which does no harm.
size_t my_stripe() {
  const M* const m = current_m();
  const P* const p = m == nullptr ? nullptr : m->p;
  return (p != nullptr ? p->id : static_cast<size_t>(mix(arch::thread_pointer()))) & (count_stripes() - 1);
}

}  // namespace

// What somebody is about to drop; on his stack.
struct Pool::Drops {
  Drops* next = nullptr;  // registry_lock; so all below
  Drops* prev = nullptr;
  G* who = current();
  Chunk* chunks = nullptr;
  Pool* pool = nullptr;  // whose drop() is at work; null: none

  void run();
  Chunk* take_those_of(const Pool* of);
};

namespace {

void drop_chunk(Pool::Chunk* chunk) {
  for (size_t i = 0; chunk->drop != nullptr && i < chunk->used; ++i) chunk->drop(chunk->objects[i], chunk->arg);
  deallocate(chunk);
}

}  // namespace

// With the registry's lock held; without it on return.
void Pool::Drops::run() {
  droppers.push_back(this);
  while (Chunk* const chunk = chunks) {
    chunks = chunk->next;
    pool = chunk->pool;
    registry_lock.unlock();
    drop_chunk(chunk);
    registry_lock.lock();
    pool = nullptr;
    if (TRI_LIKELY(purgers.empty())) continue;
    WakeList wake;
    while (Waiter* const w = purgers.pop_claimed()) wake.add(w, 0);
    registry_lock.unlock();
    wake.wake();
    registry_lock.lock();
  }
  droppers.remove(this);
  registry_lock.unlock();
}

Pool::Chunk* Pool::Drops::take_those_of(const Pool* of) {
  Chunk* taken = nullptr;
  for (Chunk** at = &chunks; *at != nullptr;) {
    Chunk* const chunk = *at;
    if (chunk->pool != of) {
      at = &chunk->next;
      continue;
    }
    *at = chunk->next;
    chunk->next = taken;
    taken = chunk;
  }
  return taken;
}

Pool::Stripe* Pool::stripes() {
  // acquire: pairs with the release below.
  Stripe* s = stripes_.load(std::memory_order_acquire);
  if (TRI_LIKELY(s != nullptr)) return s;
  fork_install();
  SpinGuard guard(registry_lock);
  s = stripes_.load(std::memory_order_relaxed);
  if (s != nullptr) return s;
  const size_t n = count_stripes();
  s = static_cast<Stripe*>(allocate_aligned(n * sizeof(Stripe), alignof(Stripe)));
  if (s == nullptr) return nullptr;
  for (size_t i = 0; i < n; ++i) ::new (&s[i]) Stripe;
  registry.push_back(this);
  stripes_.store(s, std::memory_order_release);
  return s;
}

// With the lock held.
inline void* Pool::Stripe::pop(Chunk* Stripe::*from, std::atomic<bool> Stripe::*has) {
  Chunk* const chunk = this->*from;
  if (chunk == nullptr) return nullptr;
  void* const object = chunk->objects[--chunk->used];
  if (chunk->used == 0) {
    this->*from = chunk->next;
    chunk->next = spare;
    spare = chunk;
    (this->*has).store(this->*from != nullptr, std::memory_order_relaxed);
  }
  return object;
}

void* Pool::get() {
  Stripe* const all = stripes_.load(std::memory_order_acquire);
  if (TRI_LIKELY(all != nullptr)) {
    Stripe* const own = &all[my_stripe()];
    if (TRI_LIKELY(own->has_objects.load(std::memory_order_relaxed))) {
      SpinGuard guard(own->lock);
      if (void* const object = own->pop(&Stripe::objects, &Stripe::has_objects)) return object;
    }
    if (void* const object = take_from_others(own)) return object;
  }
  return make == nullptr ? nullptr : make(arg);
}

// What others have, the neighbours first; then what nobody has asked for since the last age().
void* Pool::take_from_others(Stripe* own) {
  Stripe* const all = stripes_.load(std::memory_order_relaxed);
  const size_t n = count_stripes();
  const size_t first = static_cast<size_t>(own - all);
  for (const bool victims : {false, true}) {
    const auto from = victims ? &Stripe::victims : &Stripe::objects;
    const auto has = victims ? &Stripe::has_victims : &Stripe::has_objects;
    for (size_t i = 0; i < n; ++i) {
      Stripe& s = all[(first + i) & (n - 1)];
      if (!(s.*has).load(std::memory_order_relaxed)) continue;
      SpinGuard guard(s.lock);
      if (void* const object = s.pop(from, has)) return object;
    }
  }
  return nullptr;
}

void Pool::put(void* object) {
  if (object == nullptr) return;
  Stripe* const all = stripes();
  if (TRI_LIKELY(all != nullptr)) {
    Stripe* const own = &all[my_stripe()];
    Chunk* fresh = nullptr;
    bool is_first = false;  // of a piece
    for (;;) {
      own->lock.lock();
      Chunk* chunk = own->objects;
      if (chunk == nullptr || chunk->used == Chunk::kRoom) {
        chunk = own->spare;
        if (chunk != nullptr) {
          own->spare = chunk->next;
        } else {
          chunk = fresh;
          fresh = nullptr;
        }
        if (chunk != nullptr) {
          chunk->next = own->objects;
          chunk->used = 0;
          own->objects = chunk;
          own->has_objects.store(true, std::memory_order_relaxed);
          is_first = true;
        }
      }
      if (TRI_LIKELY(chunk != nullptr)) chunk->objects[chunk->used++] = object;
      own->lock.unlock();
      if (TRI_LIKELY(chunk != nullptr)) {
        if (TRI_UNLIKELY(fresh != nullptr)) deallocate(fresh);
        if (TRI_UNLIKELY(is_first)) watch_pools();
        return;
      }
      // Not under the lock: allocating may take long.
      fresh = static_cast<Chunk*>(allocate(sizeof(Chunk)));
      if (fresh == nullptr) break;
    }
  }
  if (drop != nullptr) drop(object, arg);
}

// Makes objects victims; the victims so far are added to *old. True if the pool still holds something.
bool Pool::age_locked(Chunk** old) {
  Stripe* const all = stripes_.load(std::memory_order_relaxed);
  bool holds = false;
  for (size_t i = 0; i < count_stripes(); ++i) {
    Stripe& s = all[i];
    SpinGuard guard(s.lock);
    for (Chunk** list : {&s.victims, &s.spare}) {
      while (Chunk* const chunk = *list) {
        *list = chunk->next;
        chunk->pool = this;
        chunk->drop = drop;
        chunk->arg = arg;
        if (list == &s.spare) chunk->used = 0;
        chunk->next = *old;
        *old = chunk;
      }
    }
    s.victims = s.objects;
    s.objects = nullptr;
    s.has_victims.store(s.victims != nullptr, std::memory_order_relaxed);
    s.has_objects.store(false, std::memory_order_relaxed);
    holds = holds || s.victims != nullptr;
  }
  return holds;
}

void Pool::age() {
  if (stripes_.load(std::memory_order_acquire) == nullptr) return;
  Drops drops;
  registry_lock.lock();
  if (stripes_.load(std::memory_order_relaxed) != nullptr) age_locked(&drops.chunks);
  drops.run();
}

namespace {

// Somebody other than g is in drop() of an object of the pool.
bool others_drop(const Pool* pool, const G* g) {
  bool found = false;
  droppers.each([&](const Pool::Drops* d) { found = found || (d->pool == pool && d->who != g); });
  return found;
}

// With the registry's lock held; without it on return. A function of its own: see leave_queue().
[[gnu::noinline]] void wait_for_drop(G* g) {
  Uncancelled scope(g);
  Waiter w(g, begin_wait(g));
  purgers.push_back(&w);
  (void)park(WaitReason::kCondition, &registry_lock, kForever);
}

}  // namespace

void Pool::purge() {
  G* const g = current();
  if (g == nullptr) fatal("no memory to wait for pool", this);
  registry_lock.lock();
  Stripe* const all = stripes_.load(std::memory_order_relaxed);
  Chunk* chunks = nullptr;
  if (all != nullptr) {
    // Twice: the objects become victims, and go.
    while (age_locked(&chunks)) {
    }
    registry.remove(this);
    stripes_.store(nullptr, std::memory_order_relaxed);
  }
  droppers.each([&](Drops* d) {
    for (Chunk* taken = d->take_those_of(this); taken != nullptr;) {
      Chunk* const following = taken->next;
      taken->next = chunks;
      chunks = taken;
      taken = following;
    }
  });
  registry_lock.unlock();
  while (Chunk* const chunk = chunks) {
    chunks = chunk->next;
    drop_chunk(chunk);
  }
  registry_lock.lock();
  while (others_drop(this, g)) {
    wait_for_drop(g);
    registry_lock.lock();
  }
  registry_lock.unlock();
  deallocate(all);
}

bool Pool::age_all() {
  Drops drops;
  bool holds = false;
  registry_lock.lock();
  const uintptr_t number = ++ages;
  for (uint32_t n = 1;; ++n) {
    // Those of this age, or of one that somebody else has begun since, stand at the end.
    Pool* const pool = registry.front();
    if (pool == nullptr || pool->aged_ >= number) break;
    registry.remove(pool);
    registry.push_back(pool);
    pool->aged_ = number;
    holds = pool->age_locked(&drops.chunks) || holds;
    if (n % kBatch != 0) continue;
    registry_lock.unlock();
    registry_lock.lock();
  }
  drops.run();
  return holds;
}

template <class Fn>
void Pool::each_stripe_locked(Fn&& fn) {
  registry.each([&](Pool* pool) {
    Stripe* const all = pool->stripes_.load(std::memory_order_relaxed);
    for (size_t i = 0; i < count_stripes(); ++i) fn(all[i]);
  });
}

bool Pool::any_holds() {
  SpinGuard guard(registry_lock);
  bool found = false;
  each_stripe_locked([&](Stripe& s) {
    SpinGuard stripe_guard(s.lock);
    found = found || s.objects != nullptr || s.victims != nullptr;
  });
  return found;
}

// ---- fork -------------------------------------------------------------------------------------------------------

void Pool::lock_before_fork() {
  registry_lock.lock();
  each_stripe_locked([](Stripe& s) { s.lock.lock(); });
}

void Pool::unlock_after_fork() {
  each_stripe_locked([](Stripe& s) { s.lock.unlock(); });
  registry_lock.unlock();
}

void Pool::reset_after_fork() {
  each_stripe_locked([](Stripe& s) { s.lock.reset_after_fork(); });
  registry_lock.reset_after_fork();
  // What other threads were about to drop is lost with them; a drop() that forks goes on.
  List<Drops> mine;
  while (Drops* const d = droppers.pop_front()) {
    if (d->who == current_g()) mine.push_back(d);
  }
  droppers = mine;
  ::new (&purgers) WaitQueue;
}

}  // namespace tri::sched
