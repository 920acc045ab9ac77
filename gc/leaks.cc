// leaks.cc - See leaks.h.
#include "gc/leaks.h"

#include <atomic>
#include <cerrno>

#include "alloc/held.h"
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
#include "gc/worker.h"

namespace tri::gc {
namespace {

/// A block that is none: it was freed, and is on its way to its owner in some thread's batch, on no list yet; or it is held; or a collector frees it.
bool is_no_leak(const Ref& r) {
  if (held::is_held(r.start)) return true;
  const Span* const s = pagemap::lookup(r.start);
  if (s->is_collected) return true;
  return s->kind == SpanKind::kSmall && s->is_link(s->load_link(r.start));
}

// A larger block is scanned once, not twice.
constexpr size_t kQuickLook = 512;

size_t array_bytes(size_t n) { return align_up(n * sizeof(Leak), os::page_size()); }

/// The slots that the words of a leak lead to, but for its own. None if it holds no pointers, whatever its words look like.
template <class Fn>
void each_target(const Shadow& shadow, const Leak& leak, Fn&& fn) {
  Shadow::Slot own = 0;
  if (!shadow.find_slot(reinterpret_cast<uintptr_t>(leak.block), &own) || (own & Shadow::kPointerFree) != 0) return;
  const auto* const words = static_cast<const uintptr_t*>(leak.block);
  for (size_t i = 0; i < leak.bytes / sizeof(uintptr_t); ++i) {
    Shadow::Slot slot;
    if (shadow.find_slot(peek(&words[i]), &slot) && slot != own) fn(slot);
  }
}

/// Makes marks whose units are on their way to the cache: of blocks in random order each would be a miss.
class LaterMarks {
 public:
  explicit LaterMarks(const Shadow& shadow) : shadow_(shadow) {}
  ~LaterMarks() {
    while (count_ != 0) settle(at_[--count_ % kAhead]);
  }
  LaterMarks(const LaterMarks&) = delete;
  LaterMarks& operator=(const LaterMarks&) = delete;

  void add(Shadow::Slot slot) {
    __builtin_prefetch(shadow_.unit(Shadow::unit_of(slot)), 1);
    if (count_ >= kAhead) settle(at_[next_]);
    at_[next_] = slot;
    next_ = (next_ + 1) % kAhead;
    if (count_ < kAhead) ++count_;
  }

 private:
  static constexpr size_t kAhead = 32;  // as many misses as a processor has under way, and then some

  void settle(Shadow::Slot slot) const {
    MarkWord& word = shadow_.unit(Shadow::unit_of(slot))->marks;
    const uint64_t bit = Shadow::bit_of(slot);
    if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
  }

  const Shadow& shadow_;
  Shadow::Slot at_[kAhead];
  size_t next_ = 0;
  size_t count_ = 0;
};

/// Calls fn(first, end) for pieces of [0, n), from all processors.
template <class Fn>
void in_parallel(size_t n, Fn& fn) {
  struct Job {
    Fn& fn;
    size_t n;
    std::atomic<size_t> next{0};
    void run() {
      constexpr size_t kPiece = 16 * 1024;
      for (size_t at; (at = next.fetch_add(kPiece, std::memory_order_relaxed)) < n;) {
        fn(at, n - at < kPiece ? n : at + kPiece);
      }
    }
  } job{fn, n};
  Workers workers;
  // One that did not start is none: whoever is there does it all.
  const unsigned others = n < 100'000 ? 0 : processors_for_marking() - 1;
  if (others != 0)
    (void)workers.start(
        others, [](void* j, unsigned) { static_cast<Job*>(j)->run(); }, &job);
  job.run();
  workers.join();
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
  const auto mark_targets = [&](size_t first, size_t end) {
    LaterMarks marks(shadow);
    for (size_t i = first; i < end; ++i) {
      each_target(shadow, leaks_[i], [&](Shadow::Slot slot) { marks.add(slot); });
    }
  };
  in_parallel(room_, mark_targets);
  const auto look = [&](size_t first, size_t end) {
    for (size_t i = first; i < end; ++i) {
      const Ref r = ref_of(leaks_[i]);
      leaks_[i].is_direct = !r.is_marked();
      r.unmark();
    }
  };
  in_parallel(room_, look);
  // And then, to say that it was counted.
  Marker marker(shadow);
  const auto count_from = [&](Leak& leak) {
    const Ref r = ref_of(leak);
    // Many leaks lead nowhere: those need no marker.
    bool leads_on = leak.bytes > kQuickLook;
    if (!leads_on) {
      each_target(shadow, leak, [&](Shadow::Slot slot) {
        leads_on = leads_on || (shadow.unit(Shadow::unit_of(slot))->marks.load(std::memory_order_relaxed) &
                                Shadow::bit_of(slot)) == 0;
      });
    }
    if (!leads_on) {
      (void)r.mark();
      return;
    }
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
