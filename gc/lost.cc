// lost.cc - See lost.h.
#include "gc/lost.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "alloc/held.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "gc/own_map.h"
#include "gc/peek.h"
#include "gc/worker.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

// What one thread follows of a circle before others help, or before it gives up that others do the same.
constexpr size_t kFewBlocks = 64 * 1024;
constexpr size_t kHugePage = size_t{2} << 20;
// As many misses as a processor has under way, and then some.
constexpr size_t kAhead = 32;

/// Places of a ring of things that wait for their memory to come.
template <class T>
class Ring {
 public:
  bool is_full() const { return tail_ - head_ == kAhead; }
  bool empty() const { return tail_ == head_; }
  T& front() { return items_[head_ % kAhead]; }
  void drop() { ++head_; }
  void put(const T& t) { items_[tail_++ % kAhead] = t; }
  void clear() { head_ = tail_; }

 private:
  T items_[kAhead];
  size_t head_ = 0;  // both count up
  size_t tail_ = 0;
};

/// Calls fn(slot) for what the words of a block lead to.
template <class Fn>
[[gnu::always_inline]] inline void each_target(const Shadow& shadow, const char* block, size_t bytes, Fn&& fn) {
  const auto* const words = reinterpret_cast<const uintptr_t*>(block);
  for (size_t i = 0; i < bytes / sizeof(uintptr_t); ++i) {
    Shadow::Slot slot;
    if (shadow.find_slot(peek(&words[i]), &slot)) fn(slot);
  }
}

/// fn(index) on this thread with index 0, and on `others` more where there are any.
template <class Fn>
void on_threads(unsigned others, Fn& fn) {
  Workers workers;
  // One that did not start is none: whoever is there does it all.
  if (others != 0) {
    (void)workers.start(
        others, [](void* f, unsigned i) { (*static_cast<Fn*>(f))(i + 1); }, &fn);
  }
  fn(0U);
  workers.join();
}

}  // namespace

// ---- one thread's way along references ----------------------------------------------------------------------------------

class LostFollower {
 public:
  LostFollower(LostBlocks& lost, MarkQueue& queue) : lost_(lost), shadow_(lost.shadow_), queue_(queue) {}
  ~LostFollower() {
    if (in_ != nullptr) queue_.put_empty(in_);
    if (out_ != nullptr) queue_.put_empty(out_);
  }
  LostFollower(const LostFollower&) = delete;
  LostFollower& operator=(const LostFollower&) = delete;

  void scan(const char* block, size_t bytes, uint32_t label) {
    each_target(
        shadow_, block, bytes, [&](Shadow::Slot target) __attribute__((always_inline)) {
          __builtin_prefetch(shadow_.unit(Shadow::unit_of(target)), 1);
          if (targets_.is_full()) look_at_next_target();
          targets_.put({target, label});
        });
  }

  /// Follows what was scanned so far, by itself. False if that is more than about `most` blocks.
  bool follow(size_t most) {
    const size_t end = scanned_ + most;
    for (;;) {
      Work w;
      while (pop(&w)) {
        visit(w.at);
        if (scanned_ > end) return false;
      }
      flush();
      if (out_ == nullptr || out_->empty()) return true;
    }
  }

  /// Together with all others of the queue: what they have, and what more(*this) scans until it is false.
  template <class Fn>
  void follow_together(Fn&& more) {
    // The more is known of units, the more of them is followed at once.
    while (more(*this)) {
    }
    for (;;) {
      Work w;
      while (pop(&w)) {
        visit(w.at);
        if (TRI_UNLIKELY(queue_.wants_work())) share();
      }
      flush();
      if (out_ != nullptr && !out_->empty()) continue;
      if (in_ != nullptr) queue_.put_empty(in_);
      in_ = nullptr;
      if (queue_.take(&in_) == MarkQueue::Next::kOver) return;
    }
  }

  /// Forgets what it has not followed.
  void give_up() {
    targets_.clear();
    unclaimed_.clear();
    claims_.clear();
    ready_.clear();
    if (in_ != nullptr) in_->begin = in_->end;
    if (out_ != nullptr) out_->begin = out_->end = 0;
    while (queue_.try_take(&spare_)) queue_.put_empty(spare_);
  }

 private:
  struct Target {
    Shadow::Slot slot;
    uint32_t label;
  };
  struct Block {
    const char* begin;
    size_t bytes;
    size_t number;
  };
  static constexpr uint32_t kUnitsAhead = 8;
  static constexpr uint32_t kWorthSharing = 4;

  /// Its unit is there: is it lost, and nobody's yet?
  [[gnu::always_inline]] inline void look_at_next_target() {
    const Target t = targets_.front();
    targets_.drop();
    const Shadow::Unit unit = Shadow::unit_of(t.slot);
    MarkUnit& u = *shadow_.unit(unit);
    const uint64_t bit = Shadow::bit_of(t.slot);
    if (((u.marks.load(std::memory_order_relaxed) | u.grey.load(std::memory_order_relaxed)) & bit) != 0) {
      // It is known to be no leak, or somebody's. With direct leaks it does not matter whose.
      if (TRI_UNLIKELY(t.label > lost_.direct_) && (lost_.unit_info(unit).lost & bit) != 0) meet(t);
      return;
    }
    __builtin_prefetch(&lost_.unit_info(unit));
    if (unclaimed_.is_full()) number_next();
    unclaimed_.put(t);
  }
  /// What is known of its unit is there.
  [[gnu::always_inline]] inline void number_next() {
    const Target t = unclaimed_.front();
    unclaimed_.drop();
    __builtin_prefetch(&lost_.labels_[lost_.number_of(t.slot)], 1);
    if (claims_.is_full()) settle_next_claim();
    claims_.put(t);
  }
  /// Its label is there. Of several threads one may see a bit in neither word, while another moves it from one to the other: the label decides.
  [[gnu::always_inline]] inline void settle_next_claim() {
    const Target t = claims_.front();
    claims_.drop();
    if (!lost_.claim(t.slot, t.label)) {
      if (t.label > lost_.direct_) meet(t);
      return;
    }
    const Shadow::Unit unit = Shadow::unit_of(t.slot);
    if (shadow_.unit(unit)->grey.fetch_or(Shadow::bit_of(t.slot), std::memory_order_relaxed) == 0) push(unit);
  }
  /// Somebody was there before.
  void meet(const Target& t) {
    const uint32_t owner = lost_.label_of(lost_.number_of(t.slot));
    if (owner == t.label || owner <= lost_.direct_) return;
    lost_.taken_back(owner).store(1, std::memory_order_relaxed);
    lost_.taken_back(t.label).store(1, std::memory_order_relaxed);
    lost_.met_.store(true, std::memory_order_relaxed);
  }

  void scan_next_block() {
    const Block b = ready_.front();
    ready_.drop();
    ++scanned_;
    scan(b.begin, b.bytes, lost_.label_of(b.number));
  }
  void visit(Shadow::Unit unit) {
    MarkUnit& u = *shadow_.unit(unit);
    uint64_t grey = u.grey.exchange(0, std::memory_order_relaxed);
    grey &= ~u.marks.fetch_or(grey, std::memory_order_relaxed);
    const LostBlocks::UnitInfo& info = lost_.unit_info(unit);
    if (grey == 0 || info.pointer_free) return;
    const Shadow::Blocks b = shadow_.blocks_of(unit);
    for (; grey != 0; grey &= grey - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(grey));
      const char* const block = b.at(i);
      const size_t number = info.first + static_cast<size_t>(std::popcount(info.lost & ((uint64_t{1} << i) - 1)));
      __builtin_prefetch(block);
      // Of one that is longer than two lines the processor sees the rest coming.
      if (((reinterpret_cast<uintptr_t>(block) + b.bytes - 1) ^ reinterpret_cast<uintptr_t>(block)) >= 64) {
        __builtin_prefetch(block + 64);
      }
      __builtin_prefetch(&lost_.labels_[number]);
      if (ready_.is_full()) scan_next_block();
      ready_.put({block, b.bytes, number});
    }
  }
  void flush() {
    while (!ready_.empty()) scan_next_block();
    while (!targets_.empty()) look_at_next_target();
    while (!unclaimed_.empty()) number_next();
    while (!claims_.empty()) settle_next_claim();
  }

  void push(Shadow::Unit unit) {
    if (TRI_UNLIKELY(out_ == nullptr || out_->full())) {
      if (out_ != nullptr) queue_.put(out_);
      out_ = queue_.get_empty();
      if (out_ == nullptr) {
        lost_.no_memory_.store(true, std::memory_order_relaxed);
        return;
      }
    }
    out_->work[out_->end++] = {unit, 0};
  }
  void prefetch(uint32_t at) const {
    if (at >= in_->end) return;
    __builtin_prefetch(shadow_.unit(in_->work[at].at), 1);
    __builtin_prefetch(&lost_.unit_info(in_->work[at].at));
  }
  /// The oldest: while a unit waits, more of it is found.
  bool pop(Work* out) {
    if (TRI_UNLIKELY(in_ == nullptr || in_->empty())) {
      if (queue_.has_work() && queue_.try_take(&spare_)) {
        if (in_ != nullptr) queue_.put_empty(in_);
        in_ = spare_;
      } else if (out_ != nullptr && !out_->empty()) {
        MarkChunk* const empty = in_;
        in_ = out_;
        out_ = empty;
        if (out_ != nullptr) out_->begin = out_->end = 0;
      } else {
        return false;
      }
      for (uint32_t i = 0; i < kUnitsAhead; ++i) prefetch(in_->begin + i);
    }
    prefetch(in_->begin + kUnitsAhead);
    *out = in_->work[in_->begin++];
    return true;
  }
  /// For one that waits.
  void share() {
    if (out_ == nullptr || out_->end < kWorthSharing) return;
    queue_.put(out_);
    out_ = nullptr;
  }

  LostBlocks& lost_;
  const Shadow& shadow_;
  MarkQueue& queue_;
  Ring<Target> targets_;
  Ring<Target> unclaimed_;
  Ring<Target> claims_;
  Ring<Block> ready_;
  size_t scanned_ = 0;
  MarkChunk* in_ = nullptr;
  MarkChunk* out_ = nullptr;
  MarkChunk* spare_ = nullptr;
};

// ---- all of them --------------------------------------------------------------------------------------------------------

LostBlocks::~LostBlocks() {
  unmap_own_array(pieces_, piece_count_);
  unmap_own_array(units_, shadow_.near_units());
  unmap_own_array(far_units_, shadow_.far_units());
  unmap_own_array(labels_, lost_);
  unmap_own_array(leaks_, lost_);
}

Leak* LostBlocks::take(size_t* count, size_t* room) {
  Leak* const leaks = leaks_;
  *count = labels_used_.load(std::memory_order_relaxed);
  *room = lost_;
  leaks_ = nullptr;
  return leaks;
}

size_t LostBlocks::number_of(Shadow::Slot slot) const {
  const UnitInfo& info = unit_info(Shadow::unit_of(slot));
  return info.first + static_cast<size_t>(std::popcount(info.lost & (Shadow::bit_of(slot) - 1)));
}

LostBlocks::UnitInfo& LostBlocks::unit_info(Shadow::Unit u) const {
  return Shadow::is_far(u) ? far_units_[Shadow::far_index(u)] : units_[u];
}

uint32_t LostBlocks::label_of(size_t number) const {
  uint32_t label;
  // Whoever has set its bit is just about to write it.
  while ((label = labels_[number].load(std::memory_order_acquire)) == 0) arch::spin_hint();
  return label;
}

bool LostBlocks::claim(Shadow::Slot slot, uint32_t label) {
  uint32_t none = 0;
  // release: pairs with the acquire of who meets it, and goes on to the leak's record.
  return labels_[number_of(slot)].compare_exchange_strong(none, label, std::memory_order_release,
                                                          std::memory_order_relaxed);
}

bool LostBlocks::claim_root(Shadow::Slot slot, uint32_t label) {
  if (!claim(slot, label)) return false;
  shadow_.unit(Shadow::unit_of(slot))->marks.fetch_or(Shadow::bit_of(slot), std::memory_order_relaxed);
  return true;
}

void LostBlocks::disclaim(Shadow::Slot slot, size_t number) {
  labels_[number].store(0, std::memory_order_relaxed);
  MarkUnit& u = *shadow_.unit(Shadow::unit_of(slot));
  u.grey.fetch_and(~Shadow::bit_of(slot), std::memory_order_relaxed);
  u.marks.fetch_and(~Shadow::bit_of(slot), std::memory_order_relaxed);
}

Shadow::Slot LostBlocks::slot_of(const Leak& l) const {
  Shadow::Slot slot = 0;
  (void)shadow_.find_slot(reinterpret_cast<uintptr_t>(l.block), &slot);
  return slot;
}

uint32_t LostBlocks::new_label(Shadow::Slot root) {
  const uint32_t label = labels_used_.fetch_add(1, std::memory_order_relaxed) + 1;
  const Shadow::Blocks b = shadow_.blocks_of(Shadow::unit_of(root));
  leak(label) = {b.at(static_cast<unsigned>(root % 64)), b.bytes, 0, 0};
  return label;
}

/// Calls fn(piece) for all pieces of the tables, from all processors if that is worth it.
template <class Fn>
void LostBlocks::each_piece(Fn&& fn) {
  std::atomic<size_t> next{0};
  auto run = [&](unsigned) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < piece_count_;) fn(i);
  };
  on_threads(markers_ - 1, run);
}

/// Calls fn(slot, block, bytes, number) for the lost blocks of a piece, once they have numbers.
template <class Fn>
void LostBlocks::each_lost(size_t piece, Fn&& fn) const {
  shadow_.each_unit_in(piece, [&](Shadow::Unit u, uint64_t, bool pointer_free) {
    const UnitInfo& info = unit_info(u);
    if (info.lost == 0) return;
    const Shadow::Blocks b = shadow_.blocks_of(u);
    const Shadow::Slot first = (u << Shadow::kUnitShift) | (pointer_free ? Shadow::kPointerFree : Shadow::Slot{0});
    size_t number = info.first;
    for (uint64_t lost = info.lost; lost != 0; lost &= lost - 1, ++number) {
      const auto i = static_cast<unsigned>(std::countr_zero(lost));
      fn(first + i, b.at(i), b.bytes, number);
    }
  });
}

/// Grey is, for now, what another lost block points to. Blocks that are no leaks get their marks: those that were freed, and are on their way
/// to their owners in some thread's batch, on no list yet; and those that a collector frees.
void LostBlocks::mark_targets(size_t piece) {
  Ring<Shadow::Slot> targets;
  const auto settle = [&] {
    MarkUnit& m = *shadow_.unit(Shadow::unit_of(targets.front()));
    const uint64_t bit = Shadow::bit_of(targets.front());
    targets.drop();
    const uint64_t known = m.marks.load(std::memory_order_relaxed) | m.grey.load(std::memory_order_relaxed);
    if ((known & bit) == 0) m.grey.fetch_or(bit, std::memory_order_relaxed);
  };
  shadow_.each_unit_in(piece, [&](Shadow::Unit u, uint64_t valid, bool pointer_free) {
    MarkUnit& m = *shadow_.unit(u);
    uint64_t lost = valid & ~m.marks.load(std::memory_order_relaxed);
    if (lost == 0) return;
    const Shadow::Blocks b = shadow_.blocks_of(u);
    const Span* const s = pagemap::lookup(b.first);
    for (; lost != 0; lost &= lost - 1) {
      const auto i = static_cast<unsigned>(std::countr_zero(lost));
      char* const block = b.at(i);
      if (s->is_collected || held::is_held(block) || (s->kind == SpanKind::kSmall && s->is_link(s->load_link(block)))) {
        m.marks.fetch_or(uint64_t{1} << i, std::memory_order_relaxed);
        continue;
      }
      if (pointer_free) continue;
      const Shadow::Slot own = (u << Shadow::kUnitShift) + i;
      each_target(shadow_, block, b.bytes, [&](Shadow::Slot slot) {
        if (slot == own) return;
        __builtin_prefetch(shadow_.unit(Shadow::unit_of(slot)), 1);
        if (targets.is_full()) settle();
        targets.put(slot);
      });
    }
  });
  while (!targets.empty()) settle();
}

/// Gives the lost blocks of a piece their numbers, and the direct ones their labels.
void LostBlocks::number(size_t piece) {
  Counts next = pieces_[piece];
  shadow_.each_unit_in(piece, [&](Shadow::Unit u, uint64_t valid, bool pointer_free) {
    MarkUnit& m = *shadow_.unit(u);
    const uint64_t lost = valid & ~m.marks.load(std::memory_order_relaxed);
    if (lost == 0) return;
    uint64_t direct = lost & ~m.grey.load(std::memory_order_relaxed);
    unit_info(u) = {lost, static_cast<uint32_t>(next.lost), pointer_free};
    m.grey.store(0, std::memory_order_relaxed);
    m.marks.fetch_or(direct, std::memory_order_relaxed);
    if (direct != 0) {
      const Shadow::Blocks b = shadow_.blocks_of(u);
      for (; direct != 0; direct &= direct - 1) {
        const auto i = static_cast<unsigned>(std::countr_zero(direct));
        leaks_[next.direct] = {b.at(i), b.bytes, 0, 0};
        const auto before = static_cast<size_t>(std::popcount(lost & ((uint64_t{1} << i) - 1)));
        labels_[next.lost + before].store(static_cast<uint32_t>(++next.direct), std::memory_order_relaxed);
      }
    }
    next.lost += static_cast<size_t>(std::popcount(lost));
  });
}

bool LostBlocks::get_memory() {
  for (size_t i = 0; i < piece_count_; ++i) {
    const Counts here = pieces_[i];
    pieces_[i] = {lost_, direct_};
    lost_ += here.lost;
    direct_ += here.direct;
  }
  if (lost_ == 0) return true;
  if (lost_ >= UINT32_MAX) return false;
  // In huge pages where the kernel has them: they are looked into at random.
  labels_ = static_cast<Label*>(map_own(own_array_bytes(lost_ * sizeof(Label)), kHugePage));
  units_ = static_cast<UnitInfo*>(map_own(own_array_bytes(shadow_.near_units() * sizeof(UnitInfo)), kHugePage));
  far_units_ = map_own_array<UnitInfo>(shadow_.far_units());
  if (lost_ >= kWorthThreads) {
    if (labels_ != nullptr) os::advise_huge(labels_, lost_ * sizeof(Label), 1);
    if (units_ != nullptr) os::advise_huge(units_, shadow_.near_units() * sizeof(UnitInfo), 1);
  }
  if (units_ == nullptr && shadow_.near_units() != 0) return false;
  if (far_units_ == nullptr && shadow_.far_units() != 0) return false;
  leaks_ = map_own_array<Leak>(lost_);
  return labels_ != nullptr && leaks_ != nullptr;
}

int LostBlocks::find() {
  piece_count_ = shadow_.pieces();
  pieces_ = map_own_array<Counts>(piece_count_);
  if (pieces_ == nullptr) return -ENOMEM;
  each_piece([this](size_t piece) { mark_targets(piece); });
  each_piece([this](size_t piece) {
    shadow_.each_unit_in(piece, [&](Shadow::Unit u, uint64_t valid, bool) {
      const MarkUnit& m = *shadow_.unit(u);
      const uint64_t lost = valid & ~m.marks.load(std::memory_order_relaxed);
      pieces_[piece].lost += static_cast<size_t>(std::popcount(lost));
      pieces_[piece].direct += static_cast<size_t>(std::popcount(lost & ~m.grey.load(std::memory_order_relaxed)));
    });
  });
  if (!get_memory()) return -ENOMEM;
  if (lost_ == 0) return 0;
  each_piece([this](size_t piece) { number(piece); });
  labels_used_.store(static_cast<uint32_t>(direct_), std::memory_order_relaxed);
  if (!follow_direct() || !follow_circles()) return -ENOMEM;
  count();
  put_in_order();
  return 0;
}

/// All direct ones at once.
bool LostBlocks::follow_direct() {
  std::atomic<size_t> next{0};
  const auto more = [&](LostFollower& f) {
    constexpr size_t kPiece = 256;
    const size_t first = next.fetch_add(kPiece, std::memory_order_relaxed);
    if (first >= direct_) return false;
    for (size_t i = first; i < first + kPiece && i < direct_; ++i) {
      const Leak& l = leaks_[i];
      if ((slot_of(l) & Shadow::kPointerFree) == 0) {
        f.scan(static_cast<const char*>(l.block), l.bytes, static_cast<uint32_t>(i + 1));
      }
    }
    return true;
  };
  MarkQueue queue(markers_);
  LostFollower own(*this, queue);
  follow_by_all(own, queue, more);
  return !no_memory_.load(std::memory_order_relaxed);
}

/// What `own` has still to follow, and what more() scans, by as many threads as the queue has markers.
template <class Fn>
void LostBlocks::follow_by_all(LostFollower& own, MarkQueue& queue, Fn&& more) {
  struct Job {
    LostBlocks& lost;
    MarkQueue& queue;
    Fn& more;
  } job{*this, queue, more};
  const auto help = [](void* arg, unsigned) {
    const Job& j = *static_cast<const Job*>(arg);
    LostFollower(j.lost, j.queue).follow_together(j.more);
  };
  const unsigned wanted = queue.markers() - 1;
  Workers workers;
  const unsigned started = wanted == 0 ? 0 : workers.start(wanted, help, &job);
  // The end has come when all of the queue's markers wait, and this one does not yet.
  if (started < wanted) queue.leave(wanted - started);
  own.follow_together(more);
  workers.join();
}

// ---- circles ------------------------------------------------------------------------------------------------------------

/// Each by whoever comes first. What is found to be no circle by itself is left to be taken back.
bool LostBlocks::try_circles() {
  each_piece([this](size_t piece) {
    MarkQueue queue(1);
    LostFollower f(*this, queue);
    each_lost(piece, [&](Shadow::Slot slot, const char* block, size_t bytes, size_t number) {
      if (labels_[number].load(std::memory_order_relaxed) != 0 || too_large_.load(std::memory_order_relaxed)) return;
      const uint32_t label = new_label(slot);
      if (!claim_root(slot, label)) {
        leak(label).block = nullptr;
        return;
      }
      if ((slot & Shadow::kPointerFree) == 0) f.scan(block, bytes, label);
      if (f.follow(kFewBlocks)) return;
      f.give_up();
      too_large_.store(true, std::memory_order_relaxed);
    });
  });
  return !no_memory_.load(std::memory_order_relaxed);
}

bool LostBlocks::follow_circles() {
  if (direct_ == lost_) return true;
  if (!try_circles()) return false;
  if (!too_large_.load(std::memory_order_relaxed) && !met_.load(std::memory_order_relaxed)) return true;
  take_back(too_large_.load(std::memory_order_relaxed));
  return follow_in_order();
}

/// Takes labels back: those that are marked so, or all but those of direct leaks.
void LostBlocks::take_back(bool all) {
  const auto is_none = [&](uint32_t label) {
    return label > direct_ && (all || taken_back(label).load(std::memory_order_relaxed) != 0);
  };
  each_piece([&](size_t piece) {
    each_lost(piece, [&](Shadow::Slot slot, const char*, size_t, size_t number) {
      if (is_none(labels_[number].load(std::memory_order_relaxed))) disclaim(slot, number);
    });
  });
  for (uint32_t label = static_cast<uint32_t>(direct_) + 1; label <= labels_used_.load(std::memory_order_relaxed);
       ++label) {
    if (is_none(label)) leak(label).block = nullptr;
  }
}

bool LostBlocks::follow_in_order() {
  met_.store(false, std::memory_order_relaxed);
  MarkQueue queue(markers_);
  LostFollower own(*this, queue);
  const auto follow = [&](Shadow::Slot root, uint32_t label) {
    (void)claim_root(root, label);
    const Shadow::Blocks b = shadow_.blocks_of(Shadow::unit_of(root));
    if ((root & Shadow::kPointerFree) == 0) own.scan(b.at(static_cast<unsigned>(root % 64)), b.bytes, label);
    if (!own.follow(kFewBlocks)) follow_by_all(own, queue, [](LostFollower&) { return false; });
  };
  const uint32_t first = labels_used_.load(std::memory_order_relaxed) + 1;
  for (size_t piece = 0; piece < piece_count_; ++piece) {
    each_lost(piece, [&](Shadow::Slot slot, const char*, size_t, size_t number) {
      if (labels_[number].load(std::memory_order_relaxed) == 0) follow(slot, new_label(slot));
    });
  }
  if (!met_.load(std::memory_order_relaxed)) return !no_memory_.load(std::memory_order_relaxed);
  // All of these; those of before, which stand alone, stay.
  each_piece([&](size_t piece) {
    each_lost(piece, [&](Shadow::Slot slot, const char*, size_t, size_t number) {
      if (labels_[number].load(std::memory_order_relaxed) >= first) disclaim(slot, number);
    });
  });
  for (uint32_t label = labels_used_.load(std::memory_order_relaxed); label >= first; --label) {
    const Shadow::Slot slot = slot_of(leak(label));
    if (labels_[number_of(slot)].load(std::memory_order_relaxed) == 0) {
      follow(slot, label);
    } else {
      leak(label).block = nullptr;
    }
  }
  return !no_memory_.load(std::memory_order_relaxed);
}

// ---- the result -----------------------------------------------------------------------------------------------------------

void LostBlocks::count() {
  for (auto label = static_cast<uint32_t>(direct_) + 1; label <= labels_used_.load(std::memory_order_relaxed);
       ++label) {
    leak(label).indirect_blocks = 0;
  }
  each_piece([this](size_t piece) {
    // Neighbours are often of the same leak.
    uint32_t label = 0;
    const void* root = nullptr;
    size_t blocks = 0;
    size_t bytes = 0;
    const auto add = [&] {
      if (blocks == 0) return;
      std::atomic_ref<size_t>(leak(label).indirect_blocks).fetch_add(blocks, std::memory_order_relaxed);
      std::atomic_ref<size_t>(leak(label).indirect_bytes).fetch_add(bytes, std::memory_order_relaxed);
      blocks = bytes = 0;
    };
    each_lost(piece, [&](Shadow::Slot, const char* block, size_t size, size_t number) {
      const uint32_t its = labels_[number].load(std::memory_order_relaxed);
      if (its != label) {
        add();
        label = its;
        root = leak(label).block;
      }
      if (block == root) return;
      ++blocks;
      bytes += size;
    });
    add();
  });
}

void LostBlocks::put_in_order() {
  const uint32_t used = labels_used_.load(std::memory_order_relaxed);
  if (used == direct_) return;
  const Leak* const end = std::remove_if(leaks_, leaks_ + used, [](const Leak& l) { return l.block == nullptr; });
  std::sort(leaks_, leaks_ + (end - leaks_), [](const Leak& a, const Leak& b) { return a.block < b.block; });
  labels_used_.store(static_cast<uint32_t>(end - leaks_), std::memory_order_relaxed);
}

}  // namespace tri::gc
