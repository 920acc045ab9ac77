// crowding.h - How many of our threads other programs leave processors for.
//
// What comes from the network is mostly done in some microseconds, and most of that in the kernel. To wake a second thread for it
// pays where a processor is free. Where none is, that thread takes the place of others: often of the very program that sends the requests
// and waits for the answers. Then all wait for each other's time slices of some milliseconds, and do less together than before. So who
// finds events of the network wakes others only while fewer Ps are busy than `useful`, and sees to them itself otherwise. Goroutines that others
// make runnable do not come under this: computing takes the share of the machine that the kernel gives to it, however crowded that is.
//
// Twice in a while the processors' idle time and the process's own CPU time are compared:
//
//   others   what neither is idle nor ours
//   crowded  hardly anything was idle, and others had a good part of a processor: useful = what they left, rounded down, at least 1
//   roomy    a good part of a processor was idle: no bound
//   else     as it was: between the two bounds it would only swing
//
// Where it cannot be known (no /proc), there is no bound. One decision costs the reading of one small file, five times a second, and only in a
// program with several Ps that waits for descriptors.
//
// Used by: sysmon, find_work.
#ifndef TRI_SCHED_CROWDING_H
#define TRI_SCHED_CROWDING_H

#include <cstdint>

#include "sched/cpu_times.h"
#include "sched/wait.h"

namespace tri::sched {

inline constexpr uint32_t kNoCrowd = UINT32_MAX;

/// Arithmetic alone: times come in, a bound comes out.
class Crowding {
 public:
  /// The kernel counts idle time in steps of 10 ms: in less time than this they would say little.
  static constexpr Time kInterval = 200'000'000;

  /// What was read now. The bound from now on: of all Ps that are busy.
  uint32_t look(const CpuTimes& times);
  /// The last look is too long ago to say anything about now: the next one only begins anew.
  void restart() { last_ = {}; }
  Time last_look() const { return last_.at; }

 private:
  // Of one processor, in percent.
  static constexpr Time kHardlyIdle = 10;
  static constexpr Time kRoomy = 30;
  static constexpr Time kOthers = 30;

  CpuTimes last_ = {};
  uint32_t useful_ = kNoCrowd;
};

}  // namespace tri::sched

#endif
