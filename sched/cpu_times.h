// cpu_times.h - How long the processors that this process may use were idle, and how long it used them.
//
// Used by: crowding.
#ifndef TRI_SCHED_CPU_TIMES_H
#define TRI_SCHED_CPU_TIMES_H

#include <atomic>

#include "alloc/base/check.h"
#include "sched/wait.h"

namespace tri::sched {

/// Sums since some moment in the past, in nanoseconds.
struct CpuTimes {
  Time at = 0;    // of CLOCK_MONOTONIC
  Time idle = 0;  // of all these processors together
  Time own = 0;   // of all threads of the process
  int cpus = 0;   // of those that the calling thread may use; 0: the system does not tell
};

/// The sums of now, as a file like /proc/stat has them. Takes microseconds, and allocates nothing.
CpuTimes read_cpu_times(const char* stat);
/// The system's. Keeps the file open, above the numbers that programs count on getting: one that closes a descriptor to get its number from the next
/// open() must not find that we have it just then. By one thread at a time.
CpuTimes cpu_times_of_system();
/// What sysmon calls; tests put others in.
TRI_INTERNAL extern constinit std::atomic<CpuTimes (*)()> cpu_times;

}  // namespace tri::sched

#endif
