// mheap.cc - See mheap.h.
#include "alloc/mheap.h"

#include "alloc/collected.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"

namespace tri {
namespace {

// Memory becomes usable in steps, so that a program under mlockall() or a commit limit pays for what it uses; the
// steps grow with the heap, so that their number stays small.
constexpr size_t kMinCommitPages = 512 * 1024 / kPageSize;
constexpr size_t kMaxCommitPages = 16 * 1024 * 1024 / kPageSize;

// With a limit on address space an arena takes a 64th of it: the rest of the program needs some too.
constexpr size_t kLimitShare = 64;
constexpr size_t kMinArenaBytes = 1024 * 1024;

// Purging is done in pieces, so that the pages that are being given back are out of reach only for a moment.
constexpr size_t kPurgePages = 4 * 1024 * 1024 / kPageSize;

/// The first run of pages among those of a page cache that `pages` (not 0) names.
PageRun lowest_run(const PageCache& cache, uint64_t pages) {
  const auto bit = static_cast<size_t>(std::countr_zero(pages));
  return {cache.arena, cache.first + bit, static_cast<size_t>(std::countr_one(pages >> bit))};
}

uint64_t run_mask(const PageCache& cache, const PageRun& run) {
  return (run.count == 64 ? ~uint64_t{0} : (uint64_t{1} << run.count) - 1) << (run.page - cache.first);
}

}  // namespace

constinit MHeap heap;

bool MHeap::init() {
  // acquire: pairs with the store below.
  if (ready_.load(std::memory_order_acquire)) return true;
  LockGuard guard(lock_);
  if (ready_.load(std::memory_order_relaxed)) return true;
  key_state_.store(os::random64(), std::memory_order_relaxed);
  ready_.store(true, std::memory_order_release);
  return true;
}

uint64_t MHeap::next_key() {
  // A random start and an odd step through a mixing function: no key tells another.
  return mix(key_state_.fetch_add(0x9e3779b97f4a7c15, std::memory_order_relaxed));
}

void MHeap::note_dirty() {
  counters->free_bytes.store(dirty_pages() * kPageSize + kept_huge_bytes(), std::memory_order_relaxed);
}

// ---- spans ----------------------------------------------------------------------------------------------------

void MHeap::set_up(Span* s, const PageRun& run) {
  s->start = run.address();
  s->bytes = run.count * kPageSize;
}

Span* MHeap::alloc_small(unsigned size_class, PageCache& cache) {
  const size_t count = class_span_pages(size_class);
  PageRun run;
  if (count <= PageCache::kMaxRun && cache.records != nullptr) run = cache.alloc(count);
  if (run.arena == nullptr) {
    LockGuard guard(lock_);
    run = refill(cache, count);
  }
  Span* const s = run.arena == nullptr ? nullptr : cache.take_record();
  if (s == nullptr) return nullptr;
  set_up(s, run);
  counters->add_used(s->bytes, 0);
  init_small_span(s, size_class, next_key());
  return s;
}

Span* MHeap::alloc_collected(unsigned size_class, CollectedSpan* beside, bool* needs_zero) {
  const size_t count = class_span_pages(size_class);
  Span* s;
  {
    LockGuard guard(lock_);
    s = records_.alloc();
    if (s == nullptr) return nullptr;
    const PageRun run = alloc_pages(count, 1);
    if (run.arena == nullptr) {
      records_.free(s);
      return nullptr;
    }
    set_up(s, run);
    *needs_zero = !run.arena->scavenged.all(run.page, run.count);
    counters->add_used(s->bytes, 0);
  }
  init_small_span(s, size_class, next_key());
  s->kind = SpanKind::kCollected;
  s->is_collected = true;
  s->collected = beside;
  s->carved = static_cast<uint16_t>(s->capacity());
  s->mapped_pages = static_cast<uint16_t>(count);
  beside->span = s;
  pagemap::set(s->start, count, s);
  return s;
}

PageRun MHeap::refill(PageCache& cache, size_t count) {
  if (cache.records == nullptr) {
    for (size_t n = 0; n < PageCache::kRecords; ++n) {
      Span* s = records_.alloc();
      if (s == nullptr) break;
      s->next = cache.records;
      cache.records = s;
    }
    if (cache.records == nullptr) return {};
    // The records may have been all that was missing.
    if (count <= PageCache::kMaxRun) {
      const PageRun run = cache.alloc(count);
      if (run.arena != nullptr) return run;
    }
  }
  const PageRun run = alloc_pages(count, 1);
  const size_t first = align_down(run.page, PageCache::kPages);
  if (run.arena == nullptr || run.page + run.count > first + PageCache::kPages) return run;
  // What else is free around the run comes along.
  return_pages(cache);
  cache.arena = run.arena;
  cache.first = first;
  cache.free = pages_.claim(run.arena, first);
  // Run by run: between them may lie pages that are not the heap's.
  for (uint64_t rest = cache.free; rest != 0;) {
    const PageRun part = lowest_run(cache, rest);
    if (!ensure_committed(part)) {
      return_pages(cache);
      break;
    }
    rest &= ~run_mask(cache, part);
  }
  return run;
}

Span* MHeap::alloc_large(size_t bytes, size_t alignment) {
  if (bytes >= kMinHugeSize || alignment >= kMinHugeSize) return alloc_huge(bytes, alignment);
  const size_t count = ceil_div(bytes, kPageSize);
  const size_t alignment_pages = alignment <= kPageSize ? 1 : alignment / kPageSize;
  Span* s;
  {
    LockGuard guard(lock_);
    s = records_.alloc();
    if (s == nullptr) return nullptr;
    const PageRun run = alloc_pages(count, alignment_pages);
    if (run.arena == nullptr) {
      records_.free(s);
      s = nullptr;
    } else {
      set_up(s, run);
      s->needs_zero = !run.arena->scavenged.all(run.page, run.count);
      counters->add_used(s->bytes, 0);
    }
  }
  // No arena has room and none can be added: a mapping of just this size may still fit.
  if (s == nullptr) return alloc_huge(bytes, alignment);
  s->kind = SpanKind::kLarge;
  s->site = 0;
  s->place = SpanPlace::kNowhere;
  s->origin = s->start;
  s->reciprocal = s->reciprocal_bound = 1;
  s->size = 0;
  // The block's holder knows its start; pointers into it lead to the span by pagemap::find().
  s->mapped_pages = 1;
  pagemap::set(s->start, 1, s);
  return s;
}

void MHeap::remember_freed(const Span* s) {
  freed_[next_freed_] = {~reinterpret_cast<uintptr_t>(s->start), ~reinterpret_cast<uintptr_t>(s->end()), s->size};
  next_freed_ = (next_freed_ + 1) % kFreedRanges;
}

void MHeap::free_pages_of(const Span* s) {
  Arena* const arena = pagemap::arena_of(s->start);
  pagemap::clear(s->start, s->mapped_pages);
  remember_freed(s);
  counters->add_used(0, s->bytes);
  tell_gone(s->start, s->bytes);
  const PageRun run{arena, arena->page_of(s->start), s->pages()};
  // What was not carved was not touched; but a block that starts in the last mapped page may end in the next ones.
  const size_t touched = s->kind == SpanKind::kLarge ? run.count : s->mapped_pages + kMaxSmallSize / kPageSize;
  free_pages(run, touched < run.count ? touched : run.count);
}

void MHeap::free_record(Span* s) {
  s->kind = SpanKind::kNone;
  s->place = SpanPlace::kNowhere;
  s->pointer_free = false;
  if (s->is_collected) s->notify_next = nullptr;
  s->is_collected = false;
  records_.free(s);
}

void MHeap::free(Span* s) {
  if (s->kind == SpanKind::kHuge) return free_huge(s);
  LockGuard guard(lock_);
  free_pages_of(s);
  free_record(s);
}

bool MHeap::hollow_out(Span* s, RemoteChain expected) {
  // Under the lock, which the owner takes to drop the record: until we are done, it cannot become another span's.
  LockGuard guard(lock_);
  // acquire: what others wrote into their blocks comes before the next use of the pages. release: as in post().
  if (!s->remote.compare_exchange_strong(expected, RemoteChain::hollow(), std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
    return false;
  }
  free_pages_of(s);
  return true;
}

void MHeap::drop_hollow(Span* s) {
  LockGuard guard(lock_);
  s->owner_tp.store(0, std::memory_order_relaxed);
  s->owner.store(nullptr, std::memory_order_relaxed);
  free_record(s);
}

bool MHeap::resize_in_place(Span* s, size_t bytes) {
  const size_t new_bytes = align_up(bytes, kPageSize);
  if (new_bytes == s->bytes) return true;
  if (s->kind == SpanKind::kHuge) {
    LockGuard guard(lock_);
    if (observer_ != nullptr && new_bytes < s->bytes) {
      // The end goes with the rest of it, as if it had not been asked for.
      os::purge(s->start + new_bytes, s->bytes - new_bytes);
      return true;
    }
    if (!os::resize(s->start, s->bytes, new_bytes)) return false;
    counters->huge_bytes.fetch_add(new_bytes - s->bytes, std::memory_order_relaxed);
    counters->add_used(new_bytes, s->bytes);
    s->bytes = new_bytes;
    return true;
  }
  LockGuard guard(lock_);
  Arena* const arena = pagemap::arena_of(s->start);
  const size_t page = arena->page_of(s->start);
  const size_t count = s->pages();
  const size_t new_count = new_bytes / kPageSize;
  if (new_count < count) {
    tell_gone(s->start + new_bytes, s->bytes - new_bytes);
    free_pages({arena, page + new_count, count - new_count}, count - new_count);
  } else {
    const PageRun tail{arena, page + count, new_count - count};
    if (!pages_.alloc_at(arena, tail.page, tail.count)) return false;
    if (!ensure_committed(tail)) {
      free_pages(tail, 0);
      return false;
    }
  }
  counters->add_used(new_bytes, s->bytes);
  const bool has_grown = new_bytes > s->bytes;
  s->bytes = new_bytes;
  if (has_grown && observer_ != nullptr) observer_->grown(observer_->arg, s);
  return true;
}

// ---- pages (kHeap is held) ------------------------------------------------------------------------------------

PageRun MHeap::alloc_pages(size_t count, size_t alignment_pages) {
  const size_t padded = count + alignment_pages - 1;
  if (padded > kArenaPages) return {};
  PageRun run = pages_.alloc(padded);
  if (run.arena == nullptr) {
    if (!grow(padded)) return {};
    run = pages_.alloc(padded);
    if (run.arena == nullptr) return {};
  }
  if (alignment_pages > 1) {
    const size_t before = align_up(run.page, alignment_pages) - run.page;  // arenas are aligned to 64 MiB
    const size_t after = padded - before - count;
    if (before != 0) free_pages({run.arena, run.page, before}, 0);
    if (after != 0) free_pages({run.arena, run.page + before + count, after}, 0);
    run = {run.arena, run.page + before, count};
  }
  if (!ensure_committed(run)) {
    free_pages(run, 0);
    return {};
  }
  return run;
}

void MHeap::free_pages(const PageRun& run, size_t touched) {
  if (touched != 0) run.arena->scavenged.clear(run.page, touched);
  pages_.free(run);
  note_dirty();
}

bool MHeap::ensure_committed(const PageRun& run) {
  Arena* const arena = run.arena;
  const size_t end = run.page + run.count;
  const size_t first = arena->committed.find(false, run.page, end);
  if (first == end) return true;
  size_t step = counters->committed_bytes.load(std::memory_order_relaxed) / kPageSize / 8;
  step = step < kMinCommitPages ? kMinCommitPages : step > kMaxCommitPages ? kMaxCommitPages : step;
  size_t ahead = first + step < kArenaPages ? first + step : kArenaPages;
  if (ahead < end) ahead = end;
  // Only free pages are surely ours, and behind committed ones there is nothing to do.
  ahead = arena->allocated.find(true, end, ahead);
  ahead = arena->committed.find(true, end, ahead);
  if (!os::commit(arena->address(first), (ahead - first) * kPageSize)) {
    ahead = end;
    if (!os::commit(arena->address(first), (ahead - first) * kPageSize)) return false;
  }
  const size_t fresh = ahead - first - arena->committed.count(first, ahead - first);
  counters->committed_bytes.fetch_add(fresh * kPageSize, std::memory_order_relaxed);
  arena->committed.set(first, ahead - first);
  return true;
}

bool MHeap::grow(size_t pages) {
  const size_t least = std::bit_ceil(pages * kPageSize);
  size_t bytes = kArenaBytes;
  const size_t limit = os::address_space_limit();
  if (limit / kLimitShare < bytes) {
    bytes = std::bit_floor(limit / kLimitShare | 1);
    if (bytes < kMinArenaBytes) bytes = kMinArenaBytes;
  }
  if (bytes < least) bytes = least;
  // Aligned to its size, a range never crosses a slot.
  for (; bytes >= least; bytes /= 2) {
    auto* p = static_cast<char*>(os::reserve(bytes, bytes));
    if (p == nullptr) continue;
    if (add_range(p, bytes)) return true;
    os::unmap(p, bytes);
    return false;
  }
  return false;
}

bool MHeap::add_range(char* p, size_t bytes) {
  if (!pagemap::prepare(p, bytes)) return false;
  Arena* arena = pagemap::arena_of(p);
  if (arena == nullptr) {
    void* memory = persistent::alloc(sizeof(Arena), 64);
    if (memory == nullptr) return false;
    arena = ::new (memory) Arena;
    arena->base = reinterpret_cast<char*>(align_down(reinterpret_cast<size_t>(p), kArenaBytes));
    if (!pages_.add(arena)) return false;
    pagemap::set_arena(arena);
  }
  if (huge_pages_ != HugePages::kAuto) os::advise_huge(p, bytes, huge_pages_ == HugePages::kAlways ? 1 : -1);
  const PageRun run{arena, arena->page_of(p), bytes / kPageSize};
  arena->scavenged.set(run.page, run.count);
  pages_.free(run);
  counters->arena_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return true;
}

void MHeap::return_pages(PageCache& cache) {
  while (cache.free != 0) {
    const PageRun part = lowest_run(cache, cache.free);
    cache.free &= ~run_mask(cache, part);
    free_pages(part, 0);
  }
}

void MHeap::flush(PageCache& cache) {
  LockGuard guard(lock_);
  while (Span* s = cache.take_record()) records_.free(s);
  return_pages(cache);
}

size_t MHeap::purge(size_t max_pages) {
  size_t purged = 0;
  while (purged < max_pages) {
    PageRun run;
    {
      LockGuard guard(lock_);
      run = pages_.find_dirty(max_pages - purged < kPurgePages ? max_pages - purged : kPurgePages);
      // Taken for the while, so that nobody writes to what is being given back.
      if (run.arena == nullptr || !pages_.alloc_at(run.arena, run.page, run.count)) break;
    }
    const bool gone = os::purge(run.address(), run.count * kPageSize);
    LockGuard guard(lock_);
    if (gone) run.arena->scavenged.set(run.page, run.count);
    pages_.free(run);
    note_dirty();
    if (!gone) break;  // locked in memory: the next one would be, too
    purged += run.count;
    counters->returned_bytes.fetch_add(run.count * kPageSize, std::memory_order_relaxed);
  }
  return purged;
}

void MHeap::release_free_addresses(size_t bytes) {
  LockGuard guard(lock_);
  // Who pins addresses does not where they may run short.
  if (observer_ != nullptr || pages_.free_pages() * kPageSize < bytes) return;
  for (size_t a = 0; a < pages_.arena_count(); ++a) {
    Arena* const arena = pages_.arena(a);
    while (arena->longest != 0) {
      // Free pages are the heap's own; once allocated for good and not committed, they are nobody's (see arena.h).
      const size_t page = arena->allocated.find(false, 0, kArenaPages);
      const PageRun run{arena, page, arena->allocated.find(true, page, kArenaPages) - page};
      if (!pages_.alloc_at(arena, run.page, run.count)) return;
      const size_t committed = arena->committed.count(run.page, run.count);
      arena->committed.clear(run.page, run.count);
      arena->scavenged.clear(run.page, run.count);
      counters->committed_bytes.fetch_sub(committed * kPageSize, std::memory_order_relaxed);
      counters->arena_bytes.fetch_sub(run.count * kPageSize, std::memory_order_relaxed);
      os::unmap(run.address(), run.count * kPageSize);
    }
  }
  note_dirty();
}

size_t MHeap::take_lowest_dirty() {
  LockGuard guard(lock_);
  return pages_.take_lowest_dirty();
}

// ---- beside the program ---------------------------------------------------------------------------------------

void MHeap::pin_addresses(const HeapObserver* observer) {
  LockGuard guard(lock_);
  TRI_ASSERT(observer_ == nullptr);
  observer_ = observer;
}

void MHeap::unpin_addresses() {
  Span* leaving;
  {
    LockGuard guard(lock_);
    observer_ = nullptr;
    leaving = leaving_;
    leaving_ = nullptr;
  }
  while (leaving != nullptr) {
    Span* const next = leaving->next;
    os::unmap(leaving->start, leaving->bytes);
    LockGuard guard(lock_);
    free_record(leaving);
    leaving = next;
  }
}

// ---- questions ------------------------------------------------------------------------------------------------

bool MHeap::owns(const void* p) {
  LockGuard guard(lock_);
  const Arena* const arena = pagemap::arena_of(p);
  if (arena == nullptr) return false;
  const size_t page = arena->page_of(p);
  return !arena->allocated.test(page) || arena->committed.test(page);
}

bool MHeap::was_freed_lately(const void* p, size_t* size) {
  LockGuard guard(lock_);
  // The latest first: a range may have been used more than once.
  for (size_t i = 1; i <= kFreedRanges; ++i) {
    const FreedRange& range = freed_[(next_freed_ + kFreedRanges - i) % kFreedRanges];
    // Never filled ones end at the start.
    const uintptr_t inverse = ~reinterpret_cast<uintptr_t>(p);
    if (inverse > range.inverse_start || inverse <= range.inverse_end) continue;
    *size = range.size;
    return true;
  }
  return false;
}

void MHeap::verify() {
  LockGuard guard(lock_);
  pages_.verify();
}

}  // namespace tri
