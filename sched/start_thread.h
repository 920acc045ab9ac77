// start_thread.h - Threads of our own: detached, with a stack of a given size, deaf to the program's signals.
//
// Used by: m, sysmon, maker, netpoll, pool_ager, resolve.
#ifndef TRI_SCHED_START_THREAD_H
#define TRI_SCHED_START_THREAD_H

#include <signal.h>

#include <cstddef>
#include <cstdint>

namespace tri::sched {

/// Calls main(arg) in a new thread that has `mask` blocked, all signals if it is null, from its first instruction on. 0, or an errno (EAGAIN).
/// Takes locks of libc's: not by sysmon (see maker.h), nor in a signal handler.
[[nodiscard]] int start_thread(void* (*main)(void*), void* arg, size_t stack_bytes, const sigset_t* mask = nullptr);

/// Whether the thread with this id is one of those that have all signals blocked: it works for the scheduler alone, and has nothing of the
/// program's but what the scheduler's records say. Lock-free.
bool is_service_thread(uint32_t id);
/// In a forked child: they stayed in the parent.
void forget_service_threads();

}  // namespace tri::sched

#endif
