// procs.cc - How many processors this process may use: its affinity, and the quotas of all cgroups above it that it can see.
//
// A quota of 150 % is rounded up, to two: one P could not use it. Read when the scheduler starts, not again: a program that wants to follow a
// change calls tri_procs().
#include <sched.h>

#include <bit>
#include <cstring>

#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "sched/cgroup.h"
#include "sched/proc.h"

namespace tri::sched {
namespace {

int affinity() {
  // As large as kernels are built for; the plain set ends at 1,024.
  unsigned long mask[8192 / (8 * sizeof(unsigned long))] = {};
  if (sched_getaffinity(0, sizeof mask, reinterpret_cast<cpu_set_t*>(mask)) != 0) return 1;
  int n = 0;
  for (const unsigned long word : mask) n += std::popcount(word);
  return n < 1 ? 1 : n;
}

}  // namespace

int default_procs() {
  int n = affinity();
  const int quota = cgroup_quota();
  if (quota > 0 && quota < n) n = quota;
  return n > static_cast<int>(kMaxProcs) ? static_cast<int>(kMaxProcs) : n;
}

}  // namespace tri::sched
