// preempt.cc - See preempt.h, and critical.h.
#include "sched/preempt.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include "alloc/base/sys.h"
#include "alloc/thread.h"
#include "sched/critical.h"
#include "sched/maker.h"
#include "sched/proc.h"
#include "tri_arch.h"

namespace tri::sched {

constinit thread_local uint32_t tls_critical = 0;
constinit thread_local uint32_t tls_preempt_pending = 0;

namespace {

constinit int preempt_signal = SIGURG;
constinit struct sigaction previous = {};
constinit std::atomic<uint64_t> count{0};

/// In the allocator's slow path, with its locks.
bool in_allocator() {
  const MCache* const mcache = current_mcache();
  return mcache->owner_tp != 0 && mcache->busy;
}

/// Gives the P to another M and waits for one. Lock-free state, our spin locks (this thread holds none: not critical) and futexes
/// only: it runs in a signal handler. Nothing here makes a thread.
void give_way(G* g) {
  enter_critical();
  tls_preempt_pending = 0;
  M* const m = current_m();
  P* const p = m->p;
  if (p == nullptr) return leave_critical();
  M* const other = reserve_m();
  // Without a thread to spare it is another one's turn that was preempted before.
  G* const next = other == nullptr ? sched.pinned.take(1) : nullptr;
  if (other == nullptr && next == nullptr) return leave_critical();
  count.fetch_add(1, std::memory_order_relaxed);
  m->doorbell.store(0, std::memory_order_relaxed);
  m->next_p = nullptr;
  m->p = nullptr;
  g->pinned = m;
  g->state.store(GState::kRunnable, std::memory_order_relaxed);
  // Before the P goes, so that its new owner does not find an empty house. Whoever takes g rings our bell.
  sched.pinned.put(g);
  if (other != nullptr) {
    give_p(other, p, false);
  } else {
    give_to_pinned(next, p);
  }
  wait_doorbell(m, kForever);
  P* const mine = m->next_p;
  m->next_p = nullptr;
  g->pinned = nullptr;
  g->state.store(GState::kRunning, std::memory_order_relaxed);
  m->p = mine;
  mine->slice.store(mine->slice.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  leave_critical();
}

// Runs in whatever the thread was doing.
void on_preempt(int signal, siginfo_t* info, void* context) {
  // Others' uses of the signal go to their handler.
  const bool is_ours = info->si_code == SI_TKILL && info->si_pid == sys::process_id();
  if (!is_ours) {
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
      previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
      previous.sa_handler(signal);
    }
    return;
  }
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread) return;
  if (critical_count() != 0) {
    tls_preempt_pending = 1;
    return;
  }
  if (current_m()->p == nullptr || in_allocator()) return;
  const int saved_errno = errno;
  give_way(g);
  errno = saved_errno;
}

}  // namespace

void set_preempt_signal(int signal) { preempt_signal = signal; }
int get_preempt_signal() { return preempt_signal; }

void preempt_install() {
  if (preempt_signal == 0) return;
  struct sigaction action = {};
  action.sa_sigaction = on_preempt;
  // On the thread's own signal stack: the goroutine's may be small, and nearly full.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&action.sa_mask);
  struct sigaction before = {};
  sigaction(preempt_signal, &action, &before);
  // A forked child that starts the scheduler anew has inherited our own handler.
  if (before.sa_sigaction != on_preempt) previous = before;
}

void preempt(P* p) {
  p->attention.store(true, std::memory_order_relaxed);
  p->until_look.store(1, std::memory_order_relaxed);
  if (preempt_signal == 0) return;
  M* const m = p->m.load(std::memory_order_acquire);  // pairs with the release where a P is given
  if (m == nullptr) return;
  if (sched.idle_m_count.load(std::memory_order_relaxed) == 0) {
    // Those that were preempted take turns only while no thread can be had: what never ran would not come to its own.
    const bool takes_long = ask_for_m();
    if (!takes_long || sched.pinned.size() == 0) return;
  }
  const uint32_t thread = m->thread_id.load(std::memory_order_relaxed);
  // A signal that comes when the goroutine has changed, or the M has lost its P, finds a reason to do nothing, or ends a slice early.
  if (thread != 0) arch::system_call(SYS_tgkill, sys::process_id(), static_cast<long>(thread), preempt_signal);
}

void preempt_late() {
  tls_preempt_pending = 0;
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread || current_m()->p == nullptr || in_allocator()) return;
  const int saved_errno = errno;
  give_way(g);
  errno = saved_errno;
}

uint64_t preemptions() { return count.load(std::memory_order_relaxed); }

}  // namespace tri::sched
