// cpu_time.h - CPU time in nanoseconds, for the pacer. By system calls: threads of the collector have no libc.
//
// Used by: mark_team, gc.
#ifndef TRI_GC_CPU_TIME_H
#define TRI_GC_CPU_TIME_H

#include <sys/syscall.h>
#include <time.h>

#include <cstdint>

#include "tri_arch.h"

namespace tri::gc {

inline int64_t read_cpu_clock(clockid_t clock) {
  timespec t = {};
  arch::system_call(SYS_clock_gettime, clock, reinterpret_cast<long>(&t));
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}
/// Of the calling thread; of all threads of the process, ended ones included.
inline int64_t thread_cpu_ns() { return read_cpu_clock(CLOCK_THREAD_CPUTIME_ID); }
inline int64_t process_cpu_ns() { return read_cpu_clock(CLOCK_PROCESS_CPUTIME_ID); }

}  // namespace tri::gc

#endif
