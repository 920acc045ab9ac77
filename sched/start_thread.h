// start_thread.h - Threads of our own: detached, with a stack of a given size, deaf to the program's signals.
//
// Used by: m, sysmon, maker, netpoll, pool_ager, resolve.
#ifndef TRI_SCHED_START_THREAD_H
#define TRI_SCHED_START_THREAD_H

#include <signal.h>

#include <cstddef>

namespace tri::sched {

/// Calls main(arg) in a new thread that has `mask` blocked, all signals if it is null, from its first instruction on. 0, or an errno (EAGAIN).
/// Takes locks of libc's: not by sysmon (see maker.h), nor in a signal handler.
[[nodiscard]] int start_thread(void* (*main)(void*), void* arg, size_t stack_bytes, const sigset_t* mask = nullptr);

}  // namespace tri::sched

#endif
