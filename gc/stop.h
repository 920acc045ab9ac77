// stop.h - Stopping all other threads of the process, and letting them go on.
//
// Each thread that the kernel lists is sent a signal. The handler notes where the thread was interrupted and waits, all signals
// blocked, until the stop is over. No thread has to be registered, and none that is stopped needs anything of ours:
//
//   who stops                                           each thread, in the handler
//   lists /proc/self/task, sends the signal     --->    kAsked -> kStopped, with its registers
//   waits for all; lists again, until none is new
//      ... the world stands still ...                   sleeps on `over`
//   resume(): over + 1                          --->    kStopped -> kGone, goes on
//   waits for all to be gone: the records are used again
//
// A thread that cannot answer is left alone and counted: one that blocks the signal, that sleeps in the kernel where no signal
// reaches it (vfork), or whose turn does not come for long (kPatience). It may run on while the others stand.
// What a collector concludes then must allow for that. Threads that end do not count, and those that the library made for itself
// (os::BareThread, os::OwnThread) are not asked.
//
// The handler may run anywhere in the program, in the middle of malloc as well: it touches its own record, three words and futexes, and the
// thread may hold any lock meanwhile. So who stops takes the locks first that it needs while the world stands.
//
// See gc.h for the overview. Used by: leaks, why, cycle.
#ifndef TRI_GC_STOP_H
#define TRI_GC_STOP_H

#include <ucontext.h>

#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// A thread while the world stands still.
struct StoppedThread {
  uint32_t id;
  uintptr_t sp;                 // of the code that was interrupted
  uintptr_t thread_pointer;     // where its thread-local storage is
  const ucontext_t* registers;  // all of them, vector registers included, lie from here to registers_end
  const char* registers_end;
};

/// The signal; from 1 to SIGRTMAX. By default a real-time signal that libc leaves to programs. Before the first stop.
void set_stop_signal(int signal);
int get_stop_signal();

/// Stops all other threads. 0; -EBUSY: the caller is in a stop of its own already; -ENOMEM; -ENOENT: no /proc; -EMFILE; -EINVAL: the signal is none.
/// One thread at a time: others that call it wait, and are stopped in there. lock() takes what no thread may hold when it stands, and unlock()
/// releases it again once all do (also on errors).
[[nodiscard]] int stop_world(void (*lock)() = nullptr, void (*unlock)() = nullptr);
/// Lets them go on. By who stopped them.
void resume_world();

/// While the world stands: the threads that do, and the number of those that may run.
template <class Fn>
void each_stopped(Fn&& fn);
size_t stopped_count();
size_t unstopped_count();

/// In a forked child: it is alone.
void stop_reset_after_fork();

// ---- what each_stopped() stands on

/// The record number i; false if that thread did not stop.
bool stopped_thread(size_t i, StoppedThread* out);
size_t asked_count();

template <class Fn>
void each_stopped(Fn&& fn) {
  StoppedThread t;
  for (size_t i = 0; i < asked_count(); ++i) {
    if (stopped_thread(i, &t)) fn(t);
  }
}

}  // namespace tri::gc

#endif
