// syscall.h - Code that blocks the thread: its P is left behind, for others to use.
//
// blocking_begin() takes a few stores: the M writes into the P that it has left it, and goes on. If the call is short, blocking_end() takes the
// P back by one CAS. If not, sysmon takes it, by the same CAS, once work waits for it. A goroutine whose last call lost its P is expected to block
// long again: if others wait, it hands the P on at once, and sysmon's reaction time is saved.
//
// Between the two the goroutine must not wait for others (the calls of wait.h end the program), except to wake them.
//
// Used by: shim, proc; netpoll for files.
#ifndef TRI_SCHED_SYSCALL_H
#define TRI_SCHED_SYSCALL_H

namespace tri::sched {

/// In a plain thread nothing. They nest.
void blocking_begin();
void blocking_end();
/// For the end of a goroutine.
void end_all_blocking();
/// Runs fn(arg) in such a region, on the thread's own stack (1 MiB), which foreign code may need more of than a goroutine has.
void call_blocking(void (*fn)(void*), void* arg);

}  // namespace tri::sched

extern "C" {
/// fn(arg) on the stack whose top is `top` (aligned to 16), and back. See arch/*/call_on.S.
void tri_call_on(void* top, void (*fn)(void*), void* arg);
}

#endif
