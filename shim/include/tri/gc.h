/* gc.h - Memory that is freed when nothing reaches it.
 *
 * tri_alloc(n, TRI_GC) gives a block of collected memory: zeroed, aligned to 16, and freed by the collector once no pointer leads to it any more, not even by
 * way of other blocks. Pointers are looked for everywhere: registers, stacks of threads and goroutines, data, thread-local storage, everything that is
 * mapped, blocks of malloc(), which count as reached when something leads to them, and collected blocks. A pointer to a block's start, into it, or with
 * tags in its low bits keeps it. One that is not stored as such (XOR, compressed, in the kernel, in another process) does not.
 *
 * The collector is there as soon as the first such block is: nothing has to be started. TRI=gc:off: nothing is collected but by tri_gc().
 * TRI=gc:N: a cycle begins when N percent more is allocated than was left by the last one (100 by default, as GOGC), and every two minutes
 * in which something is allocated. Threads are stopped for a cycle by a signal (a real-time signal that the program does not use); calls that never
 * restart (poll(), nanosleep() and others of signal(7)) then return EINTR. A thread that blocks the signal cannot be stopped, and may
 * hold anything: until it can, cycles come to nothing, and all is kept.
 *
 * Such a block may be given to free(), realloc(), malloc_usable_size() and every function of tri/alloc.h. It has to be freed by nobody.
 *
 * All functions may be called by any thread and any goroutine, but not by a signal handler that may have interrupted the allocator. */
#ifndef TRI_GC_H
#define TRI_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Collects: everything that nothing reached when this was called is free when it returns. Waits for the cycle; all threads are
 *  stopped for about a second for each 10 GiB of pointers.
 *  @return 0; -EAGAIN: collection is disabled, or a handler has interrupted the allocator; -EBUSY: a thread blocks the stop signal: all is kept;
 *  -ENOENT: there is no /proc; -EMFILE: no descriptor is free; -EACCES: the process may not be traced (prctl(PR_SET_DUMPABLE)); -ENOMEM: no memory
 *  for the tables, two percent of what is in use. */
int tri_gc(void);

/** No cycle begins between tri_gc_disable() and tri_gc_enable(); the heap grows meanwhile. They nest. A cycle that runs already goes on. */
void tri_gc_disable(void);
/** @return 0; -EINVAL: it is not disabled. */
int tri_gc_enable(void);

/** Keeps a block, as if a pointer led to it, until as many calls of tri_gc_unpin(p). For blocks of which only something hidden knows. p is the start of a
 *  collected block. Meant for few blocks: a call takes time in proportion to the number of pinned ones.
 *  @return 0; -EINVAL: it is none; -ENOMEM. Takes locks. */
int tri_gc_pin(const void *p);
/** @return 0; -EINVAL: it is not pinned. Takes locks. */
int tri_gc_unpin(const void *p);

/** Calls fn(arg) some time after the block at p was found unreachable: once, on a thread of its own, which runs all cleanups one after the other, and
 *  is started by the first call of this function. fn does not get the block, which is gone, and may do everything. arg is kept reachable, and so
 *  it must not lead to the block. A block may have several; in which order they run is not said. A block that is freed by hand loses
 *  them, and at the end of the process those that are not due do not run. In a forked child they run from its first tri_gc() or tri_gc_add_cleanup() on.
 *  As Go's runtime.AddCleanup().
 *  @return 0; -EINVAL: no collected block begins at p, or fn is null; -ENOMEM; -EAGAIN: the thread cannot be started. Takes locks. */
int tri_gc_add_cleanup(const void *p, void (*fn)(void *arg), void *arg);

/** A reference that does not keep its block. */
typedef struct tri_weak tri_weak;

/** A weak reference to the collected block that begins at p. The caller owns it: tri_weak_free().
 *  @return NULL and errno: EINVAL: no such block; ENOMEM. Takes locks. */
tri_weak *tri_weak_new(const void *p);
/** The block, which is reachable again from here on; NULL once it was found unreachable or was freed by hand: never a block that is about to be
 *  collected. Takes locks. */
void *tri_weak_get(const tri_weak *w);
/** NULL is allowed. Takes locks. */
void tri_weak_free(tri_weak *w);

/** *slot = value, with release order. For code that is written with a write barrier in mind, or was for another collector. This one needs none: pages that
 *  are written while it marks are found by the kernel and searched once more, so that a barrier (Yuasa's, Dijkstra's, or the hybrid of both, as Go's)
 *  would mark a second time what is marked by then, and spare neither the page's fault nor its search. Where the kernel cannot tell, the world stands while it
 *  marks. Any thread; never blocks. */
void tri_gc_write(void *slot, const void *value);

/** Figures of the collector; bytes and nanoseconds. */
struct tri_gc_stats {
  uint64_t cycles;            /**< that were completed */
  uint64_t failed_cycles;     /**< that kept everything: see tri_gc() */
  uint64_t live_bytes;        /**< found reachable by the last one, malloc's blocks included */
  uint64_t goal_bytes;        /**< the size that the heap grows to before the next one is done; UINT64_MAX: none is due */
  uint64_t allocated_bytes;   /**< collected memory allocated ever, less what was freed by hand */
  uint64_t collected_bytes;   /**< of it: found unreachable. What was not swept yet is not in here */
  uint64_t collected_blocks;
  uint64_t pause_ns;          /**< for which the program was stopped, ever */
  uint64_t pause_ns_max;      /**< the longest of them */
  uint64_t pause_ns_last;     /**< of the last cycle */
  uint64_t recent_bytes;      /**< of allocated_bytes: since the last cycle */
};

/** Fills in the first `size` bytes of *out (sizeof(struct tri_gc_stats) as the caller knows it: later versions add fields at the end).
 *  @return 0; -EINVAL: out is null or size is 0. Takes locks. */
int tri_gc_stats_get(struct tri_gc_stats *out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
