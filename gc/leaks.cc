// leaks.cc - See leaks.h.
#include "gc/leaks.h"

#include <cerrno>

#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/mark_team.h"
#include "gc/marker.h"
#include "gc/own_map.h"
#include "gc/peek.h"
#include "gc/roots.h"
#include "gc/shadow.h"
#include "gc/stop.h"

namespace tri::gc {
namespace {

/// A block that is none: it was freed, and is on its way to its owner in some thread's batch, on no list yet; or a collector frees it.
bool is_no_leak(const Ref& r) {
  const Span* const s = pagemap::lookup(r.start);
  if (s->is_collected) return true;
  return s->kind == SpanKind::kSmall && s->is_link(s->load_link(r.start));
}

size_t array_bytes(size_t n) { return align_up(n * sizeof(Leak), os::page_size()); }

template <class Fn>
void each_word(const Leak& leak, Fn&& fn) {
  const auto* const words = static_cast<const uintptr_t*>(leak.block);
  for (size_t i = 0; i < leak.bytes / sizeof(uintptr_t); ++i) fn(peek(&words[i]));
}

}  // namespace

Leaks::~Leaks() {
  if (leaks_ != nullptr) unmap_own(leaks_, array_bytes(room_));
}

int Leaks::find(uintptr_t sp) {
  if (in_slow_path()) return -EAGAIN;
  // Nobody is within the allocator when the world stops, so that its lists can be read, and its locks are free.
  if (const int error = stop_world(lock_allocator, unlock_allocator); error != 0) return error;
  const int error = find_stopped(sp);
  unstopped_ = unstopped_count();
  resume_world();
  return error;
}

int Leaks::find_stopped(uintptr_t sp) {
  Roots roots;
  if (const int error = roots.find(sp); error != 0) return error;
  Shadow shadow;
  if (const int error = shadow.begin(); error != 0) return error;
  if (const int error = sleepers_.find(roots, shadow); error != 0) {
    shadow.end();
    return error;
  }
  {
    MarkTeam team(shadow, processors_for_marking());
    roots.each(
        {[](void* arg, const void* begin, const void* end) { static_cast<Marker*>(arg)->scan_roots(begin, end); },
         &team.own(), [](void*, const Sleeper&) {}});
    team.drain();
  }
  {
    Marker marker(shadow);
    sleepers_.mark(marker);
  }
  blocks_ = shadow.blocks();
  bytes_ = shadow.bytes();
  const int error = list_lost(shadow);
  if (error == 0) attribute(shadow);
  shadow.end();
  return error;
}

int Leaks::list_lost(Shadow& shadow) {
  size_t n = 0;
  shadow.each_unmarked([&](const Ref& r) { n += !is_no_leak(r); });
  if (n == 0) return 0;
  leaks_ = static_cast<Leak*>(map_own(array_bytes(n), os::page_size()));
  if (leaks_ == nullptr) return -ENOMEM;
  shadow.each_unmarked([&](const Ref& r) {
    if (is_no_leak(r)) {
      (void)r.mark();
    } else if (room_ < n) {
      leaks_[room_++] = {r.start, r.bytes, 0, 0, false};
    }
  });
  return 0;
}

void Leaks::attribute(Shadow& shadow) {
  const auto ref_of = [&](const Leak& leak) {
    Ref r;
    (void)shadow.find(reinterpret_cast<uintptr_t>(leak.block), &r);
    return r;
  };
  // Their marks are free for another use: first to say that another lost block points here.
  for (size_t i = 0; i < room_; ++i) {
    each_word(leaks_[i], [&](uintptr_t word) {
      Ref r;
      if (shadow.find(word, &r) && r.start != leaks_[i].block) (void)r.mark();
    });
  }
  for (size_t i = 0; i < room_; ++i) {
    const Ref r = ref_of(leaks_[i]);
    leaks_[i].is_direct = !r.is_marked();
    r.unmark();
  }
  // And then, to say that it was counted.
  Marker marker(shadow);
  const auto count_from = [&](Leak& leak) {
    const Ref r = ref_of(leak);
    const uint64_t blocks = marker.blocks();
    const uint64_t bytes = marker.bytes();
    (void)r.mark();
    marker.add_block(r);
    marker.drain();
    leak.indirect_blocks = marker.blocks() - blocks;
    leak.indirect_bytes = marker.bytes() - bytes;
  };
  for (size_t i = 0; i < room_; ++i) {
    if (leaks_[i].is_direct) count_from(leaks_[i]);
  }
  // What is left is in a circle, or hangs on one.
  for (size_t i = 0; i < room_; ++i) {
    if (ref_of(leaks_[i]).is_marked()) continue;
    leaks_[i].is_direct = true;
    count_from(leaks_[i]);
  }
  for (size_t i = 0; i < room_; ++i) {
    const Leak leak = leaks_[i];
    if (!leak.is_direct) continue;
    leaks_[direct_++] = leak;
    direct_bytes_ += leak.bytes;
    indirect_ += leak.indirect_blocks;
    indirect_bytes_ += leak.indirect_bytes;
  }
}

}  // namespace tri::gc
