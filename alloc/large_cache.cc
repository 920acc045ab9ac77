// large_cache.cc - See large_cache.h.
#include "alloc/large_cache.h"

#include "alloc/mcache.h"
#include "alloc/mheap.h"

namespace tri {

Span* LargeCache::take(size_t bytes) {
  // An eighth more than asked for is the waste that size classes have, too.
  const size_t most = bytes + bytes / 8;
  size_t best = count_;
  for (size_t i = count_; i-- != 0;) {
    const size_t have = entries_[i]->bytes;
    if (have < bytes || have > most + kPageSize) continue;
    if (best == count_ || have < entries_[best]->bytes) best = i;
  }
  if (best == count_) return nullptr;
  Span* const s = entries_[best];
  remove(best);
  s->owner.store(nullptr, std::memory_order_relaxed);
  s->place = SpanPlace::kNowhere;
  return s;
}

bool LargeCache::put(Span* s, MCache* keeper) {
  const size_t room = fair_share(kAllBytes, kMaxBytes);
  if (s->bytes > kMaxBlockBytes || s->bytes > room) return false;
  while (count_ == kEntries || bytes_ + s->bytes > room) {
    Span* const oldest = entries_[0];
    remove(0);
    evict(oldest);
  }
  s->place = SpanPlace::kCached;
  s->pointer_free = false;
  s->needs_zero = true;
  s->owner.store(keeper, std::memory_order_relaxed);
  entries_[count_++] = s;
  bytes_ += s->bytes;
  return true;
}

void LargeCache::release() {
  while (count_ != 0) {
    Span* const s = entries_[count_ - 1];
    remove(count_ - 1);
    evict(s);
  }
}

void LargeCache::remove(size_t i) {
  bytes_ -= entries_[i]->bytes;
  for (--count_; i < count_; ++i) entries_[i] = entries_[i + 1];
}

void LargeCache::evict(Span* s) {
  s->owner.store(nullptr, std::memory_order_relaxed);
  heap.free(s);
}

}  // namespace tri
