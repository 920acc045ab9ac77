// heap.cc - Allocation of collected memory. See heap.h; sweeping is in sweep.cc.
#include "gc/heap.h"

#include <bit>
#include <cstring>

#include "alloc/emergency.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/misuse.h"
#include "alloc/persistent.h"
#include "alloc/thread.h"
#include "gc/attached.h"
#include "gc/finalizers.h"
#include "gc/gc.h"

namespace tri::gc {
namespace {

// Old contents are zeroed so far ahead of what is handed out: a part of the first cache, and enough for memset's speed.
constexpr size_t kZeroBytes = 2048;
// A refill looks at so many spans that turn out to be full before it takes a new one: it must not sweep a whole heap that lives.
constexpr int kMostSwept = 64;

using Word = CollectedSpan::Word;

size_t find_bit(const Word* words, bool value, size_t from, size_t to) {
  while (from < to) {
    const uint64_t w = words[from / 64].load(std::memory_order_relaxed);
    const uint64_t left = (value ? w : ~w) >> (from % 64);
    if (left != 0) {
      const size_t at = from + static_cast<size_t>(std::countr_zero(left));
      return at < to ? at : to;
    }
    from = (from / 64 + 1) * 64;
  }
  return to;
}

size_t count_free(const CollectedSpan* s) {
  size_t n = 0;
  for (size_t i = 0; i < s->words; ++i) {
    n += static_cast<size_t>(std::popcount(~s->in_use()[i].load(std::memory_order_relaxed) & s->valid(i)));
  }
  return n;
}

}  // namespace

constinit Cache empty_cache;
constinit thread_local Cache* tls_cache = &empty_cache;
constinit Heap collected_heap;

// ---- threads --------------------------------------------------------------------------------------------------------

bool Heap::install() {
  // acquire: pairs with the release below: the hooks are there.
  if (TRI_LIKELY(installed_.load(std::memory_order_acquire))) return true;
  if (!heap.init()) return false;
  CollectedGuard guard(centrals_[kCaches].lock);
  if (installed_.load(std::memory_order_relaxed)) return true;
  collected_hooks.free = [](void* p, Span* s) { collected_heap.free(p, s); };
  collected_hooks.reallocate = [](void* p, Span* s, size_t n) { return collected_heap.reallocate(p, s, n); };
  collected_hooks.thread_ends = [] { collected_heap.thread_ends(); };
  collected_hooks.locks = &centrals_[0].lock;
  collected_hooks.stride = sizeof(Central);
  collected_hooks.count.store(kKinds + 2, std::memory_order_release);  // pairs with the acquire in fork_prepare()
  installed_.store(true, std::memory_order_release);
  return true;
}

/// The calling thread's cache, which is a new one if need be; null when there is no memory. In a SlowPath.
Cache* Heap::attach() {
  if (tls_cache != &empty_cache) return tls_cache;
  if (!install()) return nullptr;
  CollectedGuard guard(centrals_[kCaches].lock);
  Cache* c = idle_;
  if (c != nullptr) {
    idle_ = c->next_idle;
  } else {
    void* const memory = persistent::alloc(sizeof(Cache), alignof(Cache));
    if (memory == nullptr) return nullptr;
    c = ::new (memory) Cache;
    c->next_all = all_;
    all_ = c;
  }
  tls_cache = c;
  return c;
}

void Heap::thread_ends() {
  Cache* const c = tls_cache;
  if (c == &empty_cache) return;
  tls_cache = &empty_cache;
  for (unsigned k = 0; k < kKinds; ++k) {
    if (c->current[k] == nullptr) continue;
    CollectedGuard guard(centrals_[k].lock);
    CollectedSpan* const s = c->current[k];
    retire(*c, k);
    put(centrals_[k], s);
  }
  CollectedGuard guard(centrals_[kCaches].lock);
  c->next_idle = idle_;
  idle_ = c;
}

// ---- small blocks -----------------------------------------------------------------------------------------------------

/// Takes the next free blocks of the current span, for the run that is used up.
bool Heap::next_run(Cache& cache, unsigned kind) {
  CollectedSpan* const s = cache.current[kind];
  if (s == nullptr) return false;
  const size_t capacity = s->span->capacity();
  const size_t begin = find_bit(s->in_use(), false, s->run.load(std::memory_order_relaxed) >> 16, capacity);
  if (begin == capacity) return false;
  size_t most = capacity;
  if (s->needs_zero) {
    const size_t few = kZeroBytes / s->span->size;
    most = begin + (few == 0 ? 1 : few);
    if (most > capacity) most = capacity;
  }
  const size_t end = find_bit(s->in_use(), true, begin, most);
  // The order that collected.h asks for.
  s->run.store(static_cast<uint32_t>(begin | end << 16), std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  for (size_t i = begin / 64; i * 64 < end; ++i) {
    Word& w = s->in_use()[i];
    w.store(w.load(std::memory_order_relaxed) | CollectedSpan::mask_of(i, begin, end), std::memory_order_relaxed);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  CollectedRun& r = cache.runs[kind];
  char* const first = s->block(begin);
  char* const last = s->block(end);
  if (s->needs_zero) memset(first, 0, static_cast<size_t>(last - first));
  // A handler that interrupts this thread here finds it used up.
  r.end.store(nullptr, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  r.next.store(first, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  r.end.store(last, std::memory_order_relaxed);
  return true;
}

/// In a SlowPath.
bool Heap::refill(Cache& cache, unsigned kind) {
  Central& central = centrals_[kind];
  CollectedGuard guard(central.lock);
  CollectedSpan* s = cache.current[kind];
  if (s != nullptr) {
    retire(cache, kind);
    // Marks or frees may have made room in it meanwhile: it is in the cache still.
    if (count_free(s) == 0) {
      put(central, s);
      s = nullptr;
    }
  }
  if (s == nullptr) s = take_room(central, kind);
  if (s == nullptr) s = make_span(central, kind);
  if (s == nullptr) return false;
  make_current(cache, kind, s);
  return true;
}

CollectedSpan* Heap::take_room(Central& central, unsigned) {
  if (CollectedSpan* const s = central.partial.pop_front()) return s;
  for (int i = 0; i < kMostSwept; ++i) {
    CollectedSpan* const s = central.unswept.pop_front();
    if (s == nullptr) break;
    sweep(s);
    if (count_free(s) != 0) return s;
    put(central, s);
  }
  return nullptr;
}

CollectedSpan* Heap::make_record(Central& central, size_t words) {
  CollectedSpan* s = central.records;
  if (s != nullptr) {
    central.records = s->next;
  } else {
    void* const memory = persistent::alloc(CollectedSpan::bytes_for(words), alignof(CollectedSpan));
    if (memory == nullptr) return nullptr;
    s = static_cast<CollectedSpan*>(memory);
  }
  s = ::new (static_cast<void*>(s)) CollectedSpan;
  s->words = static_cast<uint16_t>(words);
  for (size_t i = 0; i < words; ++i) {
    s->in_use()[i].store(0, std::memory_order_relaxed);
    s->freed()[i].store(0, std::memory_order_relaxed);
  }
  // Made while marking: in no table, so that all of it is kept.
  s->swept = current_cycle();
  return s;
}

CollectedSpan* Heap::make_span(Central& central, unsigned kind) {
  const unsigned size_class = kind % kSizeClasses;
  CollectedSpan* const s = make_record(central, CollectedSpan::words_for(class_capacity(size_class)));
  if (s == nullptr) return nullptr;
  Span* const span = heap.alloc_collected(size_class, s, &s->needs_zero);
  if (span == nullptr) {
    s->next = central.records;
    central.records = s;
    return nullptr;
  }
  span->pointer_free = kind >= kSizeClasses;
  return s;
}

void Heap::make_current(Cache& cache, unsigned kind, CollectedSpan* s) {
  if (marking_ && !is_settled(s) && on_current_ != nullptr) on_current_(on_current_arg_, s->span);
  s->span->place = SpanPlace::kCurrent;
  s->run.store(0, std::memory_order_relaxed);
  s->owner = &cache.runs[kind];
  cache.current[kind] = s;
  allocated_.fetch_add(count_free(s) * s->span->size, std::memory_order_relaxed);
}

/// What is left of the run is free again. The caller finds a new place for the span.
void Heap::retire(Cache& cache, unsigned kind) {
  CollectedSpan* const s = cache.current[kind];
  size_t begin, end;
  s->unused(&begin, &end);
  cache.runs[kind].end.store(nullptr, std::memory_order_relaxed);
  cache.runs[kind].next.store(nullptr, std::memory_order_relaxed);
  cache.current[kind] = nullptr;
  for (size_t i = begin / 64; i * 64 < end; ++i) {
    s->in_use()[i].fetch_and(~CollectedSpan::mask_of(i, begin, end), std::memory_order_relaxed);
  }
  s->owner = nullptr;
  s->run.store(0, std::memory_order_relaxed);
  s->needs_zero = true;
  s->span->place = SpanPlace::kNowhere;
  if (!marking_ || is_settled(s)) take_freed(s);
}

void Heap::put(Central& central, CollectedSpan* s) {
  s->listed = epoch_;
  const size_t free = count_free(s);
  if (free == s->span->capacity()) return release(central, s);
  s->span->place = free == 0 ? SpanPlace::kFull : SpanPlace::kPartial;
  (free == 0 ? central.full : central.partial).push_back(s);
}

void Heap::release(Central& central, CollectedSpan* s) {
  heap.free(s->span);
  s->span = nullptr;
  s->prev = nullptr;
  s->next = central.records;
  central.records = s;
}

void* Heap::try_allocate(unsigned kind) {
  SlowPath slow;
  if (slow.get() == nullptr) {
    return slow.reentered() ? emergency::alloc(class_size(kind % kSizeClasses), kBlockAlignment) : nullptr;
  }
  Cache* const cache = attach();
  if (cache == nullptr) return nullptr;
  if (!next_run(*cache, kind)) {
    // Of a span that has room.
    if (!refill(*cache, kind) || !next_run(*cache, kind)) return nullptr;
  }
  void* p = nullptr;
  (void)pop(cache->runs[kind], &p);
  return p;
}

void* Heap::allocate_kind(unsigned kind) {
  if (void* p; pop(tls_cache->runs[kind], &p)) return p;
  poll();
  if (void* const p = try_allocate(kind); TRI_LIKELY(p != nullptr)) return p;
  if (in_slow_path() || !collect_for_memory()) return nullptr;
  return try_allocate(kind);
}

// ---- large blocks -----------------------------------------------------------------------------------------------------

void* Heap::allocate_large(size_t n, size_t alignment, bool pointer_free) {
  if (n > PTRDIFF_MAX) return nullptr;
  SlowPath slow;
  if (slow.get() == nullptr) return slow.reentered() ? emergency::alloc(n, alignment) : nullptr;
  if (!install()) return nullptr;
  Central& central = centrals_[kLarge];
  Span* const span = heap.alloc_large(n, alignment);
  if (span == nullptr) return nullptr;
  if (span->needs_zero) memset(span->start, 0, span->bytes);
  {
    CollectedGuard guard(central.lock);
    if (CollectedSpan* const s = make_record(central, 0)) {
      s->span = span;
      s->listed = epoch_;
      span->pointer_free = pointer_free;
      span->collected = s;
      span->is_collected = true;
      central.full.push_back(s);
      allocated_.fetch_add(span->bytes, std::memory_order_relaxed);
      return span->start;
    }
  }
  heap.free(span);
  return nullptr;
}

void* Heap::allocate(size_t n, size_t alignment, bool pointer_free) {
  if (alignment <= kPageSize && n <= kMaxSmallSize) {
    const unsigned c = alignment <= kBlockAlignment ? size_class(n) : aligned_size_class(n, alignment);
    if (c < kSizeClasses) return allocate_kind(c + (pointer_free ? kSizeClasses : 0u));
  }
  if (n <= kMaxSmallSize) n = kMaxSmallSize + 1;
  poll();
  if (void* const p = allocate_large(n, alignment, pointer_free); TRI_LIKELY(p != nullptr)) return p;
  if (n > PTRDIFF_MAX || in_slow_path() || !collect_for_memory()) return nullptr;
  return allocate_large(n, alignment, pointer_free);
}

// ---- what the program does by itself ------------------------------------------------------------------------------------

void Heap::free(void* p, Span* s) {
  SlowPath slow;
  // In a handler above this very code the block is left to the collector.
  if (slow.reentered()) return;
  attached.block_freed(p);
  finalizers.block_freed(p);
  if (s->kind == SpanKind::kCollected) return free_small(p, s);
  free_large(p, s);
}

void Heap::free_small(void* p, Span* span) {
  if (!span->is_block(span->offset_of(p))) return misuse::not_a_block(p, span, misuse::Operation::kFree);
  Central& central = centrals_[kind_of(span)];
  bool twice = false;
  {
    CollectedGuard guard(central.lock);
    CollectedSpan* const s = span->collected;
    const size_t i = s->index_of(p);
    const uint64_t bit = uint64_t{1} << (i % 64);
    const bool current = span->place == SpanPlace::kCurrent;
    const bool unswept = !current && s->listed != epoch_;
    if (unswept) {
      central.unswept.remove(s);
      sweep(s);
    }
    twice = !s->is_in_use(i);
    const bool later = current || (marking_ && !is_settled(s));
    if (!twice) {
      if (later) {
        s->freed()[i / 64].fetch_or(bit, std::memory_order_relaxed);
      } else {
        s->in_use()[i / 64].fetch_and(~bit, std::memory_order_relaxed);
      }
      allocated_.fetch_sub(span->size, std::memory_order_relaxed);
    }
    if (unswept) {
      put(central, s);
    } else if (!later && !twice) {
      (span->place == SpanPlace::kFull ? central.full : central.partial).remove(s);
      put(central, s);
    }
  }
  if (twice) misuse::freed_twice(p, span, misuse::Operation::kFree);
}

void Heap::free_large(void* p, Span* span) {
  if (p != span->start) return misuse::not_a_block(p, span, misuse::Operation::kFree);
  Central& central = centrals_[kLarge];
  bool twice = false;
  {
    CollectedGuard guard(central.lock);
    CollectedSpan* const s = span->collected;
    twice = s->is_freed;
    if (!twice) allocated_.fetch_sub(span->bytes, std::memory_order_relaxed);
    s->is_freed = true;
    if (!twice && (!marking_ || is_settled(s))) {
      (s->listed != epoch_ ? central.unswept : central.full).remove(s);
      release(central, s);
    }
  }
  if (twice) misuse::freed_twice(p, span, misuse::Operation::kFree);
}

void* Heap::reallocate(void* p, Span* s, size_t n) {
  const bool small = s->kind == SpanKind::kCollected;
  if (small ? !s->is_block(s->offset_of(p)) : p != s->start) {
    misuse::not_a_block(p, s, misuse::Operation::kRealloc);
    return nullptr;
  }
  if (!is_block(p)) {
    misuse::freed_twice(p, s, misuse::Operation::kRealloc);
    return nullptr;
  }
  const size_t old_size = small ? s->size : s->bytes;
  if (n <= kMaxSmallSize ? small && size_class(n) == s->size_class : !small && align_up(n, kPageSize) == s->bytes)
    return p;
  void* const q = allocate(n, kBlockAlignment, s->pointer_free);
  if (q == nullptr) return nullptr;
  memcpy(q, p, old_size < n ? old_size : n);
  deallocate(p);
  return q;
}

uint32_t Heap::unmarked_since(const void* block) const {
  const Span* const s = pagemap::lookup(block);
  return s->is_collected && is_settled(s->collected) ? current_cycle() : epoch_;
}

bool Heap::is_unmarked(const void* block) const {
  Ref r;
  return kept_.find(reinterpret_cast<uintptr_t>(block), &r) && !r.is_marked();
}

bool Heap::is_block(const void* p) {
  Span* const span = pagemap::lookup(p);
  if (!span->is_collected) return false;
  if (span->kind != SpanKind::kCollected) return p == span->start && !span->collected->is_freed;
  if (!span->is_block(span->offset_of(p))) return false;
  CollectedGuard guard(centrals_[kind_of(span)].lock);
  CollectedSpan* const s = span->collected;
  return s->is_in_use(s->index_of(p));
}

}  // namespace tri::gc
