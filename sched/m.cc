// m.cc - Threads: made when a P has nobody to run it, asleep when they have no P. See m.h.
#include "sched/m.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include <new>

#include "alloc/base/sys.h"
#include "alloc/persistent.h"
#include "sched/fiber.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "sched/start_thread.h"
#include "sched/sysmon.h"

namespace tri::sched {

constinit thread_local ThreadWords tri_tls;

namespace {

constexpr uint32_t kMaxMs = 10'000;
// Virtual; the scheduler needs little, what tri_blocking() runs on it may need more.
constexpr size_t kMStack = fiber::kStackFactor * 1024 * 1024;

constinit sigset_t mask_of_ms = {};

}  // namespace

void take_mask_of_ms() { pthread_sigmask(SIG_SETMASK, nullptr, &mask_of_ms); }

void ring(M* m) {
  m->doorbell.store(1, std::memory_order_release);  // pairs with the acquire in wait_doorbell(): next_p is there
  sys::futex_wake(&m->doorbell, 1);
}

void wait_doorbell(M* m, Time until) {
  while (m->doorbell.load(std::memory_order_acquire) == 0) {
    Time left = -1;
    if (until != kForever) {
      left = until - now();
      if (left <= 0) return;
    }
    sys::futex_wait(&m->doorbell, 0, left);
  }
}

void acquire_p(M* m, P* p) {
  TRI_ASSERT(m->p == nullptr);
  m->p = p;
  p->m.store(m, std::memory_order_release);  // pairs with the acquire in preempt()
  arm_sysmon();
}

namespace {

void* m_main(void* arg) {
  auto* const m = static_cast<M*>(arg);
  tri_tls.m = m;
  m->thread_id.store(sys::thread_id(), std::memory_order_relaxed);
  prctl(PR_SET_NAME, "tri-worker");
  m->fiber = fiber::current();
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* low = nullptr;
    pthread_attr_getstack(&attributes, &low, &m->stack_bytes);
    m->stack_low = low;
    pthread_attr_destroy(&attributes);
  }
  (void)set_signal_stack();  // without it an overflow ends as a plain SIGSEGV
  P* const p = m->next_p;
  m->next_p = nullptr;
  if (p != nullptr) acquire_p(m, p);
  schedule(m);
}

/// The record of an M whose thread could not be made, or a new one.
M* take_m_record() {
  SpinGuard guard(sched.lock);
  if (M* const m = sched.unborn_ms) {
    sched.unborn_ms = m->next_idle;
    return m;
  }
  if (sched.m_count >= kMaxMs) return nullptr;
  void* const memory = persistent::alloc(sizeof(M), alignof(M));
  if (memory == nullptr) return nullptr;
  M* const m = ::new (memory) M;
  ++sched.m_count;
  m->next_all = sched.all_ms;
  sched.all_ms = m;
  return m;
}

/// A new M with a P (or none: it goes to the idle list by itself).
bool make_m(P* p, bool spinning) {
  M* const m = take_m_record();
  if (m == nullptr) return false;
  m->next_p = p;
  m->spinning = spinning;
  if (p != nullptr) p->m.store(m, std::memory_order_release);  // pairs with the acquire in preempt()
  // Signals are kept out until the thread is what its handlers expect.
  enter_critical();
  const int error = start_thread(m_main, m, kMStack, &mask_of_ms);
  leave_critical();
  if (error == 0) return true;
  if (p != nullptr) p->m.store(nullptr, std::memory_order_relaxed);
  // The record waits for the next attempt: sysmon may make one every millisecond.
  m->next_p = nullptr;
  m->spinning = false;
  SpinGuard guard(sched.lock);
  m->next_idle = sched.unborn_ms;
  sched.unborn_ms = m;
  return false;
}

}  // namespace

M* reserve_m_locked() {
  M* m = sched.idle_ms;
  if (m != nullptr) {
    sched.idle_ms = m->next_idle;
    sched.idle_m_count.store(sched.idle_m_count.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  } else {
    m = sched.keeper;
    sched.keeper = nullptr;
  }
  return m;
}

M* reserve_m() {
  SpinGuard guard(sched.lock);
  return reserve_m_locked();
}

bool hand_p_locked(M* m, P* p, bool spinning) {
  m->next_p = p;
  m->spinning = spinning;
  p->m.store(m, std::memory_order_release);         // pairs with the acquire in preempt()
  m->doorbell.store(1, std::memory_order_release);  // pairs with the acquire in wait_doorbell()
  return m->polls;
}

void wake_m(M* m, bool polls) {
  if (polls) {
    netpoll_break();
  } else {
    sys::futex_wake(&m->doorbell, 1);
  }
}

void give_p(M* m, P* p, bool spinning) {
  // The one that keeps the timers may wake by itself just now, and looks under the lock for what it was given.
  sched.lock.lock();
  const bool polls = hand_p_locked(m, p, spinning);
  sched.lock.unlock();
  wake_m(m, polls);
}

void give_to_pinned(G* g, P* p) {
  M* const m = g->pinned;
  enter_critical();
  p->m.store(m, std::memory_order_release);  // pairs with the acquire in preempt()
  m->next_p = p;
  ring(m);
  leave_critical();
  arm_sysmon();
}

bool start_m(P* p, bool spinning) {
  if (M* const m = reserve_m()) {
    give_p(m, p, spinning);
    return true;
  }
  // A goroutine that was preempted has a thread already. It may also hold the lock of libc's that the making of another one would wait for.
  if (G* const g = sched.pinned.take(1)) {
    give_to_pinned(g, p);
    // It does not search: if there is more to do, somebody else has to.
    if (spinning && sched.spinning.fetch_sub(1, std::memory_order_seq_cst) == 1) wake_p();
    return true;
  }
  return !is_sysmon() && make_m(p, spinning);
}

bool reserve_idle_m() {
  if (sched.idle_m_count.load(std::memory_order_relaxed) != 0) return true;
  return make_m(nullptr, false);
}

void stop_m(M* m) {
  TRI_ASSERT(m->p == nullptr);
  if (m->spinning) {
    m->spinning = false;
    sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
  }
  {
    SpinGuard guard(sched.lock);
    m->doorbell.store(0, std::memory_order_relaxed);
    m->next_p = nullptr;
    m->next_idle = sched.idle_ms;
    sched.idle_ms = m;
    sched.idle_m_count.store(sched.idle_m_count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  wait_doorbell(m, kForever);
  P* const p = m->next_p;
  m->next_p = nullptr;
  acquire_p(m, p);
}

}  // namespace tri::sched
