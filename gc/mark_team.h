// mark_team.h - A cycle's markers: the caller's own, and others on threads of the collector (worker.h), which share a queue.
//
// Usable while the world stands and while it runs. Roots are given to the caller's own marker; drain() starts the others, and
// when it returns everything reachable is marked and they are gone.
//
// See gc.h for the overview. Used by: leaks, cycle.
#ifndef TRI_GC_MARK_TEAM_H
#define TRI_GC_MARK_TEAM_H

#include <cstdint>

#include "gc/marker.h"
#include "gc/worker.h"

namespace tri::gc {

/// How many markers a stopped world is worth: a marker for each processor that this process may use, 4 at most.
unsigned processors_for_marking();
/// Those that this process may use.
unsigned processors();

class MarkTeam {
 public:
  /// `markers` with the caller's own; fewer work where threads or memory are short.
  MarkTeam(const Shadow& shadow, unsigned markers)
      : shadow_(shadow),
        queue_(markers < 1       ? 1
               : markers > kMost ? kMost
                                 : markers),
        own_(shadow, queue_) {}
  ~MarkTeam();
  MarkTeam(const MarkTeam&) = delete;
  MarkTeam& operator=(const MarkTeam&) = delete;

  Marker& own() { return own_; }
  /// Has the others ready, on their threads, so that drain() need not: where it must be short. Once, or not at all.
  void start();
  /// Once. Each marker calls before(arg, marker) first, if it is not null: to take its part of what is to be looked at.
  void drain(void (*before)(void* arg, Marker& marker) = nullptr, void* arg = nullptr);

  /// Of all of them, after drain().
  uint64_t blocks() const { return own_.blocks() + others_blocks_.load(std::memory_order_relaxed); }
  uint64_t bytes() const { return own_.bytes() + others_bytes_.load(std::memory_order_relaxed); }
  /// CPU time of the others.
  int64_t others_ns() const { return others_ns_.load(std::memory_order_relaxed); }
  /// How many took part.
  unsigned markers() const { return markers_; }

 private:
  static constexpr unsigned kMost = Workers::kMost + 1;
  static void work(void* team, unsigned index);
  void wait_for_drain();

  const Shadow& shadow_;
  MarkQueue queue_;
  Marker own_;
  Workers workers_;
  std::atomic<uint32_t> drains_{0};  // 1 from drain() on; futex of the others
  unsigned markers_ = 1;
  void (*before_)(void* arg, Marker& marker) = nullptr;
  void* before_arg_ = nullptr;
  std::atomic<uint64_t> others_blocks_{0};
  std::atomic<uint64_t> others_bytes_{0};
  std::atomic<int64_t> others_ns_{0};
};

}  // namespace tri::gc

#endif
