// g.cc - The pool of G records. See g.h.
#include "sched/g.h"

#include <new>

#include "alloc/persistent.h"

namespace tri::sched {
namespace {

constinit SpinLock pool_lock;
constinit G* pool = nullptr;
constinit uint32_t slots = 0;

}  // namespace

G* take_g() {
  SpinGuard guard(pool_lock);
  G* g = pool;
  if (g != nullptr) {
    pool = g->next;
    g->next = nullptr;
    return g;
  }
  void* const memory = persistent::alloc(sizeof(G), alignof(G));
  if (memory == nullptr) return nullptr;
  g = ::new (memory) G;
  g->slot = slots++;
  return g;
}

void put_g(G* g) {
  SpinGuard guard(pool_lock);
  g->next = pool;
  pool = g;
}

}  // namespace tri::sched
