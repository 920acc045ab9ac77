// deadlock.cc - All goroutines asleep, and nothing that could wake one.
//
// Asked by the M that is about to sleep without end: no timer runs, nothing is runnable. Sockets may still bring something, so with a
// network nothing is certain; so may any thread that is not asleep in a wait of ours. Only if tri_main() waits is it an error at all: a
// program that uses goroutines beside its own threads may rest.
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "alloc/base/print.h"
#include "sched/dump.h"
#include "sched/netpoll.h"
#include "sched/proc.h"
#include "tri_arch.h"

namespace tri::sched {

constinit std::atomic<bool> main_waits{false};

namespace {

struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[];
};

/// Threads of this process; 0 without /proc.
uint32_t count_threads() {
  const long fd = arch::system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/self/task"),
                                    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  alignas(8) char buffer[4096];
  uint32_t count = 0;
  for (;;) {
    const long n = arch::system_call(SYS_getdents64, fd, reinterpret_cast<long>(buffer), sizeof buffer);
    if (n <= 0) break;
    for (long i = 0; i < n; i += reinterpret_cast<DirectoryEntry*>(buffer + i)->length) {
      if (reinterpret_cast<DirectoryEntry*>(buffer + i)->name[0] != '.') ++count;
    }
  }
  arch::system_call(SYS_close, fd);
  return count;
}

/// Threads that only a goroutine, or one another, can wake. Adds the numbers of their waits to *print.
uint32_t threads_asleep_for_ever(uint64_t* print) {
  uint32_t asleep = 0;
  for (uint32_t i = 0; i < g_count(); ++i) {
    const G* const g = g_at(i);
    if (g->kind != GKind::kThread || g->state.load(std::memory_order_relaxed) != GState::kRunning) continue;
    if (g->reason.load(std::memory_order_relaxed) == WaitReason::kNone) continue;
    if ((g->wait.load(std::memory_order_relaxed) & 1) != 0 || g->deadline.load(std::memory_order_relaxed) != kForever)
      continue;
    ++asleep;
    *print += g->wait.load(std::memory_order_relaxed);
  }
  return asleep;
}

}  // namespace

namespace {

// Of the last look, by the one M that keeps the timers: a number that changes whenever anything has run or begun to wait.
constinit uint64_t last_print = 0;

/// A picture in which all is asleep, taken piece by piece; 0 if it is not.
uint64_t look_for_deadlock() {
  if (!main_waits.load(std::memory_order_acquire) || !runtime_started() || netpoll_active()) return 0;
  uint64_t print = 1;
  uint32_t ms = 0;
  {
    SpinGuard guard(sched.lock);
    for (const M* m = sched.all_ms; m != nullptr; m = m->next_all) {
      if (m->blocking_depth != 0) return 0;
      if (m->thread_id.load(std::memory_order_relaxed) != 0) ++ms;
    }
    for (uint32_t i = 0; i < sched.procs.load(std::memory_order_relaxed); ++i) {
      print += sched.ps[i].load(std::memory_order_relaxed)->slice.load(std::memory_order_relaxed);
    }
  }
  // Ours: the Ms, sysmon. A background thread of the allocator counts as foreign: better silent than wrong.
  if (count_threads() != ms + 1 + threads_asleep_for_ever(&print)) return 0;
  // Last, so that what a thread did before it was seen asleep shows here.
  if (busy_procs() != 0 || sched.globq.size() != 0 || earliest_timer() != kForever) return 0;
  return print;
}

}  // namespace

void check_deadlock() {
  const uint64_t print = look_for_deadlock();
  const uint64_t before = last_print;
  last_print = print;
  // Twice the same, at least a millisecond apart (see keep()): nothing moved while the picture was taken.
  if (print == 0 || print != before) return;
  Line line;
  line.text("tri: all goroutines are asleep: deadlock!").in_program().write_to(2);
  dump_tasks(2);
  abort();
}

}  // namespace tri::sched
