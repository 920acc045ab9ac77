// roots.h - Where the scheduler keeps pointers of the program, for a collector that has stopped all threads.
//
// Goroutines' records and stacks, and those of processors and threads, stand in memory that is not looked at else
// (alloc/own_memory.h): what they were used for before must keep nothing alive.
//
// Used by: shim.
#ifndef TRI_SCHED_ROOTS_H
#define TRI_SCHED_ROOTS_H

#include <cstdint>

#include "sched/g.h"

namespace tri::sched {

struct RootFinder {
  void* arg;
  /// Takes [begin, end).
  void (*take)(void* arg, const void* begin, const void* end);
  /// The lowest stack pointer of a thread that stands within [low, high); 0 if there is none.
  uintptr_t (*lowest_sp_in)(void* arg, uintptr_t low, uintptr_t high);
  /// Takes, instead of `take`, a goroutine that waits until somebody wakes it, and for nothing else. Whoever could wake it
  /// comes to it by its entry in the queue of what it waits for, and that entry stands on its stack: so if nothing else leads
  /// into its stack, it waits for ever. Null: they are as all others.
  void (*take_waiting)(void* arg, TaskId id, const void* record, const void* record_end, const void* stack,
                       const void* stack_end) = nullptr;
};

/// Calls finder.take() for all of them. All other threads stand still; takes no lock.
void each_root(const RootFinder& finder);

}  // namespace tri::sched

#endif
