// sleepers.cc - See sleepers.h.
#include "gc/sleepers.h"

#include <algorithm>
#include <cerrno>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"
#include "gc/own_map.h"

namespace tri::gc {
namespace {

void ignore(void*, const void*, const void*) {}

}  // namespace

Sleepers::~Sleepers() {
  unmap_own_array(sleepers_, room_);
  unmap_own_array(stacks_, room_);
}

int Sleepers::find(const Roots& roots, Shadow& shadow) {
  size_t n = 0;
  roots.each_other({ignore, &n, [](void* arg, const Sleeper&) { ++*static_cast<size_t*>(arg); }});
  if (n == 0) return 0;
  room_ = n;
  sleepers_ = map_own_array<Sleeper>(n);
  stacks_ = map_own_array<Shadow::Outside>(n);
  if (sleepers_ == nullptr || stacks_ == nullptr) return -ENOMEM;
  roots.each_other({ignore, this, [](void* arg, const Sleeper& s) {
                      auto* const self = static_cast<Sleepers*>(arg);
                      if (self->count_ < self->room_) self->sleepers_[self->count_++] = s;
                    }});
  std::sort(sleepers_, sleepers_ + count_, [](const Sleeper& a, const Sleeper& b) { return a.stack < b.stack; });
  for (size_t i = 0; i < count_; ++i) {
    ::new (&stacks_[i]) Shadow::Outside{
        reinterpret_cast<uintptr_t>(sleepers_[i].stack), reinterpret_cast<uintptr_t>(sleepers_[i].stack_end), {}};
  }
  shadow.add_outside(stacks_, count_);
  return 0;
}

void Sleepers::scan(Marker& marker, size_t i) const {
  const Sleeper& s = sleepers_[i];
  marker.scan_roots(s.record, s.record_end);
  // Once more: it may have been marked when there was no memory to remember that it is to be scanned.
  marker.scan_roots(s.stack, s.stack_end);
}

void Sleepers::mark(Marker& marker) {
  // [0, lost) are still asleep. A round ends with nobody new only if the round before woke the last.
  size_t lost = count_;
  const auto is_marked = [this](const Sleeper& s) {
    const auto* const o = std::lower_bound(stacks_, stacks_ + count_, reinterpret_cast<uintptr_t>(s.stack),
                                           [](const Shadow::Outside& r, uintptr_t p) { return r.begin < p; });
    return o->is_reached();
  };
  for (size_t before = lost + 1; lost != before;) {
    before = lost;
    lost = static_cast<size_t>(
        std::partition(sleepers_, sleepers_ + lost, [&](const Sleeper& s) { return !is_marked(s); }) - sleepers_);
    for (size_t i = lost; i < before; ++i) scan(marker, i);
    if (lost != before) marker.drain();
  }
  lost_ = lost;
  const uint64_t blocks = marker.blocks();
  const uint64_t bytes = marker.bytes();
  // They are what is reported, so what leads into their stacks counts for nothing more.
  for (size_t i = 0; i < count_; ++i) stacks_[i].unit.marks.store(1, std::memory_order_relaxed);
  for (size_t i = 0; i < lost; ++i) scan(marker, i);
  marker.drain();
  held_blocks_ = marker.blocks() - blocks;
  held_bytes_ = marker.bytes() - bytes;
}

}  // namespace tri::gc
