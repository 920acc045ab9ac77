// preempt.h - Taking the processor from code that does not give it up.
//
// Any C code may be interrupted, in the middle of malloc or printf as well, so its stack is not switched under it. The signal's
// handler hands the P to another M and then waits, in the thread that it interrupted and with the goroutine on it, until the
// scheduler comes to that goroutine again (it queues like all others, marked as pinned to its M) and gives the thread a P. What libc
// or malloc had locked stays locked meanwhile; who waits for such a lock blocks its own thread, looks like a hog, and loses its P in turn.
//
// Put off: in a critical section (critical.h), which ends by doing it; in a slow path of the allocator, whose locks the
// scheduler itself needs; for some milliseconds in libc, whose locks fork() needs; and while somebody forks: sysmon comes again.
//
// fork() waits for libc's locks after our handler has taken the scheduler's, without which nobody gets a P: so it must not begin while somebody
// who was preempted may hold one. To be spared makes that rare; that it does not happen is up to who forks, who waits for them.
//
// Used by: sysmon, proc, fork.
#ifndef TRI_SCHED_PREEMPT_H
#define TRI_SCHED_PREEMPT_H

#include "sched/p.h"

namespace tri::sched {

/// The signal; SIGURG by default, as Go's: programs that use it are few, and must expect it at any time. 0: no preemption. Before the start of the scheduler.
void set_preempt_signal(int signal);
int get_preempt_signal();
/// Asks the M that has p to give it up, at its next call of the scheduler, or by signal.
void preempt(P* p);
/// Whether a goroutine was preempted in libc's code and has not gone on since. Certain while sched.lock is held.
bool anybody_is_preempted_in_libc();
/// For who forks, from its first look at the former to its last: whoever is in libc's code is left there for longer meanwhile, so that they become fewer.
class SpareLibc {
 public:
  SpareLibc();
  ~SpareLibc();
  SpareLibc(const SpareLibc&) = delete;
  SpareLibc& operator=(const SpareLibc&) = delete;
};
/// Waits a little, for those who are preempted to have their turns. Unlike yield() it stays on this thread, as code below that is not ours may
/// need. In no critical section.
void make_way();
/// In a forked child: nobody is.
void reset_preempt_after_fork();
/// Goroutines that were preempted by signal, ever.
uint64_t preemptions();

}  // namespace tri::sched

#endif
