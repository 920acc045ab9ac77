// roots.h - Where the scheduler keeps pointers of the program, for a collector that has stopped all threads.
//
// Goroutines' records and stacks, and those of processors and threads, stand in memory that is not looked at else
// (alloc/own_memory.h): what they were used for before must keep nothing alive.
//
// Used by: shim.
#ifndef TRI_SCHED_ROOTS_H
#define TRI_SCHED_ROOTS_H

#include <cstdint>

namespace tri::sched {

struct RootFinder {
  void* arg;
  /// Takes [begin, end).
  void (*take)(void* arg, const void* begin, const void* end);
  /// The lowest stack pointer of a thread that stands within [low, high); 0 if there is none.
  uintptr_t (*lowest_sp_in)(void* arg, uintptr_t low, uintptr_t high);
};

/// Calls finder.take() for all of them. All other threads stand still; takes no lock.
void each_root(const RootFinder& finder);

}  // namespace tri::sched

#endif
