// sweep.cc - What was not marked becomes free. See heap.h.
#include <bit>

#include "alloc/mheap.h"
#include "alloc/thread.h"
#include "gc/heap.h"

namespace tri::gc {
namespace {

// Spans that the background sweeps before it lets others have the lock.
constexpr int kBatch = 32;

}  // namespace

void Heap::note_collected(uint64_t blocks, uint64_t bytes) {
  if (blocks == 0) return;
  collected_blocks_.fetch_add(blocks, std::memory_order_relaxed);
  collected_bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

// ---- the world stands still -------------------------------------------------------------------------------------------

void Heap::begin_marking(void (*on_current)(void* arg, const Span* s), void* arg) {
  on_current_ = on_current;
  on_current_arg_ = arg;
  ++cycle_;
  marking_ = true;
}

void Heap::abandon_marking() {
  if (!marking_) return;
  marking_ = false;
  on_current_ = nullptr;
}

void Heap::abandon_marking_running() {
  for (Central& central : centrals_) central.lock.lock();
  abandon_marking();
  for (Central& central : centrals_) central.lock.unlock();
}

void Heap::end_marking(Shadow& shadow) {
  kept_ = shadow;
  shadow = Shadow();
  kept_.add_outside(nullptr, 0);
  swept_.store(false, std::memory_order_release);
  marking_ = false;
  on_current_ = nullptr;
  epoch_ = cycle_;
  for (Central& central : centrals_) {
    central.unswept.append(central.partial);
    central.unswept.append(central.full);
  }
  for (Cache* c = all_; c != nullptr; c = c->next_all) {
    for (unsigned k = 0; k < kKinds; ++k) {
      CollectedSpan* const s = c->current[k];
      if (s == nullptr || s->owner == nullptr || s->swept == epoch_) continue;
      // What is left of its run is not handed out yet, marked or not.
      size_t begin, end;
      s->unused(&begin, &end);
      const MarkUnit* const units = kept_.units_of(s->span);
      uint64_t blocks = 0;
      for (size_t i = 0; units != nullptr && i < s->words; ++i) {
        const uint64_t before = s->freed()[i].load(std::memory_order_relaxed);
        const uint64_t dead = s->in_use()[i].load(std::memory_order_relaxed) & ~before &
                              ~units[i].marks.load(std::memory_order_relaxed) & ~CollectedSpan::mask_of(i, begin, end);
        s->freed()[i].store(before | dead, std::memory_order_relaxed);
        blocks += static_cast<uint64_t>(std::popcount(dead));
      }
      note_collected(blocks, blocks * s->span->size);
      s->swept = epoch_;
    }
  }
}

// ---- the world runs ---------------------------------------------------------------------------------------------------

void Heap::take_freed(CollectedSpan* s) {
  for (size_t i = 0; i < s->words; ++i) {
    const uint64_t freed = s->freed()[i].load(std::memory_order_relaxed);
    if (freed == 0) continue;
    s->freed()[i].store(0, std::memory_order_relaxed);
    s->in_use()[i].fetch_and(~freed, std::memory_order_relaxed);
  }
}

/// A span of no list, which nobody allocates from.
void Heap::sweep(CollectedSpan* s) {
  take_freed(s);
  if (s->swept == epoch_) return;
  s->swept = epoch_;
  const MarkUnit* const units = kept_.units_of(s->span);
  if (units == nullptr) return;
  uint64_t blocks = 0;
  for (size_t i = 0; i < s->words; ++i) {
    const uint64_t before = s->in_use()[i].load(std::memory_order_relaxed);
    const uint64_t after = before & units[i].marks.load(std::memory_order_relaxed);
    s->in_use()[i].store(after, std::memory_order_relaxed);
    blocks += static_cast<uint64_t>(std::popcount(before ^ after));
  }
  note_collected(blocks, blocks * s->span->size);
}

/// The same; false if it is gone.
bool Heap::sweep_large(Central& central, CollectedSpan* s) {
  bool dead = s->is_freed;
  if (!dead && s->swept != epoch_) {
    const MarkUnit* const units = kept_.units_of(s->span);
    dead = units != nullptr && (units[0].marks.load(std::memory_order_relaxed) & 1) == 0;
    if (dead) note_collected(1, s->span->bytes);
  }
  s->swept = epoch_;
  if (dead) release(central, s);
  return !dead;
}

void Heap::sweep_all() {
  if (is_swept()) return;
  for (unsigned k = 0; k <= kLarge; ++k) {
    Central& central = centrals_[k];
    for (bool more = true; more;) {
      CollectedGuard guard(central.lock);
      for (int i = 0; more && i < kBatch; ++i) {
        CollectedSpan* const s = central.unswept.pop_front();
        more = s != nullptr;
        if (!more) break;
        if (k != kLarge) {
          sweep(s);
          put(central, s);
        } else if (sweep_large(central, s)) {
          s->listed = epoch_;
          central.full.push_back(s);
        }
      }
    }
  }
  kept_.end();
  swept_.store(true, std::memory_order_release);
}

// ---- fork, and checks ---------------------------------------------------------------------------------------------------

void Heap::reset_after_fork() {
  // The parent's marking is none of ours.
  abandon_marking();
  idle_ = nullptr;
  for (Cache* c = all_; c != nullptr; c = c->next_all) {
    if (c == tls_cache) continue;
    for (unsigned k = 0; k < kKinds; ++k) {
      c->runs[k].next.store(nullptr, std::memory_order_relaxed);
      c->runs[k].end.store(nullptr, std::memory_order_relaxed);
      CollectedSpan* const s = c->current[k];
      c->current[k] = nullptr;
      if (s == nullptr) continue;
      // Its thread went on allocating while the memory was copied, so the copy may be a mix of moments. What is not in use the next cycle finds.
      for (size_t i = 0; i < s->words; ++i) s->in_use()[i].store(s->valid(i), std::memory_order_relaxed);
      s->owner = nullptr;
      s->run.store(0, std::memory_order_relaxed);
      s->needs_zero = true;
      s->span->place = SpanPlace::kFull;
      s->listed = epoch_;
      centrals_[k].full.push_back(s);
    }
    c->next_idle = idle_;
    idle_ = c;
  }
}

void Heap::verify() {
  for (unsigned k = 0; k < kKinds; ++k) {
    Central& central = centrals_[k];
    CollectedGuard guard(central.lock);
    const auto check = [&](const CollectedSpan* s) {
      TRI_CHECK(s->span->collected == s);
      TRI_CHECK(s->span->kind == SpanKind::kCollected);
      TRI_CHECK(kind_of(s->span) == k);
      TRI_CHECK(s->owner == nullptr);
      size_t free = 0;
      s->each_free([&](size_t, uint64_t bits) { free += static_cast<size_t>(std::popcount(bits)); });
      if (s->listed != epoch_) return;
      TRI_CHECK((free == 0) == (s->span->place == SpanPlace::kFull));
      TRI_CHECK(free != s->span->capacity());
    };
    central.partial.each(check);
    central.full.each(check);
    central.unswept.each(check);
  }
}

}  // namespace tri::gc
