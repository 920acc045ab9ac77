// pool_ager.h - Who ages the pools, so that what they keep goes away in an idle process as well.
//
// A goroutine that sleeps for a second, ages all pools, and ends when none holds anything. Before there are goroutines a thread does it: a
// program that uses pools between its own threads must not get a scheduler for that. It calls the user's drop(), so it is neither the
// keeper nor sysmon, which must not be held up.
//
// Used by: pool, fork.
#ifndef TRI_SCHED_POOL_AGER_H
#define TRI_SCHED_POOL_AGER_H

#include "sched/wait.h"

namespace tri::sched {

/// After an object was put where none was: sees to it that the pools are aged. Cheap when they are.
void watch_pools();
/// In a forked child: there is no ager; the next put() that finds its stripe empty, or a piece of it full, starts one.
void reset_pool_ager_after_fork();

// For tests.
bool pools_are_watched();
void set_pool_age(Time period);

}  // namespace tri::sched

#endif
