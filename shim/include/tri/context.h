/* context.h - Contexts (stop when told, or by then) and scopes (start several tasks, wait for all).
 *
 * A context is attached to a goroutine or thread; its waits then end with -ECANCELED when the context is cancelled, and with -ETIMEDOUT
 * when its deadline passes. Waits whose calls cannot fail (tri_mutex_lock() and the like) are not touched. All functions may
 * be called by goroutines and plain threads; none touches errno. */
#ifndef TRI_CONTEXT_H
#define TRI_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tri/sync.h"
#include "tri/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tri_ctx tri_ctx;

/** A context below `parent` (NULL: none): over when the parent is, when the deadline passes (TRI_FOREVER: never), or
 *  when it is cancelled. Keeps its parent alive. One reference is the caller's; give it back by tri_ctx_unref().
 *  @return the context; NULL when there is no memory. May wait for a lock of the tree, briefly. */
tri_ctx *tri_ctx_new(tri_ctx *parent, tri_time deadline);
/** The same with a value, found by the address `key` in it and in all contexts below it. The value is not owned. */
tri_ctx *tri_ctx_with_value(tri_ctx *parent, const void *key, void *value);
/** Takes one more reference, and returns the context; NULL is allowed. */
tri_ctx *tri_ctx_ref(tri_ctx *c);
/** Gives a reference back; the last frees it. Does not cancel it. NULL is allowed. May wait for a lock of the tree, briefly. */
void tri_ctx_unref(tri_ctx *c);

/** Cancels the context and all below it, and wakes who waits under them. Again has no effect. Takes as long as there are contexts below. */
void tri_ctx_cancel(tri_ctx *c);
/** 0: it goes on; -ECANCELED; -ETIMEDOUT: its deadline has passed. 0 for NULL. Does not block. */
int tri_ctx_err(const tri_ctx *c);
/** The earliest deadline of it and those above it; TRI_FOREVER for none and for NULL. Does not block. */
tri_time tri_ctx_deadline(const tri_ctx *c);
/** The value of the nearest context upwards that has this key; NULL if none has. Does not block. */
void *tri_ctx_value(const tri_ctx *c, const void *key);
/** Waits until the context is over. @return 0; -EAGAIN for deadline 0; -ETIMEDOUT; -ECANCELED: by the caller's own; -ENOMEM. */
int tri_ctx_wait(tri_ctx *c, tri_time deadline);

/** Attaches a context (NULL: none) to the calling goroutine or thread, which keeps no reference: the caller does, until it attaches
 *  another one. @return the one before. */
tri_ctx *tri_ctx_attach(tri_ctx *c);
/** The attached context, or NULL. */
tri_ctx *tri_ctx_current(void);

/* ---- scopes -------------------------------------------------------------------------------------------------------- */

/** As Go's errgroup. Zero is a scope without context and limit. Every scope that has started a task must be waited for. */
struct tri_scope {
  tri_wg tasks_;
  tri_sem places_;
  tri_ctx *ctx_;
  int32_t error_;
  bool limited_;
};
typedef struct tri_scope tri_scope;

/** Before the first task: gives the scope a context of its own below `parent` (may be NULL) until `deadline`, and lets at most `limit`
 *  tasks run at once (0: any number). @return 0; -ENOMEM. */
TRI_MUST_CHECK int tri_scope_open(tri_scope *s, tri_ctx *parent, tri_time deadline, uint32_t limit);
/** Starts fn(arg) as a goroutine, with the scope's context attached. What it returns other than 0 is an error: the first is kept,
 *  and cancels the context. With a limit it waits for a place, until the deadline.
 *  @return 0; -ENOMEM; with a limit also -EAGAIN, -ETIMEDOUT, -ECANCELED. */
TRI_MUST_CHECK int tri_scope_go(tri_scope *s, int (*fn)(void *arg), void *arg, tri_time deadline);
/** Cancels the scope's context. Not after tri_scope_wait(). */
void tri_scope_cancel(tri_scope *s);
/** The scope's context; NULL if it has none. */
tri_ctx *tri_scope_ctx(tri_scope *s);
/** Waits until all tasks have ended; not cancelled by the caller's context, since tasks may use the caller's memory. The scope may
 *  then be used again, without context. By one caller. @return 0; -EAGAIN for deadline 0; -ETIMEDOUT; -ENOMEM. */
TRI_MUST_CHECK int tri_scope_wait(tri_scope *s, tri_time deadline);
/** What the first task that failed returned; 0 if none did. Does not block. */
int tri_scope_error(const tri_scope *s);

#ifdef __cplusplus
}
#endif

#endif
