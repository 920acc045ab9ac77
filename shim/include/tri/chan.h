/* chan.h - Channels, and select over channels, descriptors, moments and contexts.
 *
 * With the semantics of Go. All functions may be called by goroutines and by plain threads, and work between both. None touches
 * errno. A call that may wait takes a deadline (tri/time.h): 0 makes it a try, TRI_FOREVER waits for ever. While it waits it may be
 * cancelled by the context of the caller (tri/context.h).
 *
 * What happens before what, as in Go's memory model: a send before the receive of its value returns; tri_chan_close() before a receive
 * that tells of it; for a channel of capacity 0, a receive before its send returns; for capacity C, the k-th
 * receive before the (k + C)-th send returns. */
#ifndef TRI_CHAN_H
#define TRI_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tri/time.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tri_chan tri_chan;
struct tri_ctx;

/** Makes a channel for values of elem_size bytes (0: it only signals), of which it holds up to `capacity`; with 0 a send waits for its
 *  receiver. One reference is the caller's; give it back by tri_chan_unref(). Does not block.
 *  @return the channel; NULL when there is no memory for it (or elem_size is 4 GiB or more). */
tri_chan *tri_chan_new(size_t elem_size, size_t capacity);

/** Takes one more reference, and returns the channel; NULL is allowed. Does not block. */
tri_chan *tri_chan_ref(tri_chan *c);

/** Gives a reference back. The last frees the channel and the values in it; fatal if somebody still waits on it. NULL is allowed. */
void tri_chan_unref(tri_chan *c);

/** Sends the value at `value` (ignored for elem_size 0), which is copied before the call returns. Waits while the channel is
 *  full, or nobody receives; a NULL channel waits until the deadline. Senders are served in the order in which they came.
 *  @return 0: sent; -EPIPE: the channel is closed; -EAGAIN: would wait, and the deadline is 0; -ETIMEDOUT; -ECANCELED; -ENOMEM. */
int tri_chan_send(tri_chan *c, const void *value, tri_time deadline);

/** Receives a value to `out`, which may be NULL: the value is dropped. Waits while the channel is empty; a NULL channel until the deadline.
 *  @return 0: received; -EPIPE: the channel is closed and empty, and *out is zeroed; -EAGAIN: would wait, and the deadline is 0;
 *  -ETIMEDOUT; -ECANCELED; -ENOMEM. */
int tri_chan_recv(tri_chan *c, void *out, tri_time deadline);

/** Closes the channel: what is in it may still be received, then receives, and sends from now on, return -EPIPE. Wakes all who wait.
 *  Fatal for NULL and for a channel that is closed already. Does not block. */
void tri_chan_close(tri_chan *c);

/** How many values are in the channel now, and how many can be; 0 for NULL. Do not block. */
size_t tri_chan_len(const tri_chan *c);
size_t tri_chan_cap(const tri_chan *c);

/* ---- select ------------------------------------------------------------------------------------------------------ */

enum tri_case_kind {
  TRI_CASE_NONE,  /**< never ready */
  TRI_CASE_SEND,
  TRI_CASE_RECV,
  TRI_CASE_READABLE,
  TRI_CASE_WRITABLE,
  TRI_CASE_AFTER,
  TRI_CASE_DONE
};

/** One thing to wait for. Filled in by the macros below. */
struct tri_case {
  uint32_t kind;
  int32_t fd;
  void *object;
  void *data;
  tri_time when;
  bool closed; /**< set by tri_select() in the case that it returns: ready because the channel is closed */
};

/* How the macros below make a case: in C an initializer. In C++ a value: g++ makes an array of such initializers by clearing all of it
 * with a string instruction first, which takes longer than all the rest of a select that need not wait. */
#ifdef __cplusplus
constexpr tri_case tri_make_case(uint32_t kind, int32_t fd, void *object, void *data, tri_time when) {
  return {kind, fd, object, data, when, false};
}
#define TRI_CASE(kind, fd, object, data, when) tri_make_case(kind, fd, object, data, when)
#else
#define TRI_CASE(kind, fd, object, data, when) { kind, fd, object, data, when, false }
#endif

/** A NULL channel or context, or a negative descriptor, is never ready: so a case is switched off. */
#define TRI_SEND(chan, value) TRI_CASE(TRI_CASE_SEND, 0, (chan), (void *)(value), 0)
#define TRI_RECV(chan, out) TRI_CASE(TRI_CASE_RECV, 0, (chan), (out), 0)
#define TRI_READABLE(fd) TRI_CASE(TRI_CASE_READABLE, (fd), NULL, NULL, 0)
#define TRI_WRITABLE(fd) TRI_CASE(TRI_CASE_WRITABLE, (fd), NULL, NULL, 0)
/** Ready at a moment, not after a span: TRI_AFTER(tri_after(TRI_MS(5))). */
#define TRI_AFTER(when) TRI_CASE(TRI_CASE_AFTER, 0, NULL, NULL, (when))
/** Ready once the context is cancelled, or its deadline has passed. */
#define TRI_DONE(ctx) TRI_CASE(TRI_CASE_DONE, 0, (ctx), NULL, 0)

/** Waits until one of the cases is ready, and does it; of several, one by chance, each as likely. With deadline 0 it does not wait:
 *  -EAGAIN is Go's default branch. n == 0 waits until the deadline. A sent or received value is as with tri_chan_send() and
 *  tri_chan_recv(); a descriptor is readable also at its end or in error, and another reader may be faster. The cases may be used again.
 *
 *  @return the index of the case that was done; its `closed` tells of a closed channel (nothing was sent; *out is zeroed).
 *  -EAGAIN: none is ready, and the deadline is 0; -ETIMEDOUT; -ECANCELED; -ENOMEM; -EINVAL: no such kind, or 2^30 cases; -EBADF: a
 *  descriptor is not open, or was closed meanwhile. */
int tri_select(struct tri_case *cases, size_t n, tri_time deadline);

#ifdef __cplusplus
}
#endif

#endif
