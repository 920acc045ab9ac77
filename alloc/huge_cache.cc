// huge_cache.cc - See huge_cache.h.
#include "alloc/huge_cache.h"

namespace tri {

Span* HugeCache::take(size_t bytes, size_t alignment) {
  const size_t most = bytes + bytes / 8;
  size_t best = kEntries;
  for (size_t i = count_; i-- != 0;) {
    const Span* const s = entries_[i].span;
    if (s->bytes < bytes || s->bytes > most || (reinterpret_cast<uintptr_t>(s->start) & (alignment - 1)) != 0) continue;
    if (best == kEntries || s->bytes < entries_[best].span->bytes) best = i;
  }
  return best == kEntries ? nullptr : remove(best);
}

void HugeCache::put(Span* s, int64_t now_ns) {
  TRI_ASSERT(has_room(s->bytes));
  s->place = SpanPlace::kCached;
  s->needs_zero = true;
  entries_[count_++] = {s, now_ns};
  bytes_.store(bytes_now() + s->bytes, std::memory_order_relaxed);
}

Span* HugeCache::take_older(int64_t ns) { return count_ != 0 && entries_[0].since < ns ? remove(0) : nullptr; }

Span* HugeCache::remove(size_t i) {
  Span* const s = entries_[i].span;
  for (--count_; i < count_; ++i) entries_[i] = entries_[i + 1];
  bytes_.store(bytes_now() - s->bytes, std::memory_order_relaxed);
  s->place = SpanPlace::kNowhere;
  return s;
}

}  // namespace tri
