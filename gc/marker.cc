// marker.cc - See marker.h.
#include "gc/marker.h"

#include "alloc/os/os.h"
#include "gc/peek.h"

namespace tri::gc {

Marker::~Marker() {
  while (top_ != nullptr) {
    Chunk* const below = top_->below;
    os::unmap(top_, kChunkBytes);
    top_ = below;
  }
  if (spare_ != nullptr) os::unmap(spare_, kChunkBytes);
}

// ---- words --------------------------------------------------------------------------------------------------------

/// What is done about a candidate when its mark has come.
[[gnu::always_inline]] inline void Marker::settle(const Ref& r) {
  if (!r.mark()) return;
  ++blocks_;
  bytes_ += r.bytes;
  __builtin_prefetch(r.start);
  // Of a block of several lines the first two are most that a prefetch can help with: the processor sees the rest coming.
  if (r.bytes > 64) __builtin_prefetch(r.start + 64);
  push(r.start, r.bytes);
}

[[gnu::always_inline]] inline void Marker::candidate(uintptr_t word) {
  Ref r;
  if (!shadow_.find(word, &r)) return;
  __builtin_prefetch(r.word, 1);
  Ref& slot = candidates_[candidate_at_++ % kRing];
  const Ref before = slot;
  slot = r;
  if (TRI_LIKELY(before.start != nullptr)) settle(before);
}

void Marker::flush_candidates() {
  for (size_t i = 0; i < kRing; ++i) {
    Ref& slot = candidates_[candidate_at_++ % kRing];
    const Ref before = slot;
    slot = Ref();
    if (before.start != nullptr) settle(before);
  }
}

void Marker::scan(const char* begin, size_t bytes) {
  const auto* const words = reinterpret_cast<const uintptr_t*>(begin);
  const size_t n = bytes / sizeof(uintptr_t);
  for (size_t i = 0; i < n; ++i) candidate(peek(&words[i]));
}

void Marker::add_roots(const void* begin, const void* end) {
  const uintptr_t first = align_up(reinterpret_cast<uintptr_t>(begin), sizeof(uintptr_t));
  const uintptr_t last = align_down(reinterpret_cast<uintptr_t>(end), sizeof(uintptr_t));
  const auto* const at = reinterpret_cast<const char*>(first);
  // No rescan would find what is not a block.
  if (first < last && !push_stack({at, last - first})) scan(at, last - first);
}

void Marker::scan_roots(const void* begin, const void* end) {
  const uintptr_t first = align_up(reinterpret_cast<uintptr_t>(begin), sizeof(uintptr_t));
  const uintptr_t last = align_down(reinterpret_cast<uintptr_t>(end), sizeof(uintptr_t));
  if (first < last) scan(reinterpret_cast<const char*>(first), last - first);
}

// ---- what is to be scanned ----------------------------------------------------------------------------------------

[[gnu::always_inline]] inline void Marker::push(const char* begin, size_t bytes) {
  if (TRI_LIKELY(ready_tail_ - ready_head_ < kRing)) {
    ready_[ready_tail_++ % kRing] = {begin, bytes};
  } else if (TRI_UNLIKELY(!push_stack({begin, bytes}))) {
    overflowed_ = true;  // the block is marked: the next scan of the heap finds it
  }
}

inline bool Marker::push_stack(Piece piece) {
  if (TRI_UNLIKELY(top_ == nullptr || in_top_ == kPerChunk)) {
    Chunk* chunk = spare_;
    spare_ = nullptr;
    if (chunk == nullptr) chunk = static_cast<Chunk*>(os::map(kChunkBytes, os::page_size()));
    if (chunk == nullptr) return false;
    chunk->below = top_;
    top_ = chunk;
    in_top_ = 0;
  }
  top_->pieces[in_top_++] = piece;
  return true;
}

inline bool Marker::pop_stack(Piece* out) {
  if (top_ == nullptr) return false;
  *out = top_->pieces[--in_top_];
  if (in_top_ == 0) {
    Chunk* const empty = top_;
    top_ = empty->below;
    in_top_ = kPerChunk;
    if (spare_ != nullptr) os::unmap(spare_, kChunkBytes);
    spare_ = empty;
  }
  return true;
}

/// The piece that has been on its way for longest; its place is taken by one from the stack.
inline bool Marker::pop(Piece* out) {
  Piece next;
  while (ready_tail_ - ready_head_ < kRing && pop_stack(&next)) {
    __builtin_prefetch(next.begin);
    ready_[ready_tail_++ % kRing] = next;
  }
  if (ready_head_ == ready_tail_) return false;
  *out = ready_[ready_head_++ % kRing];
  return true;
}

void Marker::drain() {
  for (;;) {
    Piece piece;
    while (pop(&piece)) {
      if (TRI_UNLIKELY(piece.bytes > kMaxPiece) && push_stack({piece.begin + kMaxPiece, piece.bytes - kMaxPiece})) {
        piece.bytes = kMaxPiece;
      }
      scan(piece.begin, piece.bytes);
    }
    flush_candidates();
    if (ready_head_ != ready_tail_ || top_ != nullptr) continue;
    if (!overflowed_) return;
    // Each time at least a stackful of blocks is scanned that was not before, or there was memory this time.
    overflowed_ = false;
    ++rescans_;
    shadow_.each_marked([this](const Ref& r) {
      scan(r.start, r.bytes);
      Piece next;
      while (pop(&next)) scan(next.begin, next.bytes);
    });
  }
}

}  // namespace tri::gc
