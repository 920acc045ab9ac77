// remote_free.cc - See remote_free.h.
#include "alloc/remote_free.h"

#include "alloc/base/bits.h"
#include "alloc/mcentral.h"
#include "alloc/mheap.h"
#include "alloc/thread.h"

namespace tri {
namespace {

// An owner with more than this waiting for it does not collect at the moment: spans that become wholly free there are hollowed out.
constexpr size_t kMaxUncollected = 256 * 1024;

/// Brings the token of span s (see span.h) to its owner.
void notify(MCache* owner, Span* s) {
  owner->uncollected.fetch_add(class_span_pages(s->size_class) * kPageSize, std::memory_order_relaxed);
  owner->notify.push(s);
  // The owner may have ended, and looked at its stack for the last time, before the push. Both this load and the push
  // are seq_cst, as are the owner's store and its last look: one of us sees the other.
  if (!thread_of(owner)->alive.load(std::memory_order_seq_cst)) drain_notify(*owner);
}

/// Takes in what waits at span s, whose token the caller holds. `me` is the caller's mcache, or null.
void collect(MCache* me, Span* s) {
  for (;;) {
    // acquire: pairs with mcentral's and refill()'s release.
    MCache* const owner = s->owner.load(std::memory_order_acquire);
    if (owner == nullptr) {
      if (mcentral[s->size_class].collect_remote(s)) return;
      continue;
    }
    if (owner != me) return notify(owner, s);
    // acquire: pairs with the release in post(); the links of the chain are read next. release: pairs with the acquire
    // in post(), whose thread may push the span again, and write the link that drain_notify() has read.
    const RemoteChain chain = s->remote.exchange({}, std::memory_order_acq_rel);
    if (chain.count == 0) return;
    if (chain.is_hollow()) return me->became_hollow(s);
    s->splice(chain);
    return me->blocks_returned(s, chain.count);
  }
}

}  // namespace

void drain_notify(MCache& mcache) {
  Span* s = mcache.notify.take_all();
  if (s == nullptr) return;
  mcache.uncollected.store(0, std::memory_order_relaxed);
  MCache* const me = &mcache == current_mcache() ? &mcache : nullptr;
  while (s != nullptr) {
    // Before the chain is emptied: from then on the next freer may push the span again.
    Span* const next = s->notify_next;
    collect(me, s);
    s = next;
  }
}

void post_chain(Span* s, uint32_t head, uint32_t tail, uint32_t posted) {
  for (;;) {
    MCache* const owner = s->owner.load(std::memory_order_acquire);
    if (owner == nullptr) {
      if (mcentral[s->size_class].free_chain(s, RemoteChain::make(head, tail, posted))) return;
      continue;
    }
    const bool sleeps = owner->uncollected.load(std::memory_order_relaxed) > kMaxUncollected;
    RemoteChain chain = s->remote.load(std::memory_order_relaxed);
    for (;;) {
      s->store_link(s->block_at(tail), chain.head());
      const uint32_t count = chain.count + posted;
      const RemoteChain longer = RemoteChain::make(head, chain.count == 0 ? tail : chain.tail(), count);
      if (TRI_UNLIKELY(sleeps) && count == s->capacity()) {
        if (heap.hollow_out(s, chain)) break;
        chain = s->remote.load(std::memory_order_relaxed);
        continue;
      }
      // release: pairs with the acquire of who empties the chain; acquire: with its release.
      if (s->remote.compare_exchange_weak(chain, longer, std::memory_order_acq_rel, std::memory_order_relaxed)) break;
    }
    // With the token out, the owner may have dropped the span's record already.
    if (chain.count == 0) notify(owner, s);
    return;
  }
}

void RemoteBatches::post(Batch& batch) {
  Span* const s = batch.span;
  batch.span = nullptr;
  post_chain(s, batch.head, batch.tail, batch.count);
}

void RemoteBatches::add(Span* s, uint64_t offset) {
  Batch& batch = batches_[(reinterpret_cast<uintptr_t>(s) / sizeof(Span)) % kBatches];
  if (batch.span != s) {
    if (batch.span != nullptr) post(batch);
    batch = {s, static_cast<uint32_t>(kNil), static_cast<uint32_t>(offset), 0};
    any_ = true;
  }
  s->store_link(s->block_at(offset), batch.head);
  batch.head = static_cast<uint32_t>(offset);
  ++batch.count;
  if (batch.count >= kMaxBlocks || batch.count * s->size >= kMaxBytes) post(batch);
}

void RemoteBatches::flush() {
  if (!any_) return;
  any_ = false;
  for (Batch& batch : batches_) {
    if (batch.span != nullptr) post(batch);
  }
}

}  // namespace tri
