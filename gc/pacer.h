// pacer.h - When a collection begins, and how hard those who allocate must help it.
//
// Arithmetic alone: bytes and nanoseconds come in, decisions come out. No clock, no lock, no threads; so a test can run a year of a program
// in a second. The rules are Go's of 1.19 and later (proposals 44167 and 48409), for a heap in which everything is scanned.
//
//   goal      live + (live + roots) * percent / 100, where live is what the last cycle left; never more than the limit
//             allows, never less than what is there
//   trigger   goal - runway. The runway is what the program will allocate while the markers do their work, and that follows from how many
//             bytes it allocated for each that was marked, measured over the last cycles (cons/mark).
//   assists   whoever allocates n bytes during the cycle marks n * (work left / heap left): at the goal all work is done,
//             however fast the program allocates.
//   limit     a bucket that the collector's CPU time fills and the program's empties. Full: the collector has had half of the machine
//             for long enough, assists and further cycles for the limit's sake are off, and the heap grows beyond the limit
//             instead. A program that lives at its limit gets slower by half, not by a thousand. Without a limit the goal
//             holds, however much of the machine that takes: the percentage is there to choose.
//
// See gc.h for the overview. Used by: the collector's cycle.
#ifndef TRI_GC_PACER_H
#define TRI_GC_PACER_H

#include <cstddef>
#include <cstdint>

namespace tri::gc {

inline constexpr uint64_t kNoLimit = UINT64_MAX;

struct PacerOptions {
  uint32_t percent = 100;           // 0: no cycle for growth alone
  uint64_t limit_bytes = kNoLimit;  // of all memory
  uint32_t cpus = 1;
  int64_t period_ns = 120'000'000'000;  // a cycle at least this often; 0: never for time alone
};

/// What a cycle was, for the next one's decisions.
struct CycleFigures {
  uint64_t live_bytes = 0;       // marked
  uint64_t root_bytes = 0;       // scanned beside the heap
  uint64_t allocated_bytes = 0;  // while it ran
  int64_t mutator_ns = 0;        // CPU time of the program while it ran
  int64_t marker_ns = 0;         // CPU time of marking, assists included
};

class Pacer {
 public:
  /// Without a plan before set_options().
  constexpr Pacer() = default;
  explicit Pacer(const PacerOptions& options) : options_(options) { plan(); }

  void set_options(const PacerOptions& options) {
    options_ = options;
    plan();
  }

  // ---- between cycles
  /// What of all memory is no heap: stacks, tables, free pages that have not gone back. Counts against the limit.
  void set_overhead(uint64_t bytes) {
    overhead_ = bytes;
    plan();
  }
  /// Whether a cycle is due. heap: bytes in use; since the last cycle.
  bool is_due(uint64_t heap_bytes, int64_t since_ns) const;
  /// Whether it is the limit that decides when, and not the percentage; and when that would.
  bool is_bound_by_limit() const { return bound_by_limit_; }
  uint64_t percent_goal_bytes() const { return percent_goal_; }
  uint64_t goal_bytes() const { return goal_; }
  uint64_t trigger_bytes() const { return trigger_; }

  // ---- during one
  /// It begins with this heap.
  void begin(uint64_t heap_bytes);
  /// Bytes to mark for a byte allocated, in 1/1024, while `scanned` bytes are done and the heap has this size. 0: no help needed, or
  /// none allowed.
  uint32_t assist_per_1024(uint64_t scanned_bytes, uint64_t heap_bytes) const;
  /// How many markers: a quarter of the CPUs, at least one. The rest of the quarter, if it is no whole number, one more has to be idle.
  uint32_t workers() const;

  /// It has ended.
  void end(const CycleFigures& cycle);

  // ---- the bucket
  /// CPU time since the last call.
  void spend(int64_t marker_ns, int64_t mutator_ns);
  bool is_limiting() const { return limiting_; }

 private:
  static constexpr uint32_t kShares = 4;  // of cons/mark: how many cycles are remembered
  void plan();
  uint64_t limit_goal() const;
  uint64_t bucket_size() const;

  PacerOptions options_;
  uint64_t live_ = 0;
  uint64_t roots_ = 0;
  uint64_t overhead_ = 0;
  uint64_t goal_ = 0;
  uint64_t percent_goal_ = UINT64_MAX;
  uint64_t trigger_ = 0;
  bool bound_by_limit_ = false;
  // Bytes allocated by a CPU of the program while a marker marked one, in 1/1024; the last cycles'.
  uint64_t cons_mark_[kShares] = {};
  uint32_t cycles_ = 0;
  // The cycle that runs.
  uint64_t begun_with_ = 0;
  uint64_t bucket_ = 0;
  bool limiting_ = false;
};

}  // namespace tri::gc

#endif
