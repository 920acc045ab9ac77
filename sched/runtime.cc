// runtime.cc - The scheduler as a whole: its start, the number of Ps, and what a forked child is left with.
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <new>

#include "alloc/base/sys.h"
#include "alloc/persistent.h"
#include "sched/free_lists.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "tri_arch.h"

namespace tri::sched {

constinit std::atomic<Runtime> runtime{Runtime::kOff};

namespace {

constinit std::atomic<int> wished_procs{0};

P* make_p(uint32_t id) {
  if (P* p = sched.ps[id].load(std::memory_order_relaxed)) return p;
  void* const memory = persistent::alloc(sizeof(P), alignof(P));
  if (memory == nullptr) return nullptr;
  P* const p = ::new (memory) P;
  p->id = id;
  p->seed = id * 2654435761U + 1;
  sched.ps[id].store(p, std::memory_order_release);
  return p;
}

bool register_membarrier() {
  return arch::system_call(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/// With the lock held.
void take_out_of_service(P* p) {
  p->in_service = false;
  p->timers.move_all_to(sched.ps[0].load(std::memory_order_relaxed)->timers);
}

/// Sets the number of Ps. While it was 1, the caller has that P, or nobody runs yet.
int resize(uint32_t n) {
  P* grown[kMaxProcs];
  uint32_t grown_count = 0;
  int error = 0;
  {
    SpinGuard guard(sched.lock);
    const uint32_t old = sched.procs.load(std::memory_order_relaxed);
    for (uint32_t i = 0; i < n; ++i) {
      P* const p = make_p(i);
      if (p == nullptr) {
        error = -ENOMEM;
        n = i;
        break;
      }
      if (p->in_service) continue;
      p->in_service = true;
      grown[grown_count++] = p;
    }
    if (n == 0) return error;
    if (n > 1) {
      for (uint32_t i = 0; i < n; ++i) sched.ps[i].load(std::memory_order_relaxed)->runq.share();
    }
    sched.procs.store(n, std::memory_order_seq_cst);
    for (uint32_t i = 0; i < grown_count; ++i) sched.idle.put(grown[i]->id);
    // Those that go: the idle ones at once, the others when they pass through the scheduler.
    for (uint32_t i = n; i < old; ++i) {
      P* const p = sched.ps[i].load(std::memory_order_relaxed);
      if (sched.idle.take(i)) {
        take_out_of_service(p);
      } else {
        p->attention.store(true, std::memory_order_relaxed);
        p->look_soon();
      }
    }
  }
  timer_added(earliest_timer());  // see retire_p()
  for (uint32_t i = 0; i < grown_count; ++i) wake_p();
  return error;
}

struct Resize {
  int n;
  int error;
};

}  // namespace

void spill(P* p) {
  for (;;) {
    G* g = p->runq.take_next();
    if (g == nullptr) g = p->runq.take();
    if (g == nullptr) return;
    sched.globq.put(g);
  }
}

void retire_p(P* p) {
  spill(p);
  empty_free_lists(p);
  p->m.store(nullptr, std::memory_order_relaxed);
  {
    SpinGuard guard(sched.lock);
    if (!is_retired(p)) return sched.idle.put(p->id);  // the number went up again meanwhile
    take_out_of_service(p);
  }
  // The keeper may have looked while a timer was in neither heap.
  timer_added(sched.ps[0].load(std::memory_order_relaxed)->timers.earliest());
}

int set_procs(int n) {
  if (n > static_cast<int>(kMaxProcs)) n = static_cast<int>(kMaxProcs);
  if (!runtime_started()) {
    const int wished =
        n > 0 ? wished_procs.exchange(n, std::memory_order_relaxed) : wished_procs.load(std::memory_order_relaxed);
    return wished > 0 ? wished : default_procs();
  }
  const int old = static_cast<int>(sched.procs.load(std::memory_order_relaxed));
  if (n <= 0 || n == old) return old;
  const G* const g = current_g();
  if (g != nullptr && g->kind == GKind::kGoroutine) {
    enter_critical();
    resize(static_cast<uint32_t>(n));
    leave_critical();
    return old;
  }
  // A goroutine does it: while there is one P only, it is on that.
  SpawnOptions options;
  TaskId id = 0;
  options.name = "procs";
  options.copied = &n;
  options.copied_bytes = sizeof n;
  options.id = &id;
  if (go([](void* arg) { set_procs(*static_cast<int*>(arg)); }, nullptr, options) == 0) join(id, kForever);
  return old;
}

int start_runtime() {
  if (TRI_LIKELY(runtime.load(std::memory_order_acquire) == Runtime::kOn)) return 0;
  // Before anything that a fork in another thread could leave unfinished in its child.
  fork_install();
  for (;;) {
    Runtime seen = Runtime::kOff;
    if (runtime.compare_exchange_strong(seen, Runtime::kStarting, std::memory_order_acquire)) break;
    if (seen == Runtime::kAlone) {
      sysmon_wake();
      runtime.store(Runtime::kOn, std::memory_order_release);
      return 0;
    }
    if (seen == Runtime::kOn) return 0;
    sys::yield();  // another thread is at it
  }
  sched.light_fence = register_membarrier();
  take_mask_of_ms();
  int n = wished_procs.load(std::memory_order_relaxed);
  if (n <= 0) n = default_procs();
  const int error = resize(static_cast<uint32_t>(n));
  if (error != 0 && sched.procs.load(std::memory_order_relaxed) == 0) {
    runtime.store(Runtime::kOff, std::memory_order_release);
    return error;
  }
  install_overflow_handler();
  preempt_install();
  sysmon_start();
  // The first M is made here, so that a process that may have no threads learns of it now.
  const int id = sched.idle.take_any();
  if (id >= 0 && !start_m(sched.ps[id].load(std::memory_order_relaxed), false)) {
    sched.idle.put(static_cast<uint32_t>(id));
    runtime.store(Runtime::kOff, std::memory_order_release);
    return -EAGAIN;
  }
  runtime.store(Runtime::kOn, std::memory_order_release);
  return 0;
}

void runtime_off_after_fork() { runtime.store(Runtime::kOff, std::memory_order_relaxed); }
void runtime_alone_after_fork(P* p) {
  runtime.store(Runtime::kAlone, std::memory_order_relaxed);
  p->in_service = true;
  sched.procs.store(1, std::memory_order_relaxed);
}

}  // namespace tri::sched
