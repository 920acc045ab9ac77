/* tasks.c - A program whose goroutines stand where a debugger is to find them: each in a function named after what it waits for.
 *
 * On one processor, so that all is settled when everybody_waits() is reached: the one that spins has been preempted by then, and the
 * last that was started has not run. What tri_report() says of them goes to stderr before. If a debugger has changed
 * nothing, it reaches nobody_was_disturbed(), else it aborts. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tri.h"

enum { kTasks = 9 };

static tri_task tasks[kTasks];
static tri_chan *values, *gate;
static tri_mutex mutex;
static tri_ctx *until_over;
static int ends[2];
static const struct timespec moment = {0, 1000000};
static atomic_bool spins, blocks, calls, over;

#define NOINLINE __attribute__((noinline))

/* Deeper than one frame, with arguments and locals that unwinding has to find in saved registers and on the stack. */
NOINLINE static int take_below(int depth, int sum) {
  int value = 0;
  if (depth == 0) {
    if (tri_chan_recv(values, &value, TRI_FOREVER) < 0) abort();
    return value + sum;
  }
  value = take_below(depth - 1, sum + depth);
  return value + 1;
}

NOINLINE static void taker(void *arg) {
  long mark = 4711;
  (void)arg;
  if (take_below(3, 100) != 7 + 106 + 3 || mark != 4711) abort();
}

NOINLINE static void sleeper(void *arg) {
  (void)arg;
  tri_ctx_attach(until_over);
  if (tri_sleep(TRI_S(3600)) != -ECANCELED) abort();
}

NOINLINE static void locker(void *arg) {
  (void)arg;
  tri_mutex_lock(&mutex);
  tri_mutex_unlock(&mutex);
}

NOINLINE static void reader(void *arg) {
  char c = 0;
  (void)arg;
  if (tri_read(ends[0], &c, 1, TRI_FOREVER) != 1 || c != 'x') abort();
}

NOINLINE static void chooser(void *arg) {
  int value = 0;
  struct tri_case cases[] = {TRI_RECV(gate, &value)};
  (void)arg;
  if (tri_select(cases, 1, TRI_FOREVER) != 0) abort();
}

NOINLINE static void spinner(void *arg) {
  (void)arg;
  atomic_store(&spins, true);
  while (!atomic_load(&over)) {
  }
}

NOINLINE static void blocker(void *arg) {
  (void)arg;
  tri_blocking_begin();
  atomic_store(&blocks, true);
  while (!atomic_load(&over)) nanosleep(&moment, NULL);
  tri_blocking_end();
}

NOINLINE static void on_large_stack(void *arg) {
  (void)arg;
  atomic_store(&calls, true);
  while (!atomic_load(&over)) nanosleep(&moment, NULL);
}

NOINLINE static void caller(void *arg) {
  (void)arg;
  tri_blocking(on_large_stack, NULL);
}

NOINLINE static void fresh(void *arg) { (void)arg; }

static void spawn(int i, void (*fn)(void *), const char *name) {
  struct tri_attr attr = {.size = sizeof attr, .name = name};
  if (tri_spawn(&tasks[i], fn, NULL, &attr) < 0) abort();
}

/* For the debugger to stop at. */
NOINLINE void everybody_waits(void) { __asm__ volatile("" : : : "memory"); }
NOINLINE void nobody_was_disturbed(void) { __asm__ volatile("" : : : "memory"); }

/* With the signal blocked, nobody else gets the processor however slow the machine is; `fresh` would run. */
static void set_preemptible(int how) {
  sigset_t signal;
  sigemptyset(&signal);
  sigaddset(&signal, SIGURG);
  if (pthread_sigmask(how, &signal, NULL) != 0) abort();
}

static void run(void *arg) {
  const int value = 7;
  (void)arg;
  tri_mutex_lock(&mutex);
  spawn(0, taker, "taker");
  spawn(1, sleeper, "sleeper");
  spawn(2, locker, NULL);
  spawn(3, reader, "reader");
  spawn(4, chooser, "chooser");
  spawn(5, blocker, "blocker");
  spawn(6, caller, "caller");
  while (!atomic_load(&blocks) || !atomic_load(&calls)) tri_sleep(TRI_MS(1));
  tri_sleep(TRI_MS(20));
  spawn(7, spinner, "spinner");
  while (!atomic_load(&spins)) tri_yield();
  set_preemptible(SIG_BLOCK);
  spawn(8, fresh, "fresh");
  if (tri_report(2, "tasks") < 0) abort();
  everybody_waits();
  set_preemptible(SIG_UNBLOCK);
  atomic_store(&over, true);
  tri_ctx_cancel(until_over);
  tri_mutex_unlock(&mutex);
  if (tri_chan_send(values, &value, TRI_FOREVER) < 0 || tri_chan_send(gate, &value, TRI_FOREVER) < 0) abort();
  if (tri_write_all(ends[1], "x", 1, TRI_FOREVER) != 1) abort();
  for (int i = 0; i < kTasks; ++i) {
    if (tri_join(tasks[i], TRI_FOREVER) < 0) abort();
  }
  nobody_was_disturbed();
}

int main(void) {
  if (tri_self() == 0) return 1;  // first of all, so that it has the first id, and ids are the same in each run
  tri_procs(1);
  values = tri_chan_new(sizeof(int), 0);
  gate = tri_chan_new(sizeof(int), 0);
  until_over = tri_ctx_new(NULL, TRI_FOREVER);
  if (values == NULL || gate == NULL || until_over == NULL || pipe(ends) < 0) return 1;
  return tri_main(run, NULL) < 0;
}
