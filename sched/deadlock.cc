// deadlock.cc - All goroutines asleep, and nothing that could wake one.
//
// What could: a timer; a descriptor that somebody waits for; a thread that is neither the library's own nor asleep in a wait of ours
// without a deadline (the resolver's threads are such, and those of the program); a goroutine in a blocking call. Only if tri_main() waits
// is it an error at all: a program that uses goroutines beside its own threads may rest.
//
// The keeper asks when there is nothing to do. Nobody is stopped for it: the picture is taken piece by piece, and is believed when two of
// them are the same. In between nothing has moved then, since each slice that begins, each wait that is opened and each that is claimed
// makes their sum grow; and for something to move, somebody would have had to be awake.
//
// Library's own threads that wake nobody by themselves count themselves in Sched::service_threads: sysmon, and the one that polls for plain
// threads. The allocator's background thread is such a one as well.
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "alloc/base/print.h"
#include "alloc/scavenger.h"
#include "sched/dump.h"
#include "sched/poll_desc.h"
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

/// What one look has seen.
struct Picture {
  uint64_t moves = 1;           // sum of what only grows: see the file head
  uint32_t threads_asleep = 0;  // in a wait of ours without a deadline
};

/// Looks at all goroutines, and at the threads that have waited once. False if one runs, or is about to. A record may become somebody else's
/// meanwhile: then its number of waits has moved.
[[gnu::no_sanitize_thread]] bool all_wait(Picture* picture) {
  for (uint32_t i = 0; i < g_count(); ++i) {
    const G* const g = g_at(i);
    // acquire: what it did before it went to sleep is there.
    const GState state = g->state.load(std::memory_order_acquire);
    const uint64_t wait = g->wait.load(std::memory_order_acquire);
    const bool is_claimed = (wait & 1) != 0;
    picture->moves += wait;
    if (state == GState::kFree) continue;
    if (g->kind == GKind::kThread) {
      const bool is_asleep = g->reason.load(std::memory_order_relaxed) != WaitReason::kNone && !is_claimed;
      if (is_asleep && g->deadline.load(std::memory_order_relaxed) == kForever) ++picture->threads_asleep;
    } else if (state != GState::kWaiting || is_claimed) {
      return false;
    }
  }
  return true;
}

/// Threads of ours that do nothing unless they are told to.
uint32_t count_own_threads() {
  uint32_t n = sched.service_threads.load(std::memory_order_relaxed) + (scavenger::is_in_background() ? 1 : 0);
  SpinGuard guard(sched.lock);
  for (const M* m = sched.all_ms; m != nullptr; m = m->next_all) {
    if (m->thread_id.load(std::memory_order_relaxed) != 0) ++n;
  }
  return n;
}

bool is_idle() { return busy_procs() == 0 && !global_work() && earliest_timer() == kForever; }

/// The moves in a picture in which all is asleep; 0 if it is not.
uint64_t look_for_deadlock() {
  if (!main_waits.load(std::memory_order_acquire) || !runtime_started() || !is_idle()) return 0;
  Picture picture;
  for (uint32_t i = 0; i < sched.procs.load(std::memory_order_relaxed); ++i) {
    picture.moves += sched.ps[i].load(std::memory_order_relaxed)->slice.load(std::memory_order_relaxed);
  }
  if (anybody_waits_for_descriptors() || !all_wait(&picture)) return 0;
  // A thread that sleeps or serves is there, so as many as there are means: these.
  if (count_threads() != count_own_threads() + picture.threads_asleep) return 0;
  // Last, so that what a thread did before it was seen asleep shows here.
  return is_idle() ? picture.moves : 0;
}

// Of the last look.
constinit uint64_t moves_before = 0;

}  // namespace

bool check_deadlock() {
  const uint64_t moves = look_for_deadlock();
  const bool is_first = moves != moves_before;
  moves_before = moves;
  if (moves == 0 || is_first) return moves != 0;
  Line line;
  line.text("tri: all goroutines are asleep: deadlock!").in_program().write_to(2);
  dump_tasks(2);
  abort();
}

}  // namespace tri::sched
