// huge_cache.cc - See huge_cache.h.
#include "alloc/huge_cache.h"

namespace tri {

Span* HugeCache::take(size_t bytes, size_t alignment) {
  size_t best = kEntries;
  for (size_t i = count_; i-- != 0;) {
    const Span* const s = entries_[i].span;
    if (!serves(s->bytes, bytes) || (reinterpret_cast<uintptr_t>(s->start) & (alignment - 1)) != 0) continue;
    if (best == kEntries || s->bytes < entries_[best].span->bytes) best = i;
  }
  if (best != kEntries) return remove(best);
  for (size_t& gone : gone_) {
    if (!serves(gone, bytes)) continue;
    gone = 0;
    is_in_use_ = true;
    break;
  }
  return nullptr;
}

void HugeCache::note_gone(size_t bytes) {
  gone_[next_gone_] = bytes;
  next_gone_ = (next_gone_ + 1) % kEntries;
}

void HugeCache::put(Span* s, int64_t now_ns) {
  TRI_ASSERT(has_room(s->bytes));
  s->place = SpanPlace::kCached;
  s->pointer_free = false;
  s->needs_zero = true;
  entries_[count_++] = {s, now_ns};
  bytes_.store(bytes_now() + s->bytes, std::memory_order_relaxed);
}

Span* HugeCache::take_oldest() {
  if (count_ == 0) return nullptr;
  note_gone(entries_[0].span->bytes);
  return remove(0);
}

Span* HugeCache::take_older(int64_t ns) {
  if (count_ == 0 || entries_[0].since >= ns) return nullptr;
  Span* const s = take_oldest();
  if (count_ == 0) is_in_use_ = false;  // all of them in vain
  return s;
}

Span* HugeCache::remove(size_t i) {
  Span* const s = entries_[i].span;
  for (--count_; i < count_; ++i) entries_[i] = entries_[i + 1];
  bytes_.store(bytes_now() - s->bytes, std::memory_order_relaxed);
  s->place = SpanPlace::kNowhere;
  return s;
}

}  // namespace tri
