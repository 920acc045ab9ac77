// malloc.h - Blocks of memory: the allocator's own interface, and its fast paths.
//
// OVERVIEW
//
// The structure is Go's, bent where C's free() demands it:
//
//   allocate(n)   --fast-->  the calling thread's MCache (mcache.h): for each size class (size_class.h) a Span (span.h),
//                            from whose free list a block is popped: about twenty instructions, no lock, no atomic
//                 --slow-->  MCache::refill: carve more of the span, another span of the thread, one that an ended
//                            thread left (mcentral.h), one from the heap (mheap.h)
//   large blocks  -------->  a thread's last few (large_cache.h), else pages of the heap (page_alloc.h, arena.h);
//                            from 16 MiB on a mapping of its own, kept for a while when freed (huge_cache.h)
//   deallocate(p) --fast-->  pagemap (arena.h) -> span; ours: check and push
//                 --slow-->  another thread's: batched, posted to the span (remote_free.h); large blocks; misuse
//                            (misuse.h)
//   memory goes back to the OS by time (scavenger.h)
//
// Threads and their end: thread.h. fork: fork.cc. Signals in the middle of it all: emergency.h. What is where in memory:
// stats.h. Metadata: persistent.h, fixalloc.h. Everything that is the operating system's: os/os.h.
//
// To read it in order: size_class, span, malloc, mcache, remote_free, mcentral, arena, page_alloc, mheap, thread,
// scavenger.
//
// Nothing here sets errno or throws: null means that there is no memory.
//
// Functions are out of line but for the fast paths at the end, which are for callers of one call each, as malloc() is. In code that may
// change threads between two calls, as the scheduler's, a compiler that inlines both may keep the thread pointer, or the address of
// a thread-local variable, from the first to the second, and would then work on another thread's spans.
#ifndef TRI_ALLOC_MALLOC_H
#define TRI_ALLOC_MALLOC_H

#include <cstddef>
#include <cstdint>

#include "alloc/arena.h"
#include "alloc/mcache.h"
#include "alloc/span.h"
#include "alloc/thread.h"
#include "tri_arch.h"

namespace tri {

/// n bytes, aligned to 16; a unique block also for 0. Null when there is no memory. Any thread.
[[nodiscard]] void* allocate(size_t n);
/// The same, zeroed.
[[nodiscard]] void* allocate_zeroed(size_t n);
/// The same, aligned to a power of two.
[[nodiscard]] void* allocate_aligned(size_t n, size_t alignment);
/// Frees a block; null is allowed. Any thread.
void deallocate(void* p);
/// Frees a block that was allocated with n bytes and no alignment, and checks that it was.
void deallocate_sized(void* p, size_t n);
/// The same for a block that was allocated with an alignment.
void deallocate_aligned_sized(void* p, size_t n, size_t alignment);
/// Moves or resizes a block (not null); null, and the block untouched, when there is no memory.
[[nodiscard]] void* reallocate(void* p, size_t n);
/// Resizes a block without moving it; false if that cannot be.
[[nodiscard]] bool resize_in_place(void* p, size_t n);
/// Bytes that may be used at p, the start of a block; 0 for other pointers.
size_t usable_size(const void* p);
/// What usable_size() would say of a block allocated with n bytes; 0 if n is too large.
size_t good_size(size_t n);
/// The start of the block that p points into, or null. The block may be free.
void* block_start(const void* p);

/// Gives the span of a large block that was freed back: to the thread's cache (null: it has none), or to the heap. In a slow path.
void free_large(Span* s, MCache* mcache);

/// What becomes of a pointer that is not ours (misuse.h): the next allocator's functions, set by shim; may be null.
struct NextAllocator {
  void (*free)(void*);
  void* (*realloc)(void*, size_t);
  size_t (*usable_size)(void*);
};
void set_next_allocator(NextAllocator (*find)());

// ---- fast paths -----------------------------------------------------------------------------------------------

/// What allocate() does when the span at hand has no block free, or n is above kMaxDirectSize.
[[gnu::noinline]] void* allocate_slow(size_t n);
[[gnu::cold, gnu::noinline]] void deallocate_slow(void* p);
[[gnu::cold, gnu::noinline]] void deallocate_last(Span* s);
[[gnu::cold, gnu::noinline]] void deallocate_sized_slow(void* p, size_t n);

/// The first free block of a span; null if there is none, or if its link was overwritten, which the slow path reports.
inline void* pop(Span* s) {
  const uint64_t offset = s->free;
  if (TRI_UNLIKELY(offset <= kNil)) return nullptr;  // 0: see check_first()
  char* const block = s->block_at(offset);
  const uint64_t next = s->load_link(block);
  if constexpr (kChecks) {
    if (TRI_UNLIKELY(next > kMaxOffset)) return nullptr;
  }
  s->free = next;
  // The list first, the block second, for a fork between the two: in the child a block is then lost at worst.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  // So that the word does not look like a link when the block is freed untouched.
  *reinterpret_cast<uint64_t*>(block) = 0;
  return block;
}

/// allocate(), with the slow path of the caller's choice: malloc sets errno there, operator new throws.
template <void* (*Slow)(size_t)>
[[gnu::always_inline]] inline void* allocate_or(size_t n) {
  if (TRI_UNLIKELY(n > kMaxDirectSize)) return Slow(n);
  void* const block = pop(current_mcache()->direct[direct_index(n)]);
  if (TRI_UNLIKELY(block == nullptr)) return Slow(n);
  return block;
}

inline void* allocate_inline(size_t n) { return allocate_or<allocate_slow>(n); }

/// Frees p if it is a block of the calling thread, and nothing is to be done but push it; else Slow(p, args...). `fits` tells
/// whether the caller's idea of the block's size agrees with its span.
template <auto Slow, class Fits, class... Args>
[[gnu::always_inline]] inline void deallocate_or(void* p, Fits fits, Args... args) {
  size_t index;
  if (TRI_UNLIKELY(!pagemap::is_near(p, &index))) return Slow(p, args...);
  Span* const s = pagemap::near_span(index);
  // Null, large, foreign, another thread's: none of them is ours.
  if (TRI_UNLIKELY(s->owner_tp.load(std::memory_order_relaxed) != arch::thread_pointer())) return Slow(p, args...);
  const uint64_t offset = s->offset_of(p);
  if constexpr (kChecks) {
    if (TRI_UNLIKELY(!fits(s))) return Slow(p, args...);
    if (TRI_UNLIKELY(offset * s->reciprocal >= s->reciprocal_bound)) return Slow(p, args...);
    if (TRI_UNLIKELY(Span::may_be_link(s->load_link(p)))) return Slow(p, args...);
  }
  s->store_link(p, s->free);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // as in pop()
  s->free = offset;
  if (TRI_UNLIKELY(--s->countdown == 0)) return deallocate_last(s);
}

inline void deallocate_inline(void* p) {
  deallocate_or<deallocate_slow>(p, [](const Span*) { return true; });
}

inline void deallocate_sized_inline(void* p, size_t n) {
  deallocate_or<deallocate_sized_slow>(
      p, [n](const Span* s) { return n - s->least <= static_cast<size_t>(s->size - s->least); }, n);
}

}  // namespace tri

#endif
