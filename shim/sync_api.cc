// sync_api.cc - The functions of tri/sync.h.
#include <cerrno>

#include "sched/cmap.h"
#include "sched/cond.h"
#include "sched/context.h"
#include "sched/fatal.h"
#include "sched/mutex.h"
#include "sched/once.h"
#include "sched/pool.h"
#include "sched/rwmutex.h"
#include "sched/semaphore.h"
#include "sched/waitgroup.h"
#include "shim/export.h"
#include "shim/include/tri/sync.h"

namespace {

using namespace tri::sched;

// Each public struct is the room of one class of ours.
template <class Inner, class Outer>
Inner* in(Outer* o) {
  static_assert(sizeof(Inner) == sizeof(Outer));
  static_assert(alignof(Inner) == alignof(Outer));
  return reinterpret_cast<Inner*>(o);
}

static_assert(offsetof(tri_pool, arg) == offsetof(Pool, arg));

}  // namespace

TRI_EXPORT_BEGIN

void tri_mutex_lock(tri_mutex* m) { in<Mutex>(m)->lock(); }
int tri_mutex_lock_until(tri_mutex* m, tri_time deadline) { return in<Mutex>(m)->lock_until(deadline); }
void tri_mutex_unlock(tri_mutex* m) { in<Mutex>(m)->unlock(); }

void tri_rwlock_read_lock(tri_rwlock* l) { in<RWMutex>(l)->read_lock(); }
void tri_rwlock_write_lock(tri_rwlock* l) { in<RWMutex>(l)->write_lock(); }
int tri_rwlock_read_lock_until(tri_rwlock* l, tri_time deadline) { return in<RWMutex>(l)->read_lock_until(deadline); }
int tri_rwlock_write_lock_until(tri_rwlock* l, tri_time deadline) { return in<RWMutex>(l)->write_lock_until(deadline); }
void tri_rwlock_read_unlock(tri_rwlock* l) { in<RWMutex>(l)->read_unlock(); }
void tri_rwlock_write_unlock(tri_rwlock* l) { in<RWMutex>(l)->write_unlock(); }

int tri_cond_wait(tri_cond* c, tri_mutex* m, tri_time deadline) { return in<Cond>(c)->wait(in<Mutex>(m), deadline); }
void tri_cond_signal(tri_cond* c) { in<Cond>(c)->signal(); }
void tri_cond_broadcast(tri_cond* c) { in<Cond>(c)->broadcast(); }

void tri_wg_add(tri_wg* w, int n) { in<WaitGroup>(w)->add(n); }
void tri_wg_done(tri_wg* w) { in<WaitGroup>(w)->done(); }
int tri_wg_wait(tri_wg* w, tri_time deadline) { return in<WaitGroup>(w)->wait(deadline); }

void tri_once_do(tri_once* o, void (*fn)(void*), void* arg) {
  // First without waiting, so that fn runs under the caller's context.
  if (in<Once>(o)->run(fn, arg, kNoWait) == 0) return;
  G* const g = current();
  if (g == nullptr) fatal("no memory to wait for once", o);
  Uncancelled scope(g);
  (void)in<Once>(o)->run(fn, arg, kForever);
}
int tri_once_do_until(tri_once* o, void (*fn)(void*), void* arg, tri_time deadline) {
  return in<Once>(o)->run(fn, arg, deadline);
}

int tri_sem_acquire(tri_sem* s, uint32_t n, tri_time deadline) { return in<Semaphore>(s)->acquire(n, deadline); }
void tri_sem_release(tri_sem* s, uint32_t n) { in<Semaphore>(s)->release(n); }

void* tri_pool_get(tri_pool* p) { return in<Pool>(p)->get(); }
void tri_pool_put(tri_pool* p, void* object) { in<Pool>(p)->put(object); }
void tri_pool_age(tri_pool* p) { p != nullptr ? in<Pool>(p)->age() : (void)Pool::age_all(); }
void tri_pool_purge(tri_pool* p) { in<Pool>(p)->purge(); }

void* tri_cmap_load(tri_cmap* m, const void* key) { return in<ConcurrentMap>(m)->load(key); }
int tri_cmap_store(tri_cmap* m, const void* key, void* value) {
  void* before;
  return in<ConcurrentMap>(m)->swap(key, value, &before);
}
int tri_cmap_swap(tri_cmap* m, const void* key, void* value, void** before) {
  return in<ConcurrentMap>(m)->swap(key, value, before);
}
int tri_cmap_load_or_store(tri_cmap* m, const void* key, void* value, void** actual) {
  return value == nullptr ? -EINVAL : in<ConcurrentMap>(m)->load_or_store(key, value, actual);
}
void* tri_cmap_delete(tri_cmap* m, const void* key) { return in<ConcurrentMap>(m)->remove(key); }
bool tri_cmap_compare_and_swap(tri_cmap* m, const void* key, void* expected, void* value) {
  return expected != nullptr && in<ConcurrentMap>(m)->compare_and_swap(key, expected, value);
}
void tri_cmap_range(tri_cmap* m, bool (*fn)(const void*, void*, void*), void* arg) {
  in<ConcurrentMap>(m)->each([fn, arg](const void* key, void* value) { return fn(key, value, arg); });
}
void tri_cmap_clear(tri_cmap* m) { in<ConcurrentMap>(m)->clear(); }
void tri_cmap_free(tri_cmap* m) { in<ConcurrentMap>(m)->destroy(); }

TRI_EXPORT_END
