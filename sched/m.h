// m.h - M: a thread that runs goroutines. Its own stack is where the scheduler decides, when a decision is needed.
//
// What a goroutine leaves to be done once its registers are saved (Todo, thread_words.h) is done by whoever runs next on the same
// thread: another goroutine that was switched to directly, or the scheduler.
//
// An M without a P sleeps on its doorbell, and whoever rings it has put a P into next_p. Three kinds sleep there: idle ones (on
// the scheduler's list), those whose goroutine was preempted (G::pinned points at them), and the one that keeps the timers.
//
// Used by: everything in sched but switch and stack.
#ifndef TRI_SCHED_M_H
#define TRI_SCHED_M_H

#include <atomic>
#include <cstdint>

#include "sched/g.h"
#include "sched/p.h"
#include "sched/thread_words.h"

namespace tri::sched {

struct M {
  P* p = nullptr;      // owner; null while in a blocking call
  void* sp = nullptr;  // owner: the scheduler's registers, while a goroutine runs
  // ---- with what is to be done for the last goroutine; owner
  G* left = nullptr;
  SpinLock* unlock = nullptr;
  Time deadline = kForever;
  G* handoff = nullptr;  // chosen by the goroutine for the scheduler to run

  P* left_p = nullptr;          // owner: that it has left for a blocking call
  uint32_t blocking_depth = 0;  // owner
  Time blocking_since = 0;      // owner: if it handed its P on at once, when; else 0
  bool on_own_stack = false;    // owner: call_blocking() runs something on the scheduler's stack
  bool spinning = false;        // owner; and who starts it
  bool polls = false;           // the scheduler's lock: it sleeps in netpoll(), not on its doorbell
  std::atomic<uint32_t> doorbell{0};
  P* next_p = nullptr;     // written before the doorbell is rung
  M* next_idle = nullptr;  // the scheduler's lock
  M* next_all = nullptr;   // constant once it is on the list
  std::atomic<uint32_t> thread_id{0};
  // owner: preemptions of this slice that were put off, and since when (see preempt.cc)
  uint64_t spared_slice = 0;
  uint32_t spared = 0;
  Time spared_since = 0;
  void* fiber = nullptr;            // what a sanitizer calls its stack
  const void* stack_low = nullptr;  // of the thread, for sanitizers
  size_t stack_bytes = 0;
};

}  // namespace tri::sched

#endif
