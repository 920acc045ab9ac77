// malloc.cc - The slow paths. See malloc.h for the overview.
#include "alloc/malloc.h"

#include <cstring>

#include "alloc/collected.h"
#include "alloc/emergency.h"
#include "alloc/held.h"
#include "alloc/mheap.h"
#include "alloc/misuse.h"
#include "alloc/os/os.h"
#include "alloc/sampler.h"
#include "alloc/scavenger.h"

namespace tri {

constinit CollectedHooks collected_hooks;

namespace {

using misuse::Operation;

// A block from here on that must move to grow gets a mapping of its own: mremap costs less than copying.
constexpr size_t kMinMovableSize = 1024 * 1024;

using FindNext = NextAllocator (*)();
constinit FindNext find_next_allocator = nullptr;

NextAllocator next_allocator() { return find_next_allocator == nullptr ? NextAllocator{} : find_next_allocator(); }

/// What a slow path does when it cannot have an mcache: see SlowPath.
void* allocate_without(const SlowPath& slow, size_t n, size_t alignment) {
  return slow.reentered() ? emergency::alloc(n, alignment) : nullptr;
}

/// Runs `allocate`, and once more after giving back all that this thread keeps for later, and all free addresses: what is
/// free may be too scattered, or in the wrong place, for what is wanted.
template <class Fn>
auto try_twice(MCache* mcache, size_t bytes, Fn&& allocate) {
  auto result = allocate();
  if (TRI_LIKELY(result != nullptr)) return result;
  mcache->release_caches();
  heap.release_huge(INT64_MAX);
  heap.release_free_addresses(bytes);
  return allocate();
}

[[gnu::noinline]] void* allocate_class(unsigned size_class) {
  if (void* block = pop(current_mcache()->current[size_class])) return block;
  void* block;
  {
    SlowPath slow;
    MCache* const mcache = slow.get();
    if (mcache == nullptr) {
      // All alignments that a class serves are powers of two that divide its size.
      const size_t size = class_size(size_class);
      return allocate_without(slow, size, size & (~size + 1));
    }
    if (TRI_UNLIKELY(sampler::is_on())) {
      if (void* const sampled = sampler::allocate(mcache, size_class)) return sampled;
    }
    Span* const s =
        try_twice(mcache, class_span_pages(size_class) * kPageSize, [&] { return mcache->refill(size_class); });
    if (s == nullptr) return nullptr;
    block = pop(s);
  }
  scavenger::poll();
  return block;
}

void* allocate_large(size_t n, size_t alignment, bool zeroed) {
  if (n > PTRDIFF_MAX) return nullptr;
  Span* s = nullptr;
  {
    SlowPath slow;
    MCache* const mcache = slow.get();
    if (mcache == nullptr) return allocate_without(slow, n, alignment);
    if (alignment <= kPageSize) s = mcache->large.take(align_up(n, kPageSize));
    if (s == nullptr) s = try_twice(mcache, n + alignment, [&] { return heap.alloc_large(n, alignment); });
    if (TRI_UNLIKELY(sampler::is_on()) && s != nullptr) sampler::note_large(mcache, s);
  }
  if (s == nullptr) return nullptr;
  if (s->kind == SpanKind::kHuge) scavenger::poll();
  if (zeroed && s->needs_zero) memset(s->start, 0, n);
  return s->start;
}

/// True if p is a large block that is in use; says what is wrong otherwise.
bool check_large(const void* p, const Span* s, Operation operation) {
  if (p != s->start) {
    misuse::not_a_block(p, s, operation);
    return false;
  }
  if (s->place == SpanPlace::kCached || held::is_held(p)) {
    misuse::freed_twice(p, s, operation);
    return false;
  }
  return true;
}

void deallocate_large(void* p, Span* s) {
  if (!check_large(p, s, Operation::kFree)) return;
  {
    SlowPath slow;
    MCache* const mcache = slow.get();
    if (slow.reentered()) return;
    free_large(s, mcache);
  }
  scavenger::poll();
}

/// Pushes a block on its span's list, after all checks, as deallocate() does.
void push_own(Span* s, void* p) {
  s->store_link(p, s->free);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  s->free = s->offset_of(p);
  if (--s->countdown == 0) deallocate_last(s);
}

/// True if p is a block of small span `s` that is in use; says what is wrong otherwise.
bool check_small(void* p, Span* s, Operation operation) {
  const uint64_t offset = s->offset_of(p);
  if (!s->is_block(offset)) {
    misuse::not_a_block(p, s, operation);
    return false;
  }
  // A word that decodes to an offset was put there by us: chance makes one in 2^47.
  const uint64_t link = s->load_link(p);
  if (kChecks && (s->is_link(link) || held::is_held(p))) {
    misuse::freed_twice(p, s, operation);
    return false;
  }
  return true;
}

/// There is no memory for a batch, or none for an mcache: the block goes to its owner alone.
[[gnu::cold, gnu::noinline]] void deallocate_alone(void* p, Span* s) {
  RemoteBatches single;
  single.add(s, s->offset_of(p));
  single.flush();
}

void deallocate_small(void* p, Span* s) {
  if (TRI_UNLIKELY(!check_small(p, s, Operation::kFree))) return;
  {
    SlowPath slow;
    MCache* const mcache = slow.get();
    if (TRI_UNLIKELY(mcache == nullptr)) {
      // In a signal handler above this very function the block is lost, which is better than a deadlock.
      if (slow.reentered()) return;
      s->is_sampled ? sampler::release(s, p) : deallocate_alone(p, s);
      return;
    }
    if (TRI_UNLIKELY(s->is_sampled)) return sampler::release(s, p);
    if (TRI_LIKELY(s->owner_tp.load(std::memory_order_relaxed) != mcache->owner_tp)) {
      return mcache->remote.add(s, s->offset_of(p));
    }
  }
  push_own(s, p);
}

/// Clears a block: of a few words without a call, which would take longer than the rest of free().
[[gnu::always_inline]] inline void clear(void* p, size_t bytes) {
  constexpr size_t kMostInline = 256;
  if (TRI_UNLIKELY(bytes > kMostInline)) {
    memset(p, 0, bytes);
    return;
  }
  using Pair [[gnu::vector_size(16), gnu::may_alias]] = uint64_t;
  static_assert(sizeof(Pair) == kBlockAlignment);
  auto* at = static_cast<Pair*>(p);
  const Pair* const end = at + bytes / sizeof(Pair);
  do {
    *at++ = Pair{};
    asm("" : "+r"(at));  // or the compiler makes a call of it
  } while (at != end);
}

/// Holds a block that the program frees (see held.h), after all checks. False if it cannot be held. It is cleared first: once it is held it may be
/// given back at any time, if nobody sees that this thread still works on it. This takes no lock, and so goes for signal handlers, too.
[[gnu::always_inline]] inline bool hold_small(void* p, const Span* s) {
  if (TRI_UNLIKELY(!s->is_block(s->offset_of(p)))) return false;
  const uint64_t link = s->load_link(p);
  if (TRI_UNLIKELY(Span::may_be_link(link)) && s->is_link(link)) return false;
  const size_t bytes = s->size;
  if (TRI_UNLIKELY(held::put(p, bytes, [=] { clear(p, bytes); }) != held::Put::kDone)) return false;
  held::count(bytes);
  return true;
}

bool hold_large(void* p, const Span* s) {
  if ((s->kind != SpanKind::kLarge && s->kind != SpanKind::kHuge) || s->is_collected) return false;
  if (p != s->start || s->place == SpanPlace::kCached) return false;
  const size_t bytes = s->bytes;
  const auto empty = [=] {
    if (bytes >= held::kMinPurgedBytes && !os::purge(p, bytes)) memset(p, 0, bytes);
  };
  if (held::put(p, bytes, empty) != held::Put::kDone) return false;
  held::count(held::weight(bytes));
  return true;
}

void deallocate_unknown(void* p) {
  if (emergency::owns(p)) return;
  if (!misuse::is_foreign(p, Operation::kFree)) return;
  if (const NextAllocator next = next_allocator(); next.free != nullptr) next.free(p);
}

void* move_block(void* p, size_t old_size, size_t n) {
  void* const q = allocate(n);
  if (q == nullptr) return nullptr;
  memcpy(q, p, old_size < n ? old_size : n);
  deallocate(p);
  return q;
}

void* reallocate_large(void* p, Span* s, size_t n) {
  if (!check_large(p, s, Operation::kRealloc)) return nullptr;
  if (n <= kMaxSmallSize) return move_block(p, s->bytes, n);
  // A block that shrinks gives its pages back; one that crosses to the other kind moves.
  if (n > PTRDIFF_MAX) return nullptr;
  void* resized = nullptr;
  {
    SlowPath slow;
    if (slow.reentered()) return nullptr;
    if (heap.resize_in_place(s, n)) {
      resized = p;
    } else if (s->kind == SpanKind::kHuge) {
      resized = heap.remap_huge(s, n);
      if (resized == nullptr && heap.release_huge(INT64_MAX) != 0) resized = heap.remap_huge(s, n);
    }
  }
  if (resized != nullptr) {
    scavenger::poll();
    return resized;
  }
  // A huge one that cannot be mapped elsewhere now is copied, if there is memory for two.
  if (n < kMinMovableSize || s->kind == SpanKind::kHuge) return move_block(p, s->bytes, n);
  // It grows, has no room, and is costly to copy. In a mapping of its own it will never be copied again.
  Span* fresh;
  {
    SlowPath slow;
    if (slow.reentered()) return nullptr;
    fresh = heap.alloc_huge(n, kPageSize);
    if (TRI_UNLIKELY(sampler::is_on()) && fresh != nullptr && slow.get() != nullptr) {
      sampler::note_large(slow.get(), fresh);
    }
  }
  if (fresh == nullptr) return move_block(p, s->bytes, n);
  memcpy(fresh->start, p, s->bytes < n ? s->bytes : n);
  deallocate(p);  // and polls the scavenger
  return fresh->start;
}

}  // namespace

void free_large(Span* s, MCache* mcache) {
  const bool is_kept = s->kind == SpanKind::kHuge ? scavenger::half_life() != scavenger::kPurgeNow && heap.keep_huge(s)
                                                  : mcache != nullptr && mcache->large.put(s, mcache);
  if (!is_kept) heap.free(s);
}

void* allocate(size_t n) { return allocate_inline(n); }
void deallocate(void* p) { deallocate_inline(p); }
void deallocate_sized(void* p, size_t n) { deallocate_sized_inline(p, n); }

void* allocate_slow(size_t n) {
  if (n <= kMaxSmallSize) return allocate_class(size_class(n));
  return allocate_large(n, kBlockAlignment, false);
}

void* allocate_zeroed(size_t n) {
  if (n > kMaxSmallSize) return allocate_large(n, kBlockAlignment, true);
  void* const p = allocate(n);
  if (p != nullptr) memset(p, 0, n);
  return p;
}

void* allocate_aligned(size_t n, size_t alignment) {
  if (alignment <= kBlockAlignment) return allocate(n);
  if (alignment <= kPageSize && n <= kMaxSmallSize) {
    const unsigned c = aligned_size_class(n, alignment);
    if (c < kSizeClasses) return allocate_class(c);
  }
  // A block of less than a page would be taken for a small one by realloc() and the like.
  return allocate_large(n <= kMaxSmallSize ? kMaxSmallSize + 1 : n, alignment, false);
}

/// The rest of deallocate_slow(): the block is freed at once, or something is wrong with it.
[[gnu::cold, gnu::noinline]] static void deallocate_now(void* p, Span* s) {
  switch (s->kind) {
    case SpanKind::kSmall:
      return deallocate_small(p, s);
    case SpanKind::kLarge:
    case SpanKind::kHuge:
      return s->is_collected ? collected_hooks.free(p, s) : deallocate_large(p, s);
    case SpanKind::kCollected:
      return collected_hooks.free(p, s);
    case SpanKind::kNone:
      return deallocate_unknown(p);
  }
}

/// With TRI=safe every free() comes here. It is not cold like its caller: that would make it small instead of fast.
[[gnu::noinline]] static void deallocate_held(void* p) {
  size_t index;
  Span* const s = pagemap::is_near(p, &index) ? pagemap::near_span(index) : pagemap::far_lookup(p);
  if (TRI_LIKELY(s->kind == SpanKind::kSmall) ? TRI_LIKELY(hold_small(p, s)) : hold_large(p, s)) return;
  deallocate_now(p, pagemap::lookup(p));
}

void deallocate_slow(void* p) {
  if (p == nullptr) return;
  if (held::is_on()) return deallocate_held(p);
  deallocate_now(p, pagemap::lookup(p));
}

void deallocate_last(Span* s) {
  {
    SlowPath slow;
    if (slow.reentered()) {
      // A handler above the slow path: the owner finds the countdown at its next free. One block is counted twice as
      // in use until then.
      s->countdown = 1;
      return;
    }
    if (slow.get() != nullptr) slow.get()->counted_down(s);
  }
  scavenger::poll();
}

void deallocate_aligned_sized(void* p, size_t n, size_t alignment) {
  if (p == nullptr) return;
  const Span* const s = pagemap::lookup(p);
  const bool is_aligned = alignment > kBlockAlignment;
  bool fits = true;
  if (s->kind == SpanKind::kSmall || s->kind == SpanKind::kCollected) {
    fits = n <= kMaxSmallSize && s->size_class == (is_aligned ? aligned_size_class(n, alignment) : size_class(n));
  } else if (s->kind != SpanKind::kNone) {
    fits = n <= s->bytes && (n > kMaxSmallSize || is_aligned);
  }
  if (TRI_UNLIKELY(kChecks && !fits)) {
    misuse::wrong_size(p, n, s);
    if (misuse::enabled()) return;
  }
  deallocate(p);
}

void deallocate_sized_slow(void* p, size_t n) { deallocate_aligned_sized(p, n, kBlockAlignment); }

void* reallocate(void* p, size_t n) {
  Span* const s = pagemap::lookup(p);
  switch (s->kind) {
    case SpanKind::kSmall: {
      if (!check_small(p, s, Operation::kRealloc)) return nullptr;
      if (n <= kMaxSmallSize && size_class(n) == s->size_class) return p;
      return move_block(p, s->size, n);
    }
    case SpanKind::kLarge:
    case SpanKind::kHuge:
      return s->is_collected ? collected_hooks.reallocate(p, s, n) : reallocate_large(p, s, n);
    case SpanKind::kCollected:
      return collected_hooks.reallocate(p, s, n);
    case SpanKind::kNone:
      break;
  }
  if (emergency::owns(p)) return move_block(p, emergency::usable_size(p), n);
  if (!misuse::is_foreign(p, Operation::kRealloc)) return nullptr;
  const NextAllocator next = next_allocator();
  return next.realloc == nullptr ? nullptr : next.realloc(p, n);
}

bool resize_in_place(void* p, size_t n) {
  Span* const s = pagemap::lookup(p);
  if (s->kind == SpanKind::kSmall || s->kind == SpanKind::kCollected) {
    return s->is_block(s->offset_of(p)) && n <= kMaxSmallSize && size_class(n) == s->size_class;
  }
  if (s->kind == SpanKind::kNone || p != s->start || n <= kMaxSmallSize || n > PTRDIFF_MAX - kPageSize) return false;
  // A collector may be reading it.
  if (s->is_collected) return align_up(n, kPageSize) == s->bytes;
  SlowPath slow;
  return !slow.reentered() && heap.resize_in_place(s, n);
}

size_t usable_size(const void* p) {
  if (p == nullptr) return 0;
  const Span* const s = pagemap::lookup(p);
  switch (s->kind) {
    case SpanKind::kSmall:
    case SpanKind::kCollected:
      return s->is_block(s->offset_of(p)) ? s->size : 0;
    case SpanKind::kLarge:
    case SpanKind::kHuge:
      return p == s->start ? s->bytes : 0;
    case SpanKind::kNone:
      break;
  }
  return emergency::owns(p) ? emergency::usable_size(p) : 0;
}

size_t good_size(size_t n) {
  if (n <= kMaxSmallSize) return class_size(size_class(n));
  return n > PTRDIFF_MAX - kPageSize ? 0 : align_up(n, kPageSize);
}

void* block_start(const void* p) {
  Span* s = pagemap::find(p);
  if (s == nullptr) s = heap.find_huge(p);
  if (s == nullptr) return nullptr;
  if (s->kind == SpanKind::kLarge || s->kind == SpanKind::kHuge) return s->start;
  const uint64_t offset = s->offset_of(p);
  if (offset < s->size || offset / s->size > s->carved) return nullptr;
  return s->block_at(offset - offset % s->size);
}

void set_next_allocator(NextAllocator (*find)()) { find_next_allocator = find; }

}  // namespace tri
