// preempt.cc - See preempt.h, and critical.h.
#include "sched/preempt.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <signal.h>
#include <sys/syscall.h>

#include "alloc/base/sys.h"
#include "alloc/thread.h"
#include "interrupted.h"
#include "sched/critical.h"
#include "sched/maker.h"
#include "sched/proc.h"
#include "tri_arch.h"

namespace tri::sched {

namespace {

constinit int preempt_signal = SIGURG;
constinit struct sigaction previous = {};
constinit std::atomic<uint64_t> count{0};

// The code of libc, from where it begins to where it ends. Empty until it is found.
struct Code {
  uintptr_t begin;
  uintptr_t end;
};
constinit Code libc = {};

// How often a goroutine in libc's code is spared, and how long. Both: on a busy machine the time may pass without an instruction of it,
// and where signals come thick, many are nothing.
constexpr uint32_t kSparedTimes = 8;
constexpr Time kSparedFor = 8'000'000;
// While somebody waits to fork. It is who was preempted in libc before that the fork waits for, and this is their chance to come out.
constexpr Time kSparedForFork = 50'000'000;

int find_libc(dl_phdr_info* info, size_t, void*) {
  const auto inside = reinterpret_cast<uintptr_t>(&gnu_get_libc_version);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0 || inside - begin >= segment.p_memsz) continue;
    libc = {begin, begin + segment.p_memsz};
    return 1;
  }
  return 0;
}

// Goroutines that are preempted and were in libc's code then. Grows under sched.lock.
constinit std::atomic<uint32_t> preempted_in_libc{0};
// Those who are about to fork.
constinit std::atomic<uint32_t> forkers{0};

bool is_in_libc(const ucontext_t* interrupted) {
  return program_counter(interrupted) - libc.begin < libc.end - libc.begin;
}

/// Whether to leave it alone for now because it may hold a lock of libc's that others cannot wait for: fork() takes those (of its own
/// handlers, of the streams) after our prepare(), and so with all locks of the scheduler held. They are held for a
/// few instructions as a rule; who stays in libc for long sorts, or sleeps in the kernel, and is preempted like everybody.
bool spare(M* m) {
  const uint64_t slice = m->p->slice.load(std::memory_order_relaxed);
  const Time at = now();
  if (m->spared == 0 || m->spared_slice != slice) {
    m->spared_slice = slice;
    m->spared = 0;
    m->spared_since = at;
  }
  const Time most = forkers.load(std::memory_order_relaxed) == 0 ? kSparedFor : kSparedForFork;
  return m->spared++ < kSparedTimes || at - m->spared_since < most;
}

/// Not leave_critical(), which would answer a signal that came meanwhile by another try on top of this one, and so on: it is forgotten. It was
/// about the slice that is over by now, or nobody is there to give way to. One that comes between the two lines is only late.
void end_try() {
  tri_tls.todo = Todo::kNothing;
  decrement32<offsetof(ThreadWords, critical)>();
}

/// Gives the P to another M and waits for one. Lock-free state, our spin locks (this thread holds none: not critical) and futexes
/// only: it runs in a signal handler. Nothing here makes a thread.
void give_way(G* g, bool in_libc) {
  enter_critical();
  tri_tls.todo = Todo::kNothing;
  M* const m = current_m();
  P* const p = m->p;
  if (p == nullptr) return end_try();
  // Not waited for: a thread in fork() holds it, and may itself wait for what was locked by the code that we interrupted.
  if (!sched.lock.try_lock()) return end_try();
  M* const other = reserve_m_locked();
  // Without a thread to spare it is another one's turn that was preempted before.
  G* const next = other == nullptr ? sched.pinned.take(1) : nullptr;
  if (other == nullptr && next == nullptr) {
    sched.lock.unlock();
    return end_try();
  }
  count.fetch_add(1, std::memory_order_relaxed);
  if (in_libc) preempted_in_libc.fetch_add(1, std::memory_order_relaxed);
  m->doorbell.store(0, std::memory_order_relaxed);
  m->next_p = nullptr;
  m->p = nullptr;
  g->pinned = m;
  g->state.store(GState::kRunnable, std::memory_order_relaxed);
  // Before the P goes, so that its new owner does not find an empty house. Whoever takes g rings our bell.
  sched.pinned.put(g);
  const bool polls = other != nullptr && hand_p_locked(other, p, false);
  sched.lock.unlock();
  if (other != nullptr) {
    wake_m(other, polls);
  } else {
    give_to_pinned(next, p);
  }
  wait_doorbell(m, kForever);
  P* const mine = m->next_p;
  m->next_p = nullptr;
  g->pinned = nullptr;
  g->state.store(GState::kRunning, std::memory_order_relaxed);
  m->p = mine;
  mine->begin_slice();
  // It goes on, and needs nothing of the scheduler's to come out of libc. relaxed: the number orders nothing.
  if (in_libc) preempted_in_libc.fetch_sub(1, std::memory_order_relaxed);
  end_try();
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
  if (in_critical()) {
    if (tri_tls.todo == Todo::kNothing) tri_tls.todo = Todo::kPreempt;
    return;
  }
  M* const m = current_m();
  if (m->p == nullptr || in_slow_path()) return;
  const bool in_libc = is_in_libc(static_cast<const ucontext_t*>(context));
  if (in_libc && spare(m)) return;
  const int saved_errno = errno;
  give_way(g, in_libc);
  errno = saved_errno;
}

}  // namespace

void set_preempt_signal(int signal) { preempt_signal = signal; }
int get_preempt_signal() { return preempt_signal; }

void preempt_install() {
  if (preempt_signal == 0) return;
  if (libc.end == 0) dl_iterate_phdr(find_libc, nullptr);
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
  p->look_soon();
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
  tri_tls.todo = Todo::kNothing;
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread || current_m()->p == nullptr || in_slow_path()) return;
  const int saved_errno = errno;
  give_way(g, false);  // the critical section was the scheduler's, which libc does not call
  errno = saved_errno;
}

bool anybody_is_preempted_in_libc() { return preempted_in_libc.load(std::memory_order_relaxed) != 0; }

// relaxed: who sees it late, and is preempted, is waited for as well.
SpareLibc::SpareLibc() { forkers.fetch_add(1, std::memory_order_relaxed); }
SpareLibc::~SpareLibc() { forkers.fetch_sub(1, std::memory_order_relaxed); }

void make_way() {
  const M* const m = current_m();
  G* const g = current_g();
  if (m != nullptr && m->p != nullptr && g->kind != GKind::kThread) give_way(g, false);
  sys::yield();  // a thread without a P, or somebody else has sched.lock
}

void reset_preempt_after_fork() {
  preempted_in_libc.store(0, std::memory_order_relaxed);
  forkers.store(0, std::memory_order_relaxed);
}

uint64_t preemptions() { return count.load(std::memory_order_relaxed); }

}  // namespace tri::sched
