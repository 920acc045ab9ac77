// mheap.h - The heap: pages for spans, arenas from the OS, and what goes back to it.
//
// One lock, kHeap, guards arenas, page allocation, span records and the list of huge blocks. It is taken for spans and
// large blocks, never for small blocks. System calls that take long (giving memory back) are made without it.
//
//   pages of arenas = in use by spans + in page caches + free (dirty or scavenged) + not ours
//
// Uses: arena, page_alloc, fixalloc, os. Used by: mcache, mcentral, malloc, scavenger, stats.
#ifndef TRI_ALLOC_MHEAP_H
#define TRI_ALLOC_MHEAP_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/list.h"
#include "alloc/base/lock.h"
#include "alloc/counters.h"
#include "alloc/fixalloc.h"
#include "alloc/huge_cache.h"
#include "alloc/page_alloc.h"
#include "alloc/page_cache.h"
#include "alloc/span.h"

namespace tri {

// From here on a block has a mapping of its own: it is given back the moment it is freed, and grows by mremap. With 8 MiB,
// programs that replace blocks of 5 to 25 MiB (bench/workloads/huge) take half as long again, in half of the memory.
inline constexpr size_t kMinHugeSize = 16 * 1024 * 1024;

static_assert(kMinHugeSize / kPageSize <= kArenaPages);

enum class HugePages : uint8_t { kAuto, kAlways, kNever };

/// Told what becomes of spans while somebody reads the heap beside the program. Called with kHeap held.
struct HeapObserver {
  /// [start, start + bytes) holds no block any more. Before it can hold another.
  void (*gone)(void* arg, const char* start, size_t bytes);
  /// A large block has grown where it stands.
  void (*grown)(void* arg, const Span* s);
  void* arg;
};

class MHeap {
 public:
  /// What has to be there before the first block. False when there is no memory. Any thread; idempotent.
  [[nodiscard]] bool init();

  /// A span of the class, not yet carved, owned by nobody; null when there is no memory. Any thread.
  [[nodiscard]] Span* alloc_small(unsigned size_class, PageCache& cache);
  /// A span of the class for collected blocks (collected.h), all of it in the pagemap, beside whose record `beside` stands; its pages may
  /// hold old contents if *needs_zero. Null when there is no memory. Any thread.
  [[nodiscard]] Span* alloc_collected(unsigned size_class, CollectedSpan* beside, bool* needs_zero);
  /// A span for one block; alignment is a power of two. Null when there is no memory. Any thread.
  [[nodiscard]] Span* alloc_large(size_t bytes, size_t alignment);
  /// Takes a span back, of any kind, that holds no block and that no list and no thread knows.
  void free(Span* s);
  /// Makes a small span hollow (see span.h), if all of its blocks are free and in the chain that is expected at it. False if
  /// another chain is: the owner has collected. By who frees the last block.
  [[nodiscard]] bool hollow_out(Span* s, RemoteChain expected);
  /// Takes the record of a hollow span that no list and no thread knows.
  void drop_hollow(Span* s);

  /// Makes a large or huge block `bytes` long, or longer, without moving it. False if it cannot be.
  [[nodiscard]] bool resize_in_place(Span* s, size_t bytes);
  /// Makes a huge block `bytes` long, moving it if need be by mapping its pages elsewhere: the new address; or null, without memory, or while
  /// addresses are pinned.
  [[nodiscard]] void* remap_huge(Span* s, size_t bytes);
  /// A huge block of its own mapping, whatever its size.
  [[nodiscard]] Span* alloc_huge(size_t bytes, size_t alignment);

  /// Takes a huge span as free() does, but keeps its memory for the next of its size. False if that is not to be expected, or it is too
  /// large; it is still the caller's then.
  [[nodiscard]] bool keep_huge(Span* s);
  /// Gives those back to the OS that have been kept since before `ns` (INT64_MAX: all); returns the bytes. Any thread.
  size_t release_huge(int64_t ns);
  /// What is kept; a hint.
  size_t kept_huge_bytes() const { return huge_cache_.bytes(); }

  /// Gives what a page cache holds back.
  void flush(PageCache& cache);

  /// Gives up to `max_pages` free pages back to the OS, from the end of the heap; returns how many. Any thread.
  size_t purge(size_t max_pages);
  /// Gives all free pages and their addresses back, when address space has run out for a block of `bytes`; not if that
  /// could not make room for it.
  void release_free_addresses(size_t bytes);
  size_t dirty_pages() const { return pages_.dirty_pages(); }
  /// The fewest dirty pages that there were since the last call: what was free all the time. Any thread.
  size_t take_lowest_dirty();

  /// The span record of the huge block that p points into, or null.
  Span* find_huge(const void* p);
  /// True if p points into memory of the heap's arenas, in use or not.
  bool owns(const void* p);
  /// True if p lay in a span that was freed lately; its block size to *size (0: large).
  bool was_freed_lately(const void* p, size_t* size);

  /// Calls fn(span) for every span in use, with the lock held: fn must not allocate or free.
  template <class Fn>
  void each_span(Fn&& fn);

  /// each_span() piece by piece, numbered from 0, so that the lock is held for a short while only. False if there is no such piece.
  template <class Fn>
  bool each_span_in(size_t piece, Fn&& fn);

  /// For a collector that reads blocks while the program runs. From pin_addresses() on, nothing that is readable, of all memory in which blocks may
  /// lie, becomes unreadable, whoever frees it: its contents are given back, its addresses later. One observer at a time; it stays the caller's.
  void pin_addresses(const HeapObserver* observer);
  void unpin_addresses();
  /// In a forked child, whose parent had pinned them. Takes no lock: the child may be in a signal handler that interrupted who holds it. What was to leave
  /// leaves with the next unpin_addresses().
  void unpin_after_fork() { observer_ = nullptr; }

  /// Calls fn(start, bytes) for all memory in which blocks may lie, and in which nothing else does: the same rules.
  template <class Fn>
  void each_range(Fn&& fn);

  void set_huge_pages(HugePages policy) { huge_pages_ = policy; }
  HugePages huge_pages() const { return huge_pages_; }

  void verify();
  Lock& lock() { return lock_; }

 private:
  template <class Fn>
  static void each_span_of(const Arena* arena, Fn&& fn);
  void tell_gone(const char* start, size_t bytes) {
    if (observer_ != nullptr) observer_->gone(observer_->arg, start, bytes);
  }
  [[nodiscard]] PageRun alloc_pages(size_t count, size_t alignment_pages);
  [[nodiscard]] bool ensure_committed(const PageRun& run);
  [[nodiscard]] bool grow(size_t pages);
  [[nodiscard]] bool add_range(char* p, size_t bytes);
  /// Fills the cache and takes a run from it, or takes one beside it.
  [[nodiscard]] PageRun refill(PageCache& cache, size_t count);
  void free_pages(const PageRun& run, size_t touched);
  void free_pages_of(const Span* s);
  void free_record(Span* s);
  void return_pages(PageCache& cache);
  void set_up(Span* s, const PageRun& run);
  void remember_freed(const Span* s);
  void free_huge(Span* s);
  [[nodiscard]] Span* take_kept_huge(size_t bytes, size_t alignment);
  void unmap_huge(Span* s);
  void count_kept(int64_t bytes);
  void note_dirty();
  uint64_t next_key();

  // Noted upside down: a collector reads this record as all of the program's data, and must not take it for a pointer to what
  // is in that place now.
  struct FreedRange {
    uintptr_t inverse_start;
    uintptr_t inverse_end;
    size_t size;
  };
  static constexpr size_t kFreedRanges = 64;  // enough for the messages of a program that errs soon after

  Lock lock_{LockRank::kHeap};
  PageAlloc pages_;
  FixAlloc<Span, &Span::next> records_;
  List<Span> huge_;
  HugeCache huge_cache_;
  std::atomic<bool> ready_{false};
  std::atomic<uint64_t> key_state_{0};
  HugePages huge_pages_ = HugePages::kAuto;
  const HeapObserver* observer_ = nullptr;  // addresses are pinned
  Span* leaving_ = nullptr;                 // huge, freed while they are
  FreedRange freed_[kFreedRanges] = {};
  size_t next_freed_ = 0;
};

extern constinit MHeap heap;

template <class Fn>
void MHeap::each_span_of(const Arena* arena, Fn&& fn) {
  for (size_t page = 0; page < kArenaPages;) {
    // What is not committed has no span, but for huge blocks; most of a small heap's only arena.
    if (!arena->committed.test(page)) {
      page = arena->committed.find(true, page, kArenaPages);
      continue;
    }
    // A span's first page may be without an entry while nothing is carved; such a span holds no block.
    Span* const s = pagemap::lookup(arena->address(page));
    // A huge block may lie where the slot has pages that are not the heap's; it has its own list.
    if (s == &null_span || s->kind == SpanKind::kHuge) {
      ++page;
      continue;
    }
    const size_t next = arena->page_of(s->start) + s->pages();
    fn(s);
    page = next > page ? next : page + 1;
  }
}

template <class Fn>
void MHeap::each_span(Fn&& fn) {
  LockGuard guard(lock_);
  for (size_t a = 0; a < pages_.arena_count(); ++a) each_span_of(pages_.arena(a), fn);
  huge_.each([&](Span* s) { fn(s); });
}

template <class Fn>
bool MHeap::each_span_in(size_t piece, Fn&& fn) {
  LockGuard guard(lock_);
  // The huge ones first: they are no arena's, and arenas are added at the end.
  if (piece == 0) {
    huge_.each([&](Span* s) { fn(s); });
    return true;
  }
  if (piece > pages_.arena_count()) return false;
  each_span_of(pages_.arena(piece - 1), fn);
  return true;
}

template <class Fn>
void MHeap::each_range(Fn&& fn) {
  LockGuard guard(lock_);
  for (size_t a = 0; a < pages_.arena_count(); ++a) {
    const Arena* const arena = pages_.arena(a);
    // What is not committed is nobody's, or of no use to anybody yet.
    for (size_t page = arena->committed.find(true, 0, kArenaPages); page < kArenaPages;) {
      const size_t end = arena->committed.find(false, page, kArenaPages);
      fn(arena->address(page), (end - page) * kPageSize);
      page = arena->committed.find(true, end, kArenaPages);
    }
  }
  huge_.each([&](const Span* s) { fn(s->start, s->bytes); });
}

}  // namespace tri

#endif
