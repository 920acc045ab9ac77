// netpoll.h - What the scheduler's loop asks of the network poller. See netpoll.cc for the poller.
//
// One thread polls at a time (the caller sees to it). Used by: find_work, sysmon, select, descriptor.
#ifndef TRI_SCHED_NETPOLL_H
#define TRI_SCHED_NETPOLL_H

#include "sched/g.h"
#include "sched/wait.h"

namespace tri::sched {

class PollDesc;

/// True once a goroutine has waited for a descriptor: until then nobody needs to poll.
bool netpoll_active();
/// Collects what has become ready. `until`: kNoWait does not block, kForever blocks until an event or netpoll_break().
/// Goroutines that were claimed come back as a list linked by G::next_claimed, each with its result set as ready() would;
/// plain threads have been woken already. Ends early and empty for a break or a signal. Several threads may call it with kNoWait
/// at once, beside the one that blocks.
G* netpoll(Time until);
/// Makes a blocked netpoll() return. Any thread.
void netpoll_break();
/// In a forked child: a new poller without descriptors of the parent.
void netpoll_reset_after_fork();

/// For select: wakes {g, id}, a wait that current() has opened, with the given result when fd can be read (written); no earlier call has to
/// have failed. 0: armed, until it wakes or is disarmed; 1: ready already, nothing was armed; negative errno.
/// Closing the descriptor wakes it with -EBADF. Any number of waits may be armed on a descriptor.
[[nodiscard]] int netpoll_arm(int fd, bool write, G* g, WaitId id, int result_when_ready);
/// Takes back what was armed; harmless if it has woken, or the descriptor was closed.
void netpoll_disarm(int fd, bool write, G* g, WaitId id);

/// The poller that wakes g's kind of waiter: 0 the scheduler's, 1 that of plain threads.
inline int poller_of(const G* g) { return g->kind == GKind::kThread; }
/// For descriptor: makes sure that edges of `fd` reach g's kind of waiter. Called with d's lock held; netpoll_prepare(g) went before.
int netpoll_register_locked(int fd, PollDesc* d, const G* g);
/// Opens the poller for g's kind of waiter, if it is not. 0 or a negative errno.
int netpoll_prepare(const G* g);
/// Takes fd out of every poller.
void netpoll_unregister(int fd);

}  // namespace tri::sched

#endif
