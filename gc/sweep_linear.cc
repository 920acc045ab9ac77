// sweep_linear.cc - See sweep_linear.h.
#include "gc/sweep_linear.h"

#include <atomic>
#include <bit>

#include "alloc/held.h"
#include "alloc/mheap.h"
#include "gc/peek.h"
#include "word_filter.h"

namespace tri::gc {
namespace {

constexpr size_t kWord = sizeof(uintptr_t);
// Of larger blocks the kernel is asked which pages hold anything: a call for each run of pages, which costs as much as reading some of them.
constexpr size_t kSparse = 256 * 1024;

// Asking the processor takes long. Two threads may ask at once.
constinit std::atomic<WordFilter> filter{nullptr};
constinit std::atomic<bool> chosen{false};

WordFilter get_filter() {
  if (!chosen.load(std::memory_order_acquire)) {
    filter.store(choose_word_filter(), std::memory_order_relaxed);
    chosen.store(true, std::memory_order_release);
  }
  return filter.load(std::memory_order_relaxed);
}

}  // namespace

LinearSweep::LinearSweep() { held::hull(&begin_, &bytes_); }

void LinearSweep::scan(const void* from, const void* to) const {
  const auto* word = reinterpret_cast<const uintptr_t*>(align_up(reinterpret_cast<uintptr_t>(from), kWord));
  const auto* const end = reinterpret_cast<const uintptr_t*>(align_down(reinterpret_cast<uintptr_t>(to), kWord));
  if (bytes_ == 0 || word >= end) return;
  if (const WordFilter find = get_filter()) {
    for (; end - word >= 64; word += 64) {
      for (uint64_t found = find(word, begin_, bytes_); found != 0; found &= found - 1) {
        held::reach(peek(word + std::countr_zero(found)));
      }
    }
  }
  for (; word < end; ++word) {
    const uintptr_t w = peek(word);
    if (w - begin_ < bytes_) held::reach(w);
  }
}

size_t LinearSweep::scan_heap(Roots& roots) const {
  size_t sum = 0;
  const auto take = [&](const char* from, const char* to) {
    scan(from, to);
    sum += static_cast<size_t>(to - from);
  };
  Span* held_large = nullptr;
  heap.each_span([&](Span* s) {
    if (s->pointer_free || s->kind == SpanKind::kNone || s->place == SpanPlace::kCached) return;
    if (s->kind == SpanKind::kSmall) {
      if (held::holds_all(s)) return;
      roots.each_readable(s->origin + s->size, s->origin + (size_t{s->carved} + 1) * s->size, false, take);
    } else if (!held::is_held(s->start)) {
      roots.each_readable(s->start, s->end(), s->bytes >= kSparse, take);
    } else {
      s->notify_next = held_large;  // which large ones have no use for
      held_large = s;
    }
  });
  // What a held block points to that may itself be used: its contents are as they were. Until none is found any more.
  for (bool found = true; found;) {
    found = false;
    for (Span** s = &held_large; *s != nullptr;) {
      Span* const large = *s;
      if (!held::is_reached(large->start, large->bytes)) {
        s = &large->notify_next;
        continue;
      }
      *s = large->notify_next;
      roots.each_readable(large->start, large->end(), large->bytes >= kSparse, take);
      found = true;
    }
  }
  return sum;
}

}  // namespace tri::gc
