/* sync.h - Locks and what else waits: mutex, rwlock, condition, waitgroup, once, semaphore, pool, concurrent map.
 *
 * Plain structs that stand inside yours: zeros are a good start (unlocked, empty), none needs a destroy unless it says so, and
 * none may be moved or copied while in use. They work between goroutines, between plain threads, and across; a lock need not be given
 * back by the thread or goroutine that took it. No function touches errno.
 *
 * A call named ..._until, or with a deadline (tri/time.h), may return before it got what it waits for: by the deadline, or because the
 * caller's context (tri/context.h) is cancelled. The others wait for ever, and are not cancelled.
 *
 * Errors of those that may wait: -EAGAIN: would wait, and the deadline is 0; -ETIMEDOUT; -ECANCELED; -ENOMEM: no memory to wait (only a
 * plain thread's first wait needs any).
 *
 * Memory of a lock, semaphore or waitgroup may be freed by whoever finds out by means of it that nobody else will use it. */
#ifndef TRI_SYNC_H
#define TRI_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tri/time.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TRI_MUST_CHECK __attribute__((warn_unused_result))
#else
#define TRI_MUST_CHECK
#endif

/* ---- mutex --------------------------------------------------------------------------------------------------------- */

/** As Go's sync.Mutex: who runs mostly gets it first; a waiter that has lost for 1 ms gets it next. */
struct tri_mutex {
  uint32_t state_;
  uint32_t guard_;
  void *waiters_;
};
typedef struct tri_mutex tri_mutex;

/** Locks. Waits for ever; not for recursion. */
void tri_mutex_lock(tri_mutex *m);
/** Locks before the deadline; 0 makes it a try. @return 0: locked; the errors above. */
TRI_MUST_CHECK int tri_mutex_lock_until(tri_mutex *m, tri_time deadline);
/** Unlocks. Fatal if it is not locked. Does not block. */
void tri_mutex_unlock(tri_mutex *m);

/* ---- rwlock -------------------------------------------------------------------------------------------------------- */

/** Any number of readers, or one writer. A waiting writer stops new readers; the readers that wait when a writer leaves come first. */
struct tri_rwlock {
  uint32_t state_;
  uint32_t guard_;
  void *readers_;
  void *writers_;
};
typedef struct tri_rwlock tri_rwlock;

/** Lock for reading or writing. Wait for ever. Reading again while one reads may deadlock with a writer that waits. */
void tri_rwlock_read_lock(tri_rwlock *l);
void tri_rwlock_write_lock(tri_rwlock *l);
/** The same before a deadline; 0 makes it a try. @return 0: locked; the errors above; -EOVERFLOW: 2^30 readers. */
TRI_MUST_CHECK int tri_rwlock_read_lock_until(tri_rwlock *l, tri_time deadline);
TRI_MUST_CHECK int tri_rwlock_write_lock_until(tri_rwlock *l, tri_time deadline);
/** Unlock. Fatal if there is no reader (writer). Do not block. */
void tri_rwlock_read_unlock(tri_rwlock *l);
void tri_rwlock_write_unlock(tri_rwlock *l);

/* ---- condition ------------------------------------------------------------------------------------------------------- */

/** As Go's sync.Cond. Waiters are woken in the order in which they began to wait, and never without a call. */
struct tri_cond {
  uint32_t guard_;
  uint32_t zero_;
  void *waiters_;
};
typedef struct tri_cond tri_cond;

/** With the mutex locked: unlocks it, waits to be woken, and locks it again, which it is in any case when this returns.
 *  Fatal if the mutex is not locked. @return 0: woken; the errors above. */
int tri_cond_wait(tri_cond *c, tri_mutex *m, tri_time deadline);
/** Wake the one who waits longest, or all; best with the mutex locked, but not necessarily. Do not block. */
void tri_cond_signal(tri_cond *c);
void tri_cond_broadcast(tri_cond *c);

/* ---- waitgroup ----------------------------------------------------------------------------------------------------- */

/** As Go's sync.WaitGroup: counts tasks, and waits until there are none. */
struct tri_wg {
  int32_t state_;
  uint32_t guard_;
  void *waiters_;
};
typedef struct tri_wg tri_wg;

/** Adds n, which may be negative. Fatal if the count gets below zero, or above 2^30. Does not block. */
void tri_wg_add(tri_wg *w, int n);
/** tri_wg_add(w, -1). */
void tri_wg_done(tri_wg *w);
/** Waits until the count is zero. What was done before the done()s happens before this returns. @return 0; the errors above. */
TRI_MUST_CHECK int tri_wg_wait(tri_wg *w, tri_time deadline);

/* ---- once ---------------------------------------------------------------------------------------------------------- */

/** As Go's sync.Once. */
struct tri_once {
  uint32_t state_;
  uint32_t guard_;
  void *waiters_;
};
typedef struct tri_once tri_once;

/** Calls fn(arg), if nobody has yet; waits for ever until it has returned. For fn to call this again is a deadlock. */
void tri_once_do(tri_once *o, void (*fn)(void *arg), void *arg);
/** The same; waits for another's call at most until the deadline. @return 0: it has been called and has returned; the errors above. */
TRI_MUST_CHECK int tri_once_do_until(tri_once *o, void (*fn)(void *arg), void *arg, tri_time deadline);

/* ---- semaphore ------------------------------------------------------------------------------------------------------- */

/** Permits, taken and given in any number, first in first out. Zero has none; TRI_SEM_INIT(n) has n, at most 2^31 - 1. */
struct tri_sem {
  uint32_t state_;
  uint32_t guard_;
  void *waiters_;
};
typedef struct tri_sem tri_sem;
#define TRI_SEM_INIT(permits) { (uint32_t)(permits) << 1, 0, NULL }

/** Takes n permits at once. @return 0; the errors above. */
TRI_MUST_CHECK int tri_sem_acquire(tri_sem *s, uint32_t n, tri_time deadline);
/** Gives n permits. Fatal if there were more than 2^31 - 1. Does not block. */
void tri_sem_release(tri_sem *s, uint32_t n);

/* ---- pool ---------------------------------------------------------------------------------------------------------- */

/** As Go's sync.Pool: objects kept for reuse, near the processor that used them. All three members may be NULL.
 *  Each second the pools age: what nobody has asked for since the last age but one is dropped. drop() is then called by a goroutine of the
 *  library, or, as long as the program has no goroutines, by a thread of its own, which ends when the pools are empty. */
struct tri_pool {
  void *(*make)(void *arg);               /**< a new object, when there is none */
  void (*drop)(void *object, void *arg);  /**< the end of an object that nobody has asked for */
  void *arg;
  void *private_[4];
};
typedef struct tri_pool tri_pool;

/** An object that was put, or what make() gives; NULL without either. The caller owns it. Does not block, but for make(). */
void *tri_pool_get(tri_pool *p);
/** Keeps an object for others; NULL is ignored. May call drop(), when there is no memory. Does not block. */
void tri_pool_put(tri_pool *p, void *object);
/** Objects that have not been asked for since the last call but one are dropped. For all pools of the process with p == NULL. Takes locks. */
void tri_pool_age(tri_pool *p);
/** Drops all objects. To be called before the struct's memory ends, when nobody else uses it; also from drop(). Waits until a drop()
 *  of the library's that is at work on this pool has returned. */
void tri_pool_purge(tri_pool *p);

/* ---- concurrent map ------------------------------------------------------------------------------------------------ */

/** As Go's sync.Map: from keys, which are copied, to pointers. Made for many lookups (which take no lock) of keys that change seldom.
 *  Zero has strings as keys; TRI_CMAP_INIT(sizeof key) has keys of that size, compared byte by byte, so without padding.
 *  The map does not own what the pointers point to. */
struct tri_cmap {
  uint32_t key_size;
  uint32_t private_[3];
  void *more_[10];
};
typedef struct tri_cmap tri_cmap;
#define TRI_CMAP_INIT(key_size) { (uint32_t)(key_size), {0, 0, 0}, {NULL} }

/** The value; NULL if there is none. May wait for a lock, briefly; so do all of these. */
void *tri_cmap_load(tri_cmap *m, const void *key);
/** Stores the value; NULL deletes. @return 0; -ENOMEM. */
int tri_cmap_store(tri_cmap *m, const void *key, void *value);
/** The same; *before is the value that was there, or NULL. @return 0; -ENOMEM. */
int tri_cmap_swap(tri_cmap *m, const void *key, void *value, void **before);
/** Stores the value (not NULL) if there is none; *actual is what is there then.
 *  @return 1: there was one; 0: stored; -ENOMEM; -EINVAL: value is NULL. */
int tri_cmap_load_or_store(tri_cmap *m, const void *key, void *value, void **actual);
/** Deletes. @return the value that was there, or NULL. */
void *tri_cmap_delete(tri_cmap *m, const void *key);
/** Replaces `expected` (not NULL) by value; NULL deletes. @return true if `expected` was there. */
bool tri_cmap_compare_and_swap(tri_cmap *m, const void *key, void *expected, void *value);
/** Calls fn(key, value, arg) for each entry until it returns false. Each key comes at most once; what changes meanwhile may be seen or not.
 *  fn may use the map, and may wait. */
void tri_cmap_range(tri_cmap *m, bool (*fn)(const void *key, void *value, void *arg), void *arg);
/** Deletes everything. */
void tri_cmap_clear(tri_cmap *m);
/** Frees what the map holds; it is empty then. To be called before its memory ends, when nobody else uses it. */
void tri_cmap_free(tri_cmap *m);

#ifdef __cplusplus
}
#endif

#endif
