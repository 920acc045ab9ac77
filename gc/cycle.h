// cycle.h - One marking, from the stop in which it begins to the one in which all that can be reached is marked.
//
// All in one stop: roots are scanned and blocks followed while the world stands still.
//
// See gc.h for the overview. Used by: gc.
#ifndef TRI_GC_CYCLE_H
#define TRI_GC_CYCLE_H

#include <cstddef>
#include <cstdint>

#include "gc/marker.h"
#include "gc/shadow.h"

namespace tri::gc {

/// What a cycle is for. Each may be null.
struct CycleClient {
  void* arg = nullptr;
  /// The world stands still, the tables are made, nothing is marked.
  void (*at_begin)(void* arg, Shadow& shadow) = nullptr;
  /// The client's own roots.
  void (*add_roots)(void* arg, Marker& marker) = nullptr;
  /// The world stands still, and everything reachable is marked. May take the tables over, and leave an empty shadow.
  void (*at_end)(void* arg, Shadow& shadow) = nullptr;
};

/// Once.
class Cycle {
 public:
  struct Stats {
    int64_t first_stop_ns = 0;
    int64_t concurrent_ns = 0;  // between the two
    int64_t last_stop_ns = 0;
    uint64_t marked_blocks = 0;
    uint64_t marked_bytes = 0;
    uint32_t rounds = 0;  // of pages that were written meanwhile
    int why_full = 0;     // 0: concurrent; else why it was one stop, a negative errno
    unsigned markers = 0;
    size_t unstopped = 0;  // threads that could not be stopped
  };

  Cycle() = default;
  Cycle(const Cycle&) = delete;
  Cycle& operator=(const Cycle&) = delete;

  /// 0, or why there was none: -EBUSY: a thread could not be stopped, and may hold anything; else the errors of stop_world() and Roots::find(). at_begin may have been
  /// called then, but not at_end. With sp of below_program(), or of a thread that libc does not know. No lock may be held.
  [[nodiscard]] int run(const CycleClient& client, uintptr_t sp);
  const Stats& stats() const { return stats_; }

 private:
  int run_stopped(const CycleClient& client, uintptr_t sp, Shadow& shadow);

  Stats stats_;
};

}  // namespace tri::gc

#endif
