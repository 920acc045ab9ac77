// pool.cc - See pool.h.
#include "sched/pool.h"

#include <new>

#include "alloc/malloc.h"
#include "sched/m.h"
#include "sched/mutex.h"
#include "sched/spin.h"

namespace tri::sched {

// A piece of a stack of objects. Who detaches it notes how its objects are to be dropped.
struct Pool::Chunk {
  static constexpr size_t kRoom = 28;

  Chunk* next;
  void (*drop)(void*, void*);
  void* arg;
  size_t used;
  void* objects[kRoom];

  static void drop_all(Chunk* chunk);
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

constinit Mutex registry_lock;
constinit List<Pool> registry;

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

void Pool::Chunk::drop_all(Chunk* chunk) {
  while (chunk != nullptr) {
    Chunk* const following = chunk->next;
    for (size_t i = 0; chunk->drop != nullptr && i < chunk->used; ++i) chunk->drop(chunk->objects[i], chunk->arg);
    deallocate(chunk);
    chunk = following;
  }
}

Pool::Stripe* Pool::stripes() {
  // acquire: pairs with the release below.
  Stripe* s = stripes_.load(std::memory_order_acquire);
  if (TRI_LIKELY(s != nullptr)) return s;
  MutexGuard guard(registry_lock);
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
        }
      }
      if (TRI_LIKELY(chunk != nullptr)) chunk->objects[chunk->used++] = object;
      own->lock.unlock();
      if (TRI_LIKELY(chunk != nullptr)) {
        if (TRI_UNLIKELY(fresh != nullptr)) deallocate(fresh);
        return;
      }
      // Not under the lock: allocating may take long.
      fresh = static_cast<Chunk*>(allocate(sizeof(Chunk)));
      if (fresh == nullptr) break;
    }
  }
  if (drop != nullptr) drop(object, arg);
}

// Makes objects victims, and returns the victims so far.
Pool::Chunk* Pool::age_locked() {
  Chunk* old = nullptr;
  Stripe* const all = stripes_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < count_stripes(); ++i) {
    Stripe& s = all[i];
    SpinGuard guard(s.lock);
    for (Chunk** list : {&s.victims, &s.spare}) {
      while (Chunk* const chunk = *list) {
        *list = chunk->next;
        chunk->drop = drop;
        chunk->arg = arg;
        if (list == &s.spare) chunk->used = 0;
        chunk->next = old;
        old = chunk;
      }
    }
    s.victims = s.objects;
    s.objects = nullptr;
    s.has_victims.store(s.victims != nullptr, std::memory_order_relaxed);
    s.has_objects.store(false, std::memory_order_relaxed);
  }
  return old;
}

void Pool::age() {
  if (stripes_.load(std::memory_order_acquire) == nullptr) return;
  registry_lock.lock();
  Chunk* const old = stripes_.load(std::memory_order_relaxed) == nullptr ? nullptr : age_locked();
  registry_lock.unlock();
  Chunk::drop_all(old);
}

void Pool::purge() {
  registry_lock.lock();
  Stripe* const all = stripes_.load(std::memory_order_relaxed);
  Chunk* victims = nullptr;
  Chunk* objects = nullptr;
  if (all != nullptr) {
    victims = age_locked();
    objects = age_locked();
    registry.remove(this);
    stripes_.store(nullptr, std::memory_order_relaxed);
  }
  registry_lock.unlock();
  Chunk::drop_all(victims);
  Chunk::drop_all(objects);
  deallocate(all);
}

void age_pools() {
  Pool::Chunk* old = nullptr;
  registry_lock.lock();
  registry.each([&old](Pool* pool) {
    Pool::Chunk* const chunks = pool->age_locked();
    Pool::Chunk** last = &old;
    while (*last != nullptr) last = &(*last)->next;
    *last = chunks;
  });
  registry_lock.unlock();
  // drop() is the user's: it may use pools.
  Pool::Chunk::drop_all(old);
}

}  // namespace tri::sched
