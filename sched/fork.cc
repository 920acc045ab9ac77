// fork.cc - What fork() means for goroutines: the child has the one that forked, on one P, and no other.
//
// The other threads do not exist there, nor does what they were about to do. So before fork the locks that guard what
// the child keeps are taken: timers, and the pools of records and stacks, which would else be copied page by page while they change (a pool whose
// first record has been taken since, and is linked to anything by now). In the child everything is as if just started, except for the
// goroutine that called. The others' records stay as they are, asleep for ever: their waits are marked as claimed, so that nothing wakes
// them. sysmon comes back with the first goroutine that the child starts; until then there is nobody to make way for.
//
// Used by: proc and pool (fork_install), through pthread_atfork.
#include <pthread.h>
#include <sys/syscall.h>

#include "sched/maker.h"
#include "sched/netpoll.h"
#include "sched/pool.h"
#include "sched/pool_ager.h"
#include "sched/preempt.h"
#include "sched/proc.h"
#include "sched/stack.h"
#include "sched/sysmon.h"
#include "tri_arch.h"

namespace tri::sched {

namespace {

template <class Fn>
void each_p(Fn&& fn) {
  for (uint32_t i = 0; i < kMaxProcs; ++i) {
    P* const p = sched.ps[i].load(std::memory_order_acquire);
    if (p == nullptr) return;
    fn(p);
  }
}

// Of the locks that have an order the first ones.
void lock_scheduler() {
  Pool::lock_before_fork();
  sched.lock.lock();
}
void unlock_scheduler() {
  sched.lock.unlock();
  Pool::unlock_after_fork();
}

/// With the scheduler locked nobody gets a P, and what libc's fork() locks after this would never be free if somebody were preempted with it.
void wait_for_libc() {
  // They have had their turns by then. Others who are in libc's code now, as goroutines are that copy and sort all the time, came there after a long turn,
  // and hold nothing for that long.
  constexpr Time kPatience = 100'000'000;
  const Time until = now() + kPatience;
  const SpareLibc spare;
  do {
    unlock_scheduler();
    leave_critical();
    make_way();
    enter_critical();
    lock_scheduler();
  } while (anybody_is_preempted_in_libc() && now() < until);
}

void prepare() {
  const bool may_wait = !in_critical();  // it is no handler above us
  enter_critical();
  lock_scheduler();
  if (TRI_UNLIKELY(anybody_is_preempted_in_libc()) && may_wait) wait_for_libc();
  each_p([](P* p) { p->timers.lock().lock(); });
  g_pool_lock().lock();
  stack_pool_lock().lock();
}

void parent() {
  stack_pool_lock().unlock();
  g_pool_lock().unlock();
  each_p([](P* p) { p->timers.lock().unlock(); });
  unlock_scheduler();
  leave_critical();
}

/// This thread's P becomes P 0.
void keep_this_goroutine(M* m) {
  P* const p = sched.ps[0].load(std::memory_order_relaxed);
  if (m->blocking_depth != 0) {
    m->left_p = p;
    m->blocking_since = 0;
    p->left_by.store(m, std::memory_order_relaxed);
  } else {
    m->p = p;
  }
  p->m.store(m, std::memory_order_relaxed);
  runtime_alone_after_fork(p);
}

void child() {
  tri_tls.critical = 0;
  tri_tls.todo = Todo::kNothing;
  each_p([](P* p) {
    reset_heap_after_fork(p->timers);
    p->runq.clear();
    p->m.store(nullptr, std::memory_order_relaxed);
    p->left_by.store(nullptr, std::memory_order_relaxed);
    p->in_service = false;
    p->free_gs = nullptr;
    p->free_gs_count = 0;
    p->free_stacks = nullptr;
    p->free_stacks_count = 0;
  });
  M* const m = current_m();
  const G* const me = current_g();
  const uint32_t n = g_count();
  for (uint32_t i = 0; i < n; ++i) {
    G* const g = g_at(i);
    g->join_lock.reset_after_fork();
    if (g == me) continue;
    g->state.store(GState::kFree, std::memory_order_relaxed);  // for reports: nobody takes it from the pool
    g->joiners = nullptr;
    g->wait.fetch_or(1, std::memory_order_relaxed);
  }
  g_pool_lock().reset_after_fork();
  stack_pool_lock().reset_after_fork();
  sched.lock.reset_after_fork();
  sched.globq.reset_after_fork();
  sched.pinned.reset_after_fork();
  sched.idle.reset_after_fork();
  sched.spinning.store(0, std::memory_order_relaxed);
  sched.procs.store(0, std::memory_order_relaxed);
  sched.idle_ms = nullptr;
  sched.unborn_ms = nullptr;
  sched.idle_m_count.store(0, std::memory_order_relaxed);
  sched.all_ms = m;
  sched.m_count = m == nullptr ? 0 : 1;
  sched.keeper = nullptr;
  sched.keeping.store(false, std::memory_order_relaxed);
  sched.keeper_until.store(0, std::memory_order_relaxed);
  sched.polling.store(0, std::memory_order_relaxed);
  sched.service_threads.store(0, std::memory_order_relaxed);
  sched.unwatched.store(false, std::memory_order_relaxed);
  Pool::reset_after_fork();
  reset_pool_ager_after_fork();
  reset_sysmon_after_fork();
  reset_preempt_after_fork();
  reset_maker_after_fork();
  netpoll_reset_after_fork();
  if (m == nullptr) return runtime_off_after_fork();
  m->next_all = nullptr;
  m->thread_id.store(static_cast<uint32_t>(arch::system_call(SYS_gettid)), std::memory_order_relaxed);
  keep_this_goroutine(m);
}

constinit pthread_once_t installed = PTHREAD_ONCE_INIT;

}  // namespace

void fork_install() {
  pthread_once(&installed, [] { pthread_atfork(prepare, parent, child); });
}

}  // namespace tri::sched
