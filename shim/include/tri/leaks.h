/* leaks.h - Blocks that nothing reaches any more, and goroutines that nothing can wake.
 *
 * All threads are stopped by a signal (a real-time signal that the program does not use) while registers, stacks, data, thread-local storage and
 * everything else that is mapped are searched for pointers: to a block's start, into it, or with tags in the low bits. A block that
 * none leads to, not even by way of other blocks, is lost. Nothing is changed. The search is conservative: what still
 * stands in a register or in a dead variable hides a leak; what is hidden from it (XOR, compressed, in other processes, in
 * the kernel) is reported as one.
 *
 * To the threads it is a signal like any other: what is interrupted goes on by itself, but for calls that never do (poll(), nanosleep() and others of
 * signal(7)), which return EINTR.
 *
 * Functions return a negative errno on failure, and may be called by any thread and any goroutine, but not by a signal handler that may have
 * interrupted the allocator: -EAGAIN then. */
#ifndef TRI_LEAKS_H
#define TRI_LEAKS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A block that no other lost block leads to. */
struct tri_leak {
  const void *block;      /**< its start; it is the program's, lost as it is */
  size_t bytes;           /**< its usable size */
  size_t indirect_blocks; /**< lost blocks that only it leads to, by itself or by others; those that several lead to count for one of them */
  size_t indirect_bytes;  /**< their usable size */
};

/** Looks for leaks and calls fn(leak, arg) for each, by address, until it returns other than 0. The threads go on before the first call;
 *  *leak is valid during the call. fn may allocate, and may free the block. Stops all other threads for about a second for each
 *  GiB that is in use.
 *  @return what fn returned last, 0 if there is none; -EAGAIN: see above; -ENOENT: there is no /proc; -EMFILE: no descriptor is free
 *  (three are needed for a moment); -EACCES: the process may not be traced (prctl(PR_SET_DUMPABLE)); -ENOMEM: no memory for the tables, about
 *  two percent of what is in use; -EINVAL: fn is null. Takes locks; fn is called without. */
int tri_leaks(int (*fn)(const struct tri_leak *leak, void *arg), void *arg);

/** Looks for goroutines that nothing can wake, and calls fn(task, arg) for each, until it returns other than 0: those that wait without a
 *  deadline for a channel, a lock, a context or another goroutine that nothing reaches but they themselves and others like them. They
 *  will wait for ever; what they hold is no leak for tri_leaks(). Those that wait for time or for a descriptor never are.
 *  Stops all other threads as tri_leaks() does. A register or a dead variable that still knows what one waits for hides it.
 *  The idea is that of Go's goroutine leak profile (runtime/pprof, Go 1.26).
 *  @return as tri_leaks(). Takes locks; fn is called without. */
int tri_leaked_tasks(int (*fn)(uint64_t task, void *arg), void *arg);

/** Writes to fd why the block that p points into is still there: the shortest chain of references from a root (a register or the stack of a thread
 *  or goroutine, thread-local storage, the data of a file, a mapping, a registered range) by way of blocks to this one, a line each. What stands in
 *  the caller's own variables counts only if nothing else leads there. Stops all other threads as tri_leaks() does, and needs up to 24 bytes
 *  for each block in use meanwhile.
 *  @return how many blocks the chain has, p's included; 0: nothing reaches it; -EINVAL: p points into no block that is in use; else as
 *  tri_leaks(). Takes locks. */
int tri_why(int fd, const void *p);

/** Names memory in which pointers stand that would not be found else: n bytes from p that stay readable until tri_roots_remove(p). Memory that is
 *  mapped and written to by the process itself needs no name.
 *  @return 0; -EINVAL: no range; -ENOMEM. Does not block. */
int tri_roots_add(const void *p, size_t n);

/** Takes back one tri_roots_add(p, ...).
 *  @return 0; -EINVAL: there is none. Does not block. */
int tri_roots_remove(const void *p);

#ifdef __cplusplus
}
#endif

#endif
