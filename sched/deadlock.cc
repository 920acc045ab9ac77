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

/// Threads that only a goroutine, or one another, can wake.
uint32_t threads_asleep_for_ever() {
  uint32_t asleep = 0;
  for (uint32_t i = 0; i < g_count(); ++i) {
    const G* const g = g_at(i);
    if (g->kind != GKind::kThread || g->state.load(std::memory_order_relaxed) != GState::kRunning) continue;
    if (g->reason.load(std::memory_order_relaxed) == WaitReason::kNone) continue;
    if ((g->wait.load(std::memory_order_relaxed) & 1) != 0 || g->deadline.load(std::memory_order_relaxed) != kForever)
      continue;
    ++asleep;
  }
  return asleep;
}

}  // namespace

void check_deadlock() {
  if (!main_waits.load(std::memory_order_acquire) || !runtime_started() || netpoll_active() || busy_procs() != 0 ||
      sched.globq.size() != 0)
    return;
  uint32_t ms = 0;
  {
    SpinGuard guard(sched.lock);
    for (const M* m = sched.all_ms; m != nullptr; m = m->next_all) {
      if (m->blocking_depth != 0) return;
      if (m->thread_id.load(std::memory_order_relaxed) != 0) ++ms;
    }
  }
  // Ours: the Ms, sysmon. A background thread of the allocator counts as foreign: better silent than wrong.
  if (count_threads() != ms + 1 + threads_asleep_for_ever()) return;
  Line line;
  line.text("tri: all goroutines are asleep: deadlock!").in_program().write_to(2);
  dump_tasks(2);
  abort();
}

}  // namespace tri::sched
