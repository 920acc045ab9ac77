// netpoll.h - What the scheduler's loop asks of the network poller. See netpoll.cc for the poller.
//
// One thread polls at a time (the caller sees to it). Used by: find_work, sysmon.
#ifndef TRI_SCHED_NETPOLL_H
#define TRI_SCHED_NETPOLL_H

#include "sched/wait.h"

namespace tri::sched {

/// True once a descriptor was registered: until then nobody needs to poll.
bool netpoll_active();
/// Collects what has become ready. `until`: kNoWait does not block, kForever blocks until an event or netpoll_break().
/// Goroutines that were claimed come back as a list linked by G::next, each with its result set as ready() would;
/// plain threads have been woken already. Ends early and empty for a break or a signal.
G* netpoll(Time until);
/// Makes a blocked netpoll() return. Any thread.
void netpoll_break();
/// In a forked child: a new poller without descriptors of the parent.
void netpoll_reset_after_fork();

}  // namespace tri::sched

#endif
