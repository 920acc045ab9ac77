// crowding.cc - See crowding.h.
#include "sched/crowding.h"

namespace tri::sched {

constinit std::atomic<CpuTimes (*)()> cpu_times{cpu_times_of_system};

uint32_t Crowding::look(const CpuTimes& times) {
  const CpuTimes before = last_;
  last_ = times;
  if (times.cpus == 0) return useful_ = kNoCrowd;
  // A processor that came or went makes the sums of two moments incomparable.
  if (before.at == 0 || before.cpus != times.cpus || times.at <= before.at) return useful_;
  const Time took = times.at - before.at;
  const Time idle = times.idle - before.idle;
  const Time left = idle + (times.own - before.own);  // what we had, or could have had
  const Time others = took * times.cpus - left;
  if (idle * 100 >= took * kRoomy) {
    useful_ = kNoCrowd;
  } else if (idle * 100 <= took * kHardlyIdle && others * 100 >= took * kOthers) {
    const Time whole = left / took;
    useful_ = whole < 1 ? 1 : static_cast<uint32_t>(whole);
  }
  return useful_;
}

}  // namespace tri::sched
