// mcache.cc - See mcache.h.
#include "alloc/mcache.h"

#include "alloc/mcentral.h"
#include "alloc/mheap.h"
#include "alloc/thread.h"

namespace tri {
namespace {

// Whole spans that a thread keeps although they are empty: enough for a program that frees and allocates the same few
// hundred KiB in turn, little enough that a thousand threads do not hoard.
constexpr size_t kMaxEmptyBytes = 1024 * 1024;
constexpr size_t kAllEmptyBytes = 16 * 1024 * 1024;

// Blocks in batches for other threads wait at most this many refills.
constexpr uint32_t kRefillsPerFlush = 16;

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
  s->check_first();
  if (s->has_free() || (s != &empty_span && s->carve())) return s;

  retire_current(size_class);
  s = partial[size_class].pop_front();
  if (s != nullptr) {
    if (s->countdown == 0) empty_bytes -= s->bytes;
  } else {
    s = mcentral[size_class].take(this, owner_tp);
    if (s == nullptr) {
      s = heap.alloc_small(size_class, pages);
      if (s != nullptr) {
        s->owner_tp.store(owner_tp, std::memory_order_relaxed);
        // release: nobody but us has seen the span; from here on a block's holder can reach it.
        s->owner.store(this, std::memory_order_release);
      }
    }
  }
  set_current(size_class, s == nullptr ? &empty_span : s);
  if (s == nullptr) return nullptr;
  s->place = SpanPlace::kCurrent;
  s->countdown = kNoCountdown;
  if (!s->has_free() && !s->carve()) TRI_CHECK(!"a span on offer has room");
  if constexpr (kVerify) s->verify();
  return s;
}

void MCache::make_partial(Span* s, uint32_t in_use) {
  full[s->size_class].remove(s);
  s->place = SpanPlace::kPartial;
  s->countdown = static_cast<int32_t>(in_use);
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
      TRI_CHECK(!"the owner's span is in one of its places");
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

void MCache::became_empty(Span* s) {
  if constexpr (kVerify) s->verify();
  if (empty_bytes + s->bytes <= fair_share(kAllEmptyBytes, kMaxEmptyBytes)) {
    empty_bytes += s->bytes;
    return;
  }
  partial[s->size_class].remove(s);
  release_span(s);
}

void MCache::release_span(Span* s) {
  s->place = SpanPlace::kNowhere;
  s->owner_tp.store(0, std::memory_order_relaxed);
  s->owner.store(nullptr, std::memory_order_release);
  heap.free(s);
}

void MCache::release_caches() {
  drain_notify(*this);
  remote.flush();
  for (auto& list : partial) {
    Span* const first = list.front();
    if (first == nullptr) continue;
    // Once around: what stays is put behind.
    for (Span* s = list.back(); s != nullptr;) {
      Span* const prev = s == first ? nullptr : s->prev;
      if (s->countdown == 0) {
        list.remove(s);
        empty_bytes -= s->bytes;
        release_span(s);
      }
      s = prev;
    }
  }
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
    full[c].each(check);
  }
}

}  // namespace tri
