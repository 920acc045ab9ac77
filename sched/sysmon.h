// sysmon.h - The thread that watches the others, while there is something to watch.
//
// It hands on the P of a goroutine that blocks in the kernel, preempts one that has run for a slice of 10 ms while others wait, sees to
// timers and the network when no P does, and to Ps that sleep beside work. It sleeps 20 us between looks, doubling up to 10 ms while nothing
// happens, and without end while all Ps are idle: arm_sysmon() wakes it when one no longer is.
//
// Used by: proc, park, m, fork.
#ifndef TRI_SCHED_SYSMON_H
#define TRI_SCHED_SYSMON_H

#include "sched/wait.h"

namespace tri::sched {

/// For ready(): g was claimed before it had parked.
void sysmon_ready_later(G* g);
/// The caller is this thread: it must not wait for libc (see maker.h).
bool is_sysmon();
/// In a forked child: there is no such thread; the next arm_sysmon() makes one.
void reset_sysmon_after_fork();
/// Rounds of its loop, ever. For tests.
uint64_t sysmon_rounds();

}  // namespace tri::sched

#endif
