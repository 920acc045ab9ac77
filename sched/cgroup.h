// cgroup.h - The CPU quotas of the cgroups that this process is in.
//
// Version 2 keeps "quota period" in cpu.max, version 1 in cpu.cfs_quota_us and cpu.cfs_period_us; a group's ancestors limit it as well, as far as
// their files can be seen from here. Both versions may be mounted at once, the cpu controller is then in one of them.
//
// Used by: procs.
#ifndef TRI_SCHED_CGROUP_H
#define TRI_SCHED_CGROUP_H

namespace tri::sched {

/// Processors, rounded up; 0: no limit. `root` stands before all paths: "" but in tests.
int cgroup_quota(const char* root = "");

}  // namespace tri::sched

#endif
