// p.h - P: a processor, the right to run goroutines, with its own queue, timers and free lists.
//
// There are as many as goroutines may run at once (GOMAXPROCS); their records are never freed. A P belongs to one M, which alone
// uses its owner's fields, or it is idle (a bit in the mask of idle.h), or on its way from one M to another (M::next_p).
// An M in a blocking call has left its P, but may come back to it: `left_by` says who may, and whoever swaps it to null has the P.
//
// Used by: everything in sched but switch and stack.
#ifndef TRI_SCHED_P_H
#define TRI_SCHED_P_H

#include <atomic>
#include <cstdint>

#include "sched/runq.h"
#include "sched/timer.h"

namespace tri::sched {

inline constexpr uint32_t kMaxProcs = 256;

struct alignas(64) P {
  // ---- owner
  uint32_t id = 0;            // constant
  bool look_further = false;  // that moment has come
  bool pinned_turn = false;   // of the two global queues, that of the preempted was looked at last
  uint32_t tick = 0;          // decisions of the scheduler
  uint32_t inherited = 0;     // goroutines that ran on one slice
  uint32_t free_gs_count = 0;
  G* free_gs = nullptr;         // linked by next
  char* free_stacks = nullptr;  // of the default size; the top word of each is the link
  uint32_t free_stacks_count = 0;
  uint32_t seed = 0;        // of the choice of a victim
  uint32_t skip_wakes = 0;  // goroutines that may be readied to run next without a look for idle Ps
  Time coarse_now = 0;      // the clock as last read here

  // ---- sysmon and others look at these
  alignas(64) std::atomic<uint64_t> slice{0};  // owner: counts time slices, that is, switches that begin a new one
  std::atomic<uint64_t> look_at{0};            // owner, sysmon: the slice before which to look beyond the local queue
  std::atomic<bool> attention{false};          // sysmon: go through the scheduler at the next switch
  std::atomic<M*> m{nullptr};                  // who has it; null: nobody
  std::atomic<M*> left_by{nullptr};            // see above
  std::atomic<uint64_t> blocking_calls{0};     // owner: begun here
  bool in_service = false;                     // the scheduler's lock: it counts among procs
  // sysmon alone: what it saw last, and since when
  uint64_t seen_slice = 0;
  uint64_t seen_call = 0;
  Time seen_slice_since = 0;
  Time seen_call_since = 0;
  Time preempted_at = 0;

  alignas(64) RunQ runq;
  alignas(64) TimerHeap timers;

  /// Owner.
  void begin_slice(uint64_t last) {
    if (inherited != 0) inherited = 0;  // a store is dearer
    slice.store(last + 1, std::memory_order_relaxed);
  }
  void begin_slice() { begin_slice(slice.load(std::memory_order_relaxed)); }
  /// The next switch looks beyond the local queue. By another thread: most likely; the owner may just be setting its own next time.
  void look_soon() { look_at.store(slice.load(std::memory_order_relaxed), std::memory_order_relaxed); }
};

}  // namespace tri::sched

#endif
