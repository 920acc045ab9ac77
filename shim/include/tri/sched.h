/* sched.h - Goroutines: functions that run concurrently, thousands to a thread.
 *
 * They are started by any thread at any time; the first one starts the scheduler (before that the library makes no thread and
 * installs no handler). As many run at once as there are processors (tri_procs()); the others wait their turn. A
 * goroutine that waits in a call of this library gives its place to another. One that runs for more than 10 ms while others
 * wait is interrupted by a signal (SIGURG), wherever it is. Code that blocks in the kernel belongs between
 * tri_blocking_begin() and tri_blocking_end(); where it is not, its processor is given on after 10 ms.
 *
 * A goroutine may run on different threads in turn, but only from one call of this library to the next; so errno, and what else is
 * thread_local, must not be expected to keep across such a call. It must not end or cancel the thread (pthread_exit).
 *
 * A goroutine's stack is small: 64 KiB unless said otherwise, of which only what is touched costs memory. An overflow ends the program in
 * one line that names the goroutine.
 *
 * No function here touches errno: errors come back as negative numbers (-ENOMEM). "Waits" means: a goroutine gives
 * its place to others, a plain thread sleeps.
 *
 * After fork() the child has the goroutine (or thread) that forked, and no other; new ones may be started there.
 *
 * The model is that of the Go runtime (G, M, P; "Scalable Go Scheduler Design Doc", Vyukov 2012). */
#ifndef TRI_SCHED_H
#define TRI_SCHED_H

#include <stddef.h>
#include <stdint.h>

#include "tri/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- starting and ending ------------------------------------------------------------------------------------------- */

/** A goroutine's name, for joining it: never used for another one, so it cannot dangle. 0 is nobody's. */
typedef uint64_t tri_task;

/** What tri_spawn() may be told; all zeros for the defaults. Set `size` to sizeof(struct tri_attr): later versions add
 *  fields at the end. */
struct tri_attr {
  size_t size;
  const char *name;   /**< for reports; up to 23 bytes are copied */
  size_t stack_size;  /**< bytes, rounded up to a power of two, 16 KiB to 256 MiB; 0: the default */
};

/** Runs fn(arg) in a goroutine and waits for its end; others that still run then go on running. For main(): if all goroutines
 *  wait for one another, and nothing can wake them, the program ends with a list of them ("deadlock").
 *  @return 0; -ENOMEM; -EAGAIN: no thread could be made; -EDEADLK: called by a goroutine. Waits. */
int tri_main(void (*fn)(void *arg), void *arg);

/** Starts fn(arg) in a goroutine. It runs soon, not at once. Any thread. Does not wait.
 *  @return 0; -ENOMEM; -EAGAIN: the scheduler could not be started, as no thread could be made. */
int tri_go(void (*fn)(void *arg), void *arg);

/** The same, with a copy of the `size` bytes at arg (128 at most), which lives as long as the goroutine; fn is given the copy,
 *  aligned to 16. No memory is allocated for it.
 *  @return as tri_go(), and -E2BIG: size is above 128. */
int tri_go_copy(void (*fn)(void *arg), const void *arg, size_t size);

/** The same as tri_go(), with a name to join it by (out may be NULL) and attributes (attr may be NULL).
 *  @return as tri_go(), and -EINVAL: attr->size is 0. */
int tri_spawn(tri_task *out, void (*fn)(void *arg), void *arg, const struct tri_attr *attr);

/** Waits until the task has ended; at once if it has. Any number may join a task, any number of times.
 *  @return 0; -ETIMEDOUT; -ECANCELED; -ESRCH: there was never such a task; -EDEADLK: it is the caller; -ENOMEM. */
int tri_join(tri_task task, tri_time deadline);

/** The caller's own name. Of a plain thread, too; 0 if there is no memory for it. */
tri_task tri_self(void);

/** Lets others run. In a plain thread: sched_yield(). */
void tri_yield(void);

/** Ends the calling goroutine, from any depth, after what was deferred has run. C++ destructors on its stack do not run. In a
 *  plain thread it ends the program with a message. */
void tri_exit(void) __attribute__((noreturn));

/** Has fn(arg) run when the calling goroutine ends; the last one first.
 *  @return 0; -ENOMEM; -EPERM: not a goroutine. */
int tri_defer(void (*fn)(void *arg), void *arg);

/** A word of the calling goroutine's own, `key` from 0 to 3: 0 at its start. In a plain thread, of the thread.
 *  @return set: 0; -EINVAL: no such key; -ENOMEM. get: NULL for such a key. Does not wait. */
int tri_local_set(unsigned key, void *value);
void *tri_local_get(unsigned key);

/* ---- time ---------------------------------------------------------------------------------------------------------- */

/** Waits for `ns` nanoseconds; lets others run if that is 0 or less. @return 0; -ECANCELED; -ENOMEM. */
int tri_sleep(int64_t ns);

/** Waits until the deadline, for ever if it is TRI_FOREVER. @return as tri_sleep(). */
int tri_sleep_until(tri_time deadline);

/** A timer: runs a function in a new goroutine at a moment, once or again and again. Where it stands is the user's business: zeroed before its
 *  first use, and stopped before it goes. */
struct tri_timer {
  uint64_t opaque[8];
};
#define TRI_TIMER_INIT {{0}}

/** Starts the timer, or starts it anew: fn(arg) at `when`, and, if period > 0, every `period` ns after that; ticks that are missed
 *  are dropped. Calls for one timer must not run in parallel. Does not wait.
 *  @return 0; -ENOMEM, -EAGAIN; -EINVAL: fn is NULL or period negative. */
int tri_timer_start(struct tri_timer *timer, tri_time when, int64_t period, void (*fn)(void *arg), void *arg);

/** Moves the next tick of a timer that was started once to `when`, with the function and period that it has; starts it again if it has run out.
 *  @return 1 if it was running, 0 if not; -EINVAL: it was never started; -ENOMEM. */
int tri_timer_reset(struct tri_timer *timer, tri_time when);

/** Stops the timer. @return 1 if that kept it from running its function; 0 if it was not running: a goroutine
 *  that it has started may still be about to. Afterwards its memory may be given up. Does not wait. */
int tri_timer_stop(struct tri_timer *timer);

/* ---- processors and blocking calls ----------------------------------------------------------------------------------- */

/** Sets how many goroutines may run at once, if n > 0 (256 at most). The default is the smaller of the process's
 *  affinity and its cgroups' quotas. @return the number before. May be called at any time. */
int tri_procs(int n);

/** What stands between the two may block in the kernel: another goroutine then gets this one's processor. A few
 *  nanoseconds when it does not. They nest. Between them the goroutine must not wait in a call of this library (a program that does is ended with a message); it may wake
 *  others. In a plain thread they do nothing. end() may wait for a processor. */
void tri_blocking_begin(void);
void tri_blocking_end(void);

/** Runs fn(arg) between the two, on a stack of nearly 1 MiB: for code that blocks, or that needs more stack than the goroutine has.
 *  Waits for its end. */
void tri_blocking(void (*fn)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif

#endif
