/* finalize.h - Functions that get a collected block when nothing reaches it any more, and words that are cleared then.
 *
 * For runtimes that are built on these. New code is better off with tri_gc_add_cleanup() and tri_weak_new() (tri/gc.h): a block with a finalizer lives for a
 * cycle more, with all that it leads to, and the stop at the end of a cycle takes about 10 ns longer for each finalizer and each link.
 *
 * All functions may be called by any thread and any goroutine, but not by a signal handler that may have interrupted the allocator. */
#ifndef TRI_FINALIZE_H
#define TRI_FINALIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*tri_finalizer)(void *p, void *arg);

/** Which of the lost blocks come first. */
enum tri_finalizer_order {
  TRI_FINALIZE_OUTERMOST = 0,   /**< those to which no lost block leads that has an ordered finalizer; of a ring of blocks none ever does */
  TRI_FINALIZE_IGNORE_SELF = 1, /**< likewise, but a block may hold pointers to itself */
  TRI_FINALIZE_ANY = 2          /**< all of one cycle, in no order */
};

/** When nothing reaches the collected block that begins at p, fn(p, arg) is due: tri_gc_run_finalizers() calls it, and nobody else. Until then the block is kept, with
 *  all that it leads to; fn may keep it for good, and set another finalizer. A block has one at most: *old_fn and *old_arg (which may be null) are the one before; with fn == NULL
 *  there is none any more. arg is kept reachable, and so it must not lead to the block. A block that is freed by hand loses its finalizer.
 *  @return 0; -EINVAL: no collected block begins at p, or there is no such order; -ENOMEM. Takes locks. */
int tri_gc_set_finalizer(const void *p, enum tri_finalizer_order order, tri_finalizer fn, void *arg, tri_finalizer *old_fn,
                         void **old_arg);

/** Calls those that are due, on the calling thread, one after the other, also those that become due meanwhile. Several threads may do so at once, each
 *  with others.
 *  @return how many it has called. Takes locks, but not while one runs. */
size_t tri_gc_run_finalizers(void);
/** How many are due. Takes no locks. */
size_t tri_gc_finalizers_due(void);

/** *at is set to NULL in the cycle that finds the collected block at p unreachable: before any program sees it, and before it has a finalizer run; with `after_finalizers`, only when
 *  no finalizer has kept it either. `at` itself has to be in memory where it keeps nothing: a pointer-free block, or with the word's bits inverted. If it is in a collected block that
 *  is lost, the link is forgotten. A word has one link of either kind at most. The block at p must not be freed by hand before tri_gc_unlink(at).
 *  @return 0; 1: there was a link at this word, which is replaced; -EINVAL: `at` is not aligned as a pointer is, or p is null; -ENOMEM. Takes locks. */
int tri_gc_link(void **at, const void *p, bool after_finalizers);
/** @return 0; -ENOENT: there is no such link. Takes locks. */
int tri_gc_unlink(void **at, bool after_finalizers);
/** The link of the word `from` becomes one of the word `to`; neither word changes.
 *  @return 0; -ENOENT: `from` has none; -EEXIST: `to` has one already; -EINVAL; -ENOMEM. Takes locks. */
int tri_gc_move_link(void **from, void **to, bool after_finalizers);

/** Calls fn(arg) in a time in which no cycle comes to its end: to look at a word with a link whose bits are inverted, or through any other pointer that is hidden, and
 *  to have it where it is seen when fn returns. fn must be short, and neither allocate nor free nor call anything of this library.
 *  @return what fn returns. Holds a lock. */
void *tri_gc_call_excluded(void *(*fn)(void *arg), void *arg);

/** The start of the collected block in use that p points into; NULL if there is none. Of threads that allocate at this moment, blocks that they are about to hand out
 *  count as in use. Takes locks. */
void *tri_gc_base(const void *p);

/** A number that goes up when a cycle begins and when it is over: odd in between. It stays where it is, and is read by atomic loads (acquire): so it costs next
 *  to nothing to ask whether there may be finalizers to run. */
const uint32_t *tri_gc_moments(void);

/** The signal that threads are stopped by; 0 if that is not settled yet. */
int tri_gc_signal(void);

#ifdef __cplusplus
}
#endif

#endif
