// pacer.cc - See pacer.h.
#include "gc/pacer.h"

#include "alloc/base/bits.h"

namespace tri::gc {
namespace {

// Below this a heap is not worth a cycle's fixed cost: at 100 percent. Go's figure is 4 MiB; binary trees of 2 MiB take 0.7 of the CPU time of that, and no
// more memory.
constexpr uint64_t kLeastGoal = 6 * 1024 * 1024;
// A cycle begins when this part of the way to the goal is behind, at the earliest and at the latest: the runway is an estimate.
// Go's earliest is 70; here who is too fast waits either way, and the more the program writes beside a marking, the more is scanned again.
constexpr uint64_t kEarliest = 90;
constexpr uint64_t kLatest = 95;
// Assists aim a little short of the goal, since what is left to mark is known only roughly.
constexpr uint64_t kScale = 1024;
// Markers take a quarter of the machine; to the limit's bucket goes what is beyond half.
constexpr uint64_t kBucketNs = 1'000'000'000;

uint64_t percent_of(uint64_t n, uint64_t percent) {
  uint64_t product;
  if (__builtin_mul_overflow(n, percent, &product)) return n / 100 * percent;
  return product / 100;
}
uint64_t add(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}
uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }
uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

}  // namespace

uint64_t Pacer::limit_goal() const {
  if (options_.limit_bytes == kNoLimit) return UINT64_MAX;
  // A little headroom: the heap is in pages, the goal in bytes. At least a MiB, at most 3 %.
  const uint64_t headroom = most(options_.limit_bytes / 100 * 3, 1024 * 1024);
  return minus(minus(options_.limit_bytes, overhead_), headroom);
}

void Pacer::plan() {
  uint64_t goal = UINT64_MAX;
  if (options_.percent != 0) {
    goal = add(live_, percent_of(add(live_, roots_), options_.percent));
    goal = most(goal, percent_of(kLeastGoal, options_.percent));
  }
  percent_goal_ = goal;
  const uint64_t bound = limit_goal();
  bound_by_limit_ = bound < goal;
  if (bound_by_limit_) goal = bound;
  // Beyond the goal already: as soon as there is anything to collect. A MiB, so that cycles do not follow each other without a byte between.
  goal = most(goal, add(live_, 1024 * 1024));
  goal_ = goal;
  if (goal == UINT64_MAX) {
    trigger_ = UINT64_MAX;
    return;
  }
  uint64_t ratio = 0;
  for (const uint64_t r : cons_mark_) ratio += r;
  const uint32_t known = cycles_ < kShares ? cycles_ : kShares;
  if (known != 0) ratio /= known;
  // While all is marked, by a quarter of the CPUs, the other three quarters allocate.
  const uint64_t work = add(live_, roots_);
  const uint64_t runway = work / kScale * ratio * 3;
  const uint64_t way = goal - live_;
  const uint64_t earliest = add(live_, percent_of(way, kEarliest));
  const uint64_t latest = add(live_, percent_of(way, kLatest));
  trigger_ = least(most(minus(goal, runway), earliest), latest);
}

bool Pacer::is_due(uint64_t heap_bytes, int64_t since_ns) const {
  if (options_.period_ns > 0 && since_ns >= options_.period_ns) return true;
  if (heap_bytes < trigger_) return false;
  // The collector has had its share for the limit's sake: as if there were none.
  return !(bound_by_limit_ && limiting_) || heap_bytes >= percent_goal_;
}

void Pacer::begin(uint64_t heap_bytes) {
  begun_with_ = heap_bytes;
  // Asked for by hand, or late: the goal is ahead in any case.
  const uint64_t room = most(heap_bytes / 20, 1024 * 1024);
  goal_ = most(goal_, add(heap_bytes, room));
}

uint32_t Pacer::assist_per_1024(uint64_t scanned_bytes, uint64_t heap_bytes) const {
  if (limiting_ && bound_by_limit_) return 0;
  // As much as last time is to be expected; all that was there at the start is the worst case, which counts once the expected is done.
  const uint64_t expected = add(live_, roots_);
  const uint64_t worst = add(begun_with_, roots_);
  uint64_t left = minus(expected, scanned_bytes);
  uint64_t goal = goal_;
  if (left == 0 || heap_bytes >= goal) {
    left = minus(worst, scanned_bytes);
    goal = add(goal, percent_of(goal, 10));  // as far as the heap may overshoot
  }
  if (left == 0) return 0;
  const uint64_t room = most(minus(goal, heap_bytes), 64 * 1024);
  const uint64_t ratio = left > UINT64_MAX / kScale ? UINT32_MAX : left * kScale / room;
  return static_cast<uint32_t>(least(most(ratio, 1), UINT32_MAX));
}

uint32_t Pacer::workers() const { return options_.cpus < 8 ? 1 : options_.cpus / 4; }

void Pacer::end(const CycleFigures& cycle) {
  live_ = cycle.live_bytes;
  roots_ = cycle.root_bytes;
  const uint64_t marked = add(cycle.live_bytes, cycle.root_bytes);
  if (cycle.mutator_ns > 0 && cycle.marker_ns > 0 && marked != 0) {
    // Bytes per CPU time, of the one and of the other.
    const double allocation = static_cast<double>(cycle.allocated_bytes) / static_cast<double>(cycle.mutator_ns);
    const double marking = static_cast<double>(marked) / static_cast<double>(cycle.marker_ns);
    const double ratio = allocation / marking * static_cast<double>(kScale);
    cons_mark_[cycles_ % kShares] = ratio < 1e9 ? static_cast<uint64_t>(ratio) : 1'000'000'000;
    ++cycles_;
  }
  plan();
}

uint64_t Pacer::bucket_size() const { return kBucketNs * options_.cpus; }

void Pacer::spend(int64_t marker_ns, int64_t mutator_ns) {
  const uint64_t filled = add(bucket_, static_cast<uint64_t>(marker_ns));
  bucket_ = minus(least(filled, bucket_size()), static_cast<uint64_t>(mutator_ns));
  // Off again only when a half is empty, so that it does not flicker.
  limiting_ = filled >= bucket_size() || (limiting_ && bucket_ > bucket_size() / 2);
}

}  // namespace tri::gc
