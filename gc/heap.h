// heap.h - Memory that is collected: blocks that nobody frees, and how sweeping gives them to the next.
//
// Spans and classes are malloc's, but in spans of their own, one current for each thread, class and kind (those that may hold pointers,
// and those that hold none). Which blocks of a span are free stands in bits beside it (alloc/collected.h), after Go's heap: sweeping a
// span is to replace them by the marks, no list is threaded through free memory, and neither touches the blocks.
//
//   fast    blocks of a *run*, neighbours that are free, are handed out by moving a pointer: eight instructions and no branch but one
//   next    the next run of the span: found by two scans of its bits, and zeroed, 2 KiB of it at a time, while it comes into the cache
//   refill  a span of the class that has been swept and has room; one that is not swept yet; a new one of the heap
//
// Go takes block by block out of a word of 64 bits; a run costs less where there are neighbours, which is most of a heap that dies young, and the
// same where there are none.
//
// Lists of each kind, under one lock:
//
//   current of a thread  <--refill--  partial (room), unswept
//          |                              ^
//          +--no room-->  full            | sweep: in_use &= marks; wholly free: back to the heap
//                          |              |
//   end of a marking:  partial, full --> unswept
//
// Marks are those of the cycle that ended last, kept until all is swept. What is current when a marking ends takes them at once, as `freed` blocks.
//
// While marking, nothing becomes free: what the program frees waits in `freed` until the span is swept, and what it allocates is black:
// free blocks of a span are marked when it becomes current (on_current), or were when marking began; a span that is new is in no table, and counts
// as swept already. A thread that stands in the middle of allocating has its block in a register, or has not moved the pointer yet.
//
// Any thread, unless said otherwise. See gc.h for the overview. Uses: shadow. Used by: gc, shim.
#ifndef TRI_GC_HEAP_H
#define TRI_GC_HEAP_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/list.h"
#include "alloc/base/lock.h"
#include "alloc/collected.h"
#include "alloc/mcache.h"
#include "gc/shadow.h"

namespace tri::gc {

// Classes of blocks that may hold pointers, then those of pointer-free ones.
inline constexpr unsigned kKinds = 2 * kSizeClasses;

/// The run of a kind.
struct KindRun : CollectedRun {
  unsigned kind = 0;
};

/// What a thread allocates from. Owner thread, but for what others may look at.
struct alignas(128) Cache {
  // Of blocks that may hold pointers, and of others; by size, up to kMaxDirectSize.
  KindRun* direct[2][kDirectEntries];
  KindRun runs[kKinds];
  CollectedSpan* current[kKinds] = {};
  Cache* next_all = nullptr;  // all caches ever made; the lock of caches
  Cache* next_idle = nullptr;

  constexpr Cache() : direct() {
    for (unsigned k = 0; k < kKinds; ++k) {
      runs[k].size = class_size(k % kSizeClasses);
      runs[k].kind = k;
    }
    for (size_t i = 0; i < kDirectEntries; ++i) {
      direct[0][i] = &runs[size_class(i * kBlockAlignment)];
      direct[1][i] = direct[0][i] + kSizeClasses;
    }
  }
};
// Of threads that have none: nothing to hand out.
extern constinit Cache empty_cache;
TRI_INTERNAL extern constinit thread_local Cache* tls_cache;

class Heap {
 public:
  /// A zeroed block of n bytes; alignment is a power of two. May collect first, and waits for it where memory has run out. Null when there is none.
  [[nodiscard]] void* allocate(size_t n, size_t alignment, bool pointer_free);
  /// What alloc's hooks do about our blocks.
  void free(void* p, Span* s);
  void* reallocate(void* p, Span* s, size_t n);
  void thread_ends();

  // ---- for cycles. The first three while the world stands still, with nobody in the middle of anything: see stop_world(fork_prepare).
  /// The tables are made: from here on nothing becomes free. on_current(arg, span) marks what is free of it: see Shadow::blacken().
  void begin_marking(void (*on_current)(void* arg, const Span* s), void* arg);
  /// All that is reachable is marked. Takes the tables over, and leaves the shadow empty.
  void end_marking(Shadow& shadow);
  /// It came to nothing: all is kept.
  void abandon_marking();
  /// The same while the world runs.
  void abandon_marking_running();
  /// Sweeps what is left, some spans at a time, so that others get the locks; gives the tables back.
  void sweep_all();
  bool is_swept() const { return swept_.load(std::memory_order_acquire); }

  /// Bytes allocated, less those that were freed by hand, ever.
  uint64_t allocated_bytes() const { return allocated_.load(std::memory_order_relaxed); }
  /// Found unreachable, ever.
  uint64_t collected_blocks() const { return collected_blocks_.load(std::memory_order_relaxed); }
  uint64_t collected_bytes() const { return collected_bytes_.load(std::memory_order_relaxed); }

  /// Whether p is a block of ours, handed out and not freed.
  bool is_block(const void* p);

  // ---- for what hangs on blocks (attached.h), with the lock held
  Lock& attached_lock() { return centrals_[kCaches].lock; }
  uint32_t epoch() const { return epoch_; }
  /// The last cycle, one that goes on included, that cannot find this block unreachable because it is newer.
  uint32_t unmarked_since(const void* block) const;
  /// Whether the marking that ended last has not found it. Until all is swept.
  bool is_unmarked(const void* block) const;

  /// The hybrid barrier: while a marking goes on beside the program, what p points into is marked, and followed.
  void shade(const void* p) const {
    if (on_shade_ != nullptr && marking_) on_shade_(on_current_arg_, p);
  }
  /// What shade() does, in cycles to come, with the argument of begin_marking(). Null: nothing, as in cycles that are one stop.
  void set_shade(void (*fn)(void* arg, const void* p)) { on_shade_ = fn; }

  /// In a forked child, after alloc's: the other threads' caches are nobody's, and no marking goes on.
  void reset_after_fork();
  /// Checks the equations above for all spans on lists. For tests.
  void verify();

  // ---- what the fast path calls
  [[nodiscard]] void* allocate_kind(unsigned kind);

 private:
  struct alignas(64) Central {
    Lock lock{LockRank::kCollected};
    List<CollectedSpan> partial;
    List<CollectedSpan> full;
    List<CollectedSpan> unswept;
    CollectedSpan* records = nullptr;  // not in use, by `next`
  };
  // Large blocks are `full`; the last one's lock guards the list of caches.
  static constexpr unsigned kLarge = kKinds;
  static constexpr unsigned kCaches = kKinds + 1;
  static_assert(kCaches + 1 == CollectedHooks::kMostLocks);

  static unsigned kind_of(const Span* s) { return s->size_class + (s->pointer_free ? kSizeClasses : 0u); }

  bool install();
  Cache* attach();
  void* try_allocate(unsigned kind);
  void* allocate_large(size_t n, size_t alignment, bool pointer_free);
  static bool next_run(Cache& cache, unsigned kind);
  bool refill(Cache& cache, unsigned kind);
  // With the lock of its list held, all of these.
  CollectedSpan* take_room(Central& central, unsigned kind);
  CollectedSpan* make_span(Central& central, unsigned kind);
  CollectedSpan* make_record(Central& central, size_t words);
  void make_current(Cache& cache, unsigned kind, CollectedSpan* s);
  void retire(Cache& cache, unsigned kind);
  void put(Central& central, CollectedSpan* s);
  void release(Central& central, CollectedSpan* s);
  void sweep(CollectedSpan* s);
  bool sweep_large(Central& central, CollectedSpan* s);
  void free_small(void* p, Span* s);
  void free_large(void* p, Span* s);
  void take_freed(CollectedSpan* s);
  void note_collected(uint64_t blocks, uint64_t bytes);

  /// What a span that is made now is: in no table of the marking that goes on, or as swept as any.
  uint32_t current_cycle() const { return marking_ ? cycle_ : epoch_; }
  bool is_settled(const CollectedSpan* s) const { return s->swept == current_cycle(); }

  Central centrals_[kKinds + 2];
  Cache* all_ = nullptr;  // kCaches
  Cache* idle_ = nullptr;
  std::atomic<bool> installed_{false};
  // Change while the world stands still; read with any of the locks held.
  uint32_t cycle_ = 1;  // markings that began
  uint32_t epoch_ = 1;  // the one that ended last
  bool marking_ = false;
  void (*on_current_)(void* arg, const Span* s) = nullptr;
  void* on_current_arg_ = nullptr;
  void (*on_shade_)(void* arg, const void* p) = nullptr;
  Shadow kept_;  // the marks; constant until all is swept
  std::atomic<bool> swept_{true};
  std::atomic<uint64_t> allocated_{0};
  std::atomic<uint64_t> collected_blocks_{0};
  std::atomic<uint64_t> collected_bytes_{0};
};
extern constinit Heap collected_heap;

// ---- fast path ------------------------------------------------------------------------------------------------------

/// The next block of a run to *out; false if it is used up. The pointer first, the block second: see heap.h.
[[gnu::always_inline]] inline bool pop(CollectedRun& r, void** out) {
  char* const p = r.next.load(std::memory_order_relaxed);
  // As a number: of a run that is not there it is no pointer.
  const uintptr_t next = reinterpret_cast<uintptr_t>(p) + r.size;
  if (TRI_UNLIKELY(next > reinterpret_cast<uintptr_t>(r.end.load(std::memory_order_relaxed)))) return false;
  r.next.store(reinterpret_cast<char*>(next), std::memory_order_relaxed);
  *out = p;
  return true;
}

/// What allocate_direct() does when the run is used up. By now a handler may have given this thread a cache, so that the run is another one's.
[[gnu::noinline]] inline void* allocate_run(KindRun* r) { return collected_heap.allocate_kind(r->kind); }

/// n bytes, at most kMaxDirectSize; Slow is called last, if need be.
template <bool kPointerFree, void* (*Slow)(KindRun* r)>
[[gnu::always_inline]] inline void* allocate_direct(size_t n) {
  KindRun* const r = tls_cache->direct[kPointerFree ? 1 : 0][direct_index(n)];
  void* p;
  if (TRI_LIKELY(pop(*r, &p))) return p;
  return Slow(r);
}

/// n bytes, zeroed, aligned to 16; null when there is no memory.
[[gnu::always_inline]] inline void* allocate_collected(size_t n, bool pointer_free) {
  if (TRI_UNLIKELY(n > kMaxDirectSize)) return collected_heap.allocate(n, kBlockAlignment, pointer_free);
  return pointer_free ? allocate_direct<true, allocate_run>(n) : allocate_direct<false, allocate_run>(n);
}

}  // namespace tri::gc

#endif
