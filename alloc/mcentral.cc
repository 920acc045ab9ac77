// mcentral.cc - See mcentral.h.
#include "alloc/mcentral.h"

#include "alloc/mheap.h"

namespace tri {

constinit MCentral mcentral[kSizeClasses];

Span* MCentral::take(MCache* owner, uintptr_t owner_tp) {
  if (spans() == 0) return nullptr;
  LockGuard guard(lock_);
  Span* const s = partial_.pop_front();
  if (s == nullptr) return nullptr;
  spans_.store(spans() - 1, std::memory_order_relaxed);
  s->place = SpanPlace::kNowhere;
  s->owner_tp.store(owner_tp, std::memory_order_relaxed);
  // release: who sees the new owner sees the span as its old owner left it.
  s->owner.store(owner, std::memory_order_release);
  return s;
}

void MCentral::put(Span* s, uint32_t in_use) {
  TRI_ASSERT(in_use != 0);
  LockGuard guard(lock_);
  s->countdown = static_cast<int32_t>(in_use);
  s->owner_tp.store(0, std::memory_order_relaxed);
  s->owner.store(nullptr, std::memory_order_release);
  spans_.store(spans() + 1, std::memory_order_relaxed);
  if (!s->has_free() && s->fully_carved()) {
    s->place = SpanPlace::kFull;
  } else {
    s->place = SpanPlace::kPartial;
    partial_.push_back(s);
  }
}

bool MCentral::add_free(Span* s, const RemoteChain& chain) {
  s->splice(chain);
  s->countdown -= chain.count;
  TRI_CHECK(s->countdown >= 0);
  if (s->countdown == 0) {
    if (s->place == SpanPlace::kPartial) partial_.remove(s);
    s->place = SpanPlace::kNowhere;
    spans_.store(spans() - 1, std::memory_order_relaxed);
    return true;
  }
  if (s->place == SpanPlace::kFull) {
    s->place = SpanPlace::kPartial;
    partial_.push_back(s);
  }
  return false;
}

bool MCentral::free_chain(Span* s, const RemoteChain& chain) {
  bool is_empty;
  {
    LockGuard guard(lock_);
    if (s->owner.load(std::memory_order_relaxed) != nullptr) return false;
    is_empty = add_free(s, chain);
  }
  if (is_empty) heap.free(s);
  return true;
}

bool MCentral::collect_remote(Span* s) {
  bool is_empty;
  {
    LockGuard guard(lock_);
    if (s->owner.load(std::memory_order_relaxed) != nullptr) return false;
    // acquire and release: as in collect() of remote_free.cc.
    const RemoteChain chain = s->remote.exchange({}, std::memory_order_acq_rel);
    if (chain.count == 0) return true;
    if (chain.is_hollow()) {
      // It was full when its owner left it, and so is on no list.
      spans_.store(spans() - 1, std::memory_order_relaxed);
      heap.drop_hollow(s);
      return true;
    }
    is_empty = add_free(s, chain);
  }
  if (is_empty) heap.free(s);
  return true;
}

}  // namespace tri
