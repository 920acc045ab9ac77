// maker.h - The thread that makes threads for sysmon, which must not.
//
// pthread_create() waits for locks of libc's, and a goroutine that was preempted may hold one: it was making a thread itself, or joining
// one. It goes on when it gets a P, and where others compute without end only sysmon can bring that about. So sysmon never waits
// for libc: it asks here, and looks again later. (Go's runtime keeps a thread for such a purpose, too: its template thread.)
//
// Used by: sysmon, find_work, preempt, fork.
#ifndef TRI_SCHED_MAKER_H
#define TRI_SCHED_MAKER_H

namespace tri::sched {

/// With the scheduler; by a thread that may make threads.
void maker_start();
/// Asks for an M: for an idle P, if there is one, or in reserve. Does not block, and promises nothing: ask again. True: an earlier
/// request has not been answered yet.
bool ask_for_m();
/// In a forked child, where there is no such thread.
void reset_maker_after_fork();

}  // namespace tri::sched

#endif
