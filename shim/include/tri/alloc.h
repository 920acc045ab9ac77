/* alloc.h - Memory and control.
 *
 * All functions may be called by any thread at any time, also before main() and after exit(). Only what is said to may
 * block; "takes locks" means for the time of a look at shared structures, never for I/O. None throws.
 *
 * Blocks of tri_alloc() and of malloc() are the same where malloc() is ours (tri_active()): each may be given to free(),
 * realloc() or any function here. Misuse (a double free, a pointer that is no block) ends in one line on fd 2 and
 * abort(), unless TRI=check:off. */
#ifndef TRI_ALLOC_H
#define TRI_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- identity and control ---------------------------------------------------------------------------------------- */

/** The version, "MAJOR.MINOR.PATCH". Static storage. */
const char *tri_version(void);

/** True if the program's malloc() is this library's. */
bool tri_active(void);

/** Sets an option by the name that it has in the variable TRI. Options that only matter at start take no effect later.
 *  @return 0; -ENOENT: no such option; -EINVAL: not a value that it takes. Takes locks. */
int tri_set(const char *key, const char *value);

/** Writes the value of an option as text, cut to `length` and ended by 0.
 *  @return the length of the whole text; -ENOENT: no such option. */
int tri_get(const char *key, char *buffer, size_t length);

/** Figures of the heap, in bytes unless the name says otherwise. */
struct tri_stats {
  uint64_t live_bytes;      /**< in blocks that the program holds, rounded up to their size class */
  uint64_t live_blocks;     /**< number of them */
  uint64_t large_bytes;     /**< of live_bytes: in blocks above 32 KiB */
  uint64_t used_bytes;      /**< in spans: live blocks and the free ones between them */
  uint64_t peak_bytes;      /**< the most that used_bytes was */
  uint64_t cached_bytes;    /**< in free blocks that are kept for reuse */
  uint64_t free_bytes;      /**< in free pages that the OS has not got back yet */
  uint64_t returned_bytes;  /**< ever given back to the OS */
  uint64_t metadata_bytes;  /**< the library's own records */
  uint64_t arena_bytes;     /**< address space of the heap */
  uint64_t threads;         /**< that have allocated, and live */
};

/** Fills in the first `size` bytes of *out (sizeof(struct tri_stats) as the caller knows it: later versions add fields
 *  at the end). Walks the heap: about a millisecond for each 500 MiB. What other threads hold is a close guess.
 *  @return 0; -EINVAL: out is null or size is 0. Takes locks. */
int tri_stats_get(struct tri_stats *out, size_t size);

/** Writes a report to file descriptor fd. `what`: "stats", the nine lines that TRI=stats:on prints at exit; "xml", as
 *  malloc_info(); "tasks", every goroutine, what it waits for, and its stack; "leaks" and "leaks-json", see tri/leaks.h.
 *  @return 0; -EINVAL: no such report; of leaks also the errors of tri_leaks(). Takes locks; writes to fd may block. */
int tri_report(int fd, const char *what);

/* ---- allocation ---------------------------------------------------------------------------------------------------- */

/** Flags of tri_alloc(). */
#define TRI_ZERO 0x40u                                    /**< the memory is zeroed */
#define TRI_GC 0x80u                                      /**< freed when nothing reaches it: see tri/gc.h. Always zeroed */
#define TRI_NOSCAN 0x100u                                 /**< with TRI_GC: no word of the block is a pointer, so none is followed */
#define TRI_ALIGN(a) ((unsigned)__builtin_ctzll(a))       /**< aligned to a, a power of two, 1 to 2^47 */

/** Allocates n bytes, aligned to 16 unless TRI_ALIGN says more. The caller owns the block.
 *  @return the block, unique also for n == 0; NULL and errno == ENOMEM when there is no memory. */
void *tri_alloc(size_t n, unsigned flags);

/** A block, and how much of it may be used. */
struct tri_block {
  void *ptr;
  size_t size;
};

/** As tri_alloc(), and tells how large the block really is (as C++23's allocate_at_least).
 *  @return the block; ptr is NULL, size 0 and errno ENOMEM when there is no memory. */
struct tri_block tri_alloc_at_least(size_t n, unsigned flags);

/** Resizes a block, moving it if need be; p may be NULL. With TRI_ZERO, usable bytes beyond the old usable size are zero.
 *  The old block is untouched on failure. n == 0 gives a block of no bytes (and frees nothing).
 *  @return the block; NULL and errno == ENOMEM when there is no memory. */
void *tri_realloc(void *p, size_t n, unsigned flags);

/** Resizes a block where it is, for n in its size class, or for large blocks as far as neighbouring pages are free.
 *  @return true if the block now holds n bytes; false, and nothing is changed, if it cannot. */
bool tri_expand(void *p, size_t n);

/** Frees a block; NULL is allowed. errno is kept. */
void tri_free(void *p);

/** Frees a block that was allocated with n bytes and no TRI_ALIGN, and checks that it was. */
void tri_free_sized(void *p, size_t n);

/** Frees n blocks; NULLs among them are allowed. */
void tri_free_batch(void **p, size_t n);

/** The usable size that a block of n bytes would have; 0 if none can be that large. */
size_t tri_good_size(size_t n);

/** The usable size of the block at p; 0 if p is not the start of a block of ours. */
size_t tri_size(const void *p);

/** The start of the block that p points into, free or in use; NULL if there is none. Takes locks. */
void *tri_base(const void *p);

/** True if p points into a block of this library. Takes locks. */
bool tri_owns(const void *p);

/** Gives all free memory back to the OS at once: what the calling thread keeps for reuse, and all free pages.
 *  @return the number of bytes given back. Takes locks; may take about 0.1 ms for each MiB. */
size_t tri_purge(void);

/** Calls fn(block, usable size, 0, arg) for every block in use, until fn returns other than 0. Blocks that other threads
 *  allocate or free meanwhile may or may not be visited. fn may allocate and free; the blocks it is told of are a picture
 *  of the moment when tri_walk() came to their span.
 *  @return what fn returned last; -ENOMEM: no memory for the walk. Takes locks, but not while it calls fn. */
int tri_walk(int (*fn)(void *p, size_t n, unsigned flags, void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
