// mcache.cc - See mcache.h.
#include "alloc/mcache.h"

#include "alloc/mcentral.h"
#include "alloc/mheap.h"
#include "alloc/thread.h"

namespace tri {
namespace {

// Whole spans that a thread keeps although they are empty: enough for a program that frees and allocates the same few
// hundred KiB in turn, little enough that a thousand threads do not hoard.
constexpr size_t kMaxEmptyBytes = 128 * 1024;
constexpr size_t kAllEmptyBytes = 16 * 1024 * 1024;

// Blocks in batches for other threads wait at most this many refills.
constexpr uint32_t kRefillsPerFlush = 16;

/// Whether a block can be taken from s now, after carving if need be.
bool has_room(Span* s) {
  s->check_first();
  return s->has_free() || (s != &empty_span && s->carve());
}

}  // namespace

constinit MCache empty_mcache{true};

size_t fair_share(size_t total, size_t most) {
  const size_t share = total / (Thread::count() | 1);
  return share < most ? share : most;
}

void MCache::set_current(unsigned size_class, Span* s) {
  current[size_class] = s;
  const size_t size = class_size(size_class);
  if (size > kMaxDirectSize) return;
  const size_t first = size_class == 0 ? 0 : class_size(size_class - 1) / kBlockAlignment + 1;
  for (size_t i = first; i <= size / kBlockAlignment; ++i) direct[i] = s;
}

void MCache::retire_current(unsigned size_class) {
  Span* const s = current[size_class];
  if (s == &empty_span) return;
  s->place = SpanPlace::kFull;
  s->countdown = 1;
  full[size_class].push_back(s);
}

Span* MCache::refill(unsigned size_class) {
  if (partial[size_class].empty()) drain_notify(*this);
  if (++refills % kRefillsPerFlush == 0) remote.flush();
  Span* s = current[size_class];
  if (has_room(s)) return s;
  do {
    retire_current(size_class);
    s = next_span(size_class);
    set_current(size_class, s == nullptr ? &empty_span : s);
    if (s == nullptr) return nullptr;
    s->place = SpanPlace::kCurrent;
    s->countdown = kNoCountdown;
    // Each has room, but one whose list was overwritten may turn out to have none where checks are switched off.
  } while (!has_room(s));
  if constexpr (kVerify) s->verify();
  return s;
}

Span* MCache::next_span(unsigned size_class) {
  if (Span* s = partial[size_class].pop_front()) return s;
  if (Span* s = take_empty(size_class)) return s;
  if (Span* s = mcentral[size_class].take(this, owner_tp)) return s;
  Span* const s = heap.alloc_small(size_class, pages);
  if (s == nullptr) return nullptr;
  s->owner_tp.store(owner_tp, std::memory_order_relaxed);
  // release: nobody but us has seen the span; from here on a block's holder can reach it.
  s->owner.store(this, std::memory_order_release);
  return s;
}

void MCache::make_partial(Span* s, uint32_t in_use) {
  full[s->size_class].remove(s);
  s->place = SpanPlace::kPartial;
  s->countdown = static_cast<int32_t>(in_use);
  // Behind the others: it gathers free blocks until its turn. Last in, first out would take 2 % less memory, and make
  // programs that hand blocks between threads a third slower.
  partial[s->size_class].push_back(s);
}

void MCache::counted_down(Span* s) {
  switch (s->place) {
    case SpanPlace::kCurrent:
      s->countdown = kNoCountdown;
      break;
    case SpanPlace::kFull:
      make_partial(s, s->carved - 1U);
      if (s->countdown == 0) became_empty(s);
      break;
    case SpanPlace::kPartial:
      became_empty(s);
      break;
    default:
      TRI_CHECK(false && "the owner's span is in one of its places");
  }
}

void MCache::blocks_returned(Span* s, uint32_t count) {
  if (s->place == SpanPlace::kFull) {
    make_partial(s, s->carved - count);
  } else if (s->place == SpanPlace::kPartial) {
    TRI_CHECK(s->countdown >= static_cast<int32_t>(count));
    s->countdown -= static_cast<int32_t>(count);
  } else {
    return;
  }
  if (s->countdown == 0) became_empty(s);
}

void MCache::became_hollow(Span* s) {
  // A partial span has free blocks of its own, so it is none.
  TRI_CHECK(s->place == SpanPlace::kFull || s->place == SpanPlace::kCurrent);
  if (s->place == SpanPlace::kFull) {
    full[s->size_class].remove(s);
  } else {
    set_current(s->size_class, &empty_span);
  }
  heap.drop_hollow(s);
}

void MCache::drop_hollow() {
  const auto is_hollow = [](const Span* s) { return s->remote.load(std::memory_order_relaxed).is_hollow(); };
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    if (is_hollow(current[c])) became_hollow(current[c]);
    Span* hollow = nullptr;
    full[c].each([&](Span* s) {
      if (!is_hollow(s)) return;
      s->notify_next = hollow;
      hollow = s;
    });
    while (Span* const s = hollow) {
      hollow = s->notify_next;
      became_hollow(s);
    }
  }
}

void MCache::became_empty(Span* s) {
  if constexpr (kVerify) s->verify();
  partial[s->size_class].remove(s);
  empty[s->size_class].push_front(s);
  empty_bytes += s->bytes;
  const size_t most = fair_share(kAllEmptyBytes, kMaxEmptyBytes);
  if (empty_bytes > most) release_empty(most);
}

Span* MCache::take_empty(unsigned size_class) {
  Span* const s = empty[size_class].pop_front();
  if (s != nullptr) empty_bytes -= s->bytes;
  return s;
}

void MCache::release_empty(size_t most) {
  // Class by class in turn, so that what a program used once does not take the place of what it uses now.
  while (empty_bytes > most) {
    if (Span* const s = take_empty(next_emptied)) {
      release_span(s);
    } else {
      next_emptied = (next_emptied + 1) % kSizeClasses;
    }
  }
}

void MCache::release_span(Span* s) {
  s->place = SpanPlace::kNowhere;
  s->owner_tp.store(0, std::memory_order_relaxed);
  s->owner.store(nullptr, std::memory_order_release);
  heap.free(s);
}

void MCache::put_away() {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    Span* const s = current[c];
    if (s == &empty_span) continue;
    set_current(c, &empty_span);
    if (!s->has_free() && s->fully_carved()) {
      s->place = SpanPlace::kFull;
      s->countdown = 1;
      full[c].push_back(s);
      continue;
    }
    s->place = SpanPlace::kPartial;
    s->countdown = static_cast<int32_t>(s->carved - s->free_length());
    partial[c].push_back(s);
    if (s->countdown == 0) became_empty(s);
  }
}

void MCache::release_caches() {
  drain_notify(*this);
  remote.flush();
  release_empty(0);
  large.release();
  heap.flush(pages);
}

void MCache::release_all() {
  release_caches();
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    Span* const s = current[c];
    if (s != &empty_span) {
      s->place = SpanPlace::kNowhere;
      const uint32_t in_use = s->carved - s->free_length();
      if (in_use == 0) {
        release_span(s);
      } else {
        mcentral[c].put(s, in_use);
      }
    }
    set_current(c, &empty_span);
    while (Span* p = partial[c].pop_front()) mcentral[c].put(p, static_cast<uint32_t>(p->countdown));
    while (Span* f = full[c].pop_front()) mcentral[c].put(f, f->carved);
  }
}

void MCache::verify() {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    const auto check = [&](const Span* s) {
      TRI_CHECK(s->size_class == c);
      TRI_CHECK(s->owner.load(std::memory_order_relaxed) == this);
      s->verify();
    };
    if (current[c] != &empty_span) check(current[c]);
    partial[c].each(check);
    empty[c].each(check);
    full[c].each(check);
  }
}

}  // namespace tri
