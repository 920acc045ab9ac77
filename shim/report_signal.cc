// report_signal.cc - See report_signal.h.
#include "shim/report_signal.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "alloc/base/print.h"
#include "alloc/thread.h"
#include "sched/critical.h"
#include "sched/dump.h"
#include "shim/leaks_report.h"
#include "shim/options.h"
#include "shim/report.h"

namespace tri {
namespace {

constexpr long kTryAgain = 1'000'000;  // ns

constinit std::atomic<int> wanted{0};
constinit struct sigaction before = {};
// For another try. A forked child has no timers: there the signal has to be sent again.
constinit timer_t timer = {};
constinit pid_t timer_of = 0;

/// What the report needs may be locked by the very code that was interrupted.
bool is_interrupted() { return sched::in_critical() || in_slow_path(); }

/// The search for leaks takes more than the smallest signal stacks have.
bool has_room_to_search() {
  constexpr size_t kRoom = 32 * 1024;
  stack_t s = {};
  return sigaltstack(nullptr, &s) != 0 || (s.ss_flags & SS_ONSTACK) == 0 || s.ss_size >= kRoom;
}

void report_leaks(int fd) {
  if (has_room_to_search()) {
    (void)write_leaks_report(fd);
    return;
  }
  Line line;
  line.text("tri: cannot look for leaks: the signal came on a stack of less than 32 KiB").in_program().write_to(fd);
}

void try_again() {
  itimerspec soon = {};
  soon.it_value.tv_nsec = kTryAgain;
  if (timer_of == getpid()) timer_settime(timer, 0, &soon, nullptr);
}

void on_signal(int) {
  const int saved_errno = errno;
  if (is_interrupted()) {
    try_again();
  } else {
    bool close_it = false;
    if (const int fd = open_report(&close_it); fd >= 0) {
      write_stats_report(fd, "running");
      sched::dump_tasks(fd);
      if (options.leaks != LeakCheck::kOff) report_leaks(fd);
      if (close_it) close(fd);
    }
  }
  errno = saved_errno;
}

int make_timer(int signal) {
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = signal;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return -errno;
  timer_of = getpid();
  return 0;
}

}  // namespace

int report_signal() { return wanted.load(std::memory_order_relaxed); }

int report_on_signal(int signal) {
  const int old = wanted.exchange(0, std::memory_order_relaxed);
  if (old != 0) {
    sigaction(old, &before, nullptr);
    if (timer_of == getpid()) timer_delete(timer);
    timer_of = 0;
  }
  if (signal == 0) return 0;
  if (const int error = make_timer(signal); error != 0) return error;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaction(signal, &action, &before) != 0) return -errno;
  wanted.store(signal, std::memory_order_relaxed);
  return 0;
}

}  // namespace tri
