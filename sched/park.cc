// park.cc - Waiting and waking, for goroutines and for plain threads. See wait.h.
//
// A goroutine that is claimed may not have left its stack yet: it has published its wait, and is on its way. So who wakes it
// waits until its state says that its registers are saved, which is a matter of nanoseconds: the way is a critical section,
// from the lock that it holds, or from park() on. Only a goroutine that published without a lock may be stopped on
// that way by the kernel, or by our signal before park(); sysmon then wakes it, when it has parked.
#include <errno.h>
#include <pthread.h>

#include "alloc/base/sys.h"
#include "sched/context.h"
#include "sched/proc.h"
#include "sched/sysmon.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr uint32_t kQuiet = 0;
constexpr uint32_t kCalled = 1;
constexpr uint32_t kAsleep = 2;

// A thread that is woken within this many looks (about 2 us) is spared two system calls.
constexpr int kSpins = 100;
// Looks (about 20 us) at a goroutine that has not parked yet.
constexpr int kPatience = 1000;

constinit pthread_key_t key = 0;
constinit pthread_once_t key_once = PTHREAD_ONCE_INIT;

void on_thread_exit(void* g) {
  set_current_g(nullptr);
  end_stand_in(static_cast<G*>(g));
  watch_for_deadlock();
}

G* make_stand_in() {
  G* const g = take_g();
  if (g == nullptr) return nullptr;
  g->next = nullptr;
  g->kind = GKind::kThread;
  g->state.store(GState::kRunning, std::memory_order_relaxed);
  set_current_g(g);
  pthread_once(&key_once, [] { pthread_key_create(&key, on_thread_exit); });
  pthread_setspecific(key, g);
  return g;
}

int park_thread(G* g, SpinLock* unlock, Time deadline) {
  const WaitId id = g->wait.load(std::memory_order_relaxed) & ~uint64_t{1};
  g->deadline.store(deadline, std::memory_order_relaxed);  // for who looks for a deadlock
  if (unlock != nullptr) unlock->unlock();
  for (int i = 0; i < kSpins; ++i) {
    // acquire: pairs with the release in ready(), and makes the result visible.
    if (g->doorbell.load(std::memory_order_acquire) == kCalled) return g->result;
    arch::spin_hint();
  }
  uint32_t seen = kQuiet;
  g->doorbell.compare_exchange_strong(seen, kAsleep, std::memory_order_acquire, std::memory_order_acquire);
  watch_for_deadlock();
  while (g->doorbell.load(std::memory_order_acquire) != kCalled) {
    Time left = -1;
    if (deadline != kForever) {
      left = deadline - now();
      if (left <= 0) {
        if (claim(g, id)) return -ETIMEDOUT;
        left = -1;  // somebody has won, and will call
      }
    }
    sys::futex_wait(&g->doorbell, kAsleep, left);
  }
  return g->result;
}

[[gnu::cold]] [[noreturn]] void waits_in_blocking_call() {
  check_failed("a goroutine between tri_blocking_begin() and tri_blocking_end() does not wait for others", __FILE__,
               __LINE__);
}

/// False if it takes too long: g has not parked yet.
inline bool await_parked(const G* g) {
  // acquire: pairs with the release in finish_switch(): its registers are saved.
  if (TRI_LIKELY(g->state.load(std::memory_order_acquire) == GState::kWaiting)) return true;
  for (int i = 0; i < kPatience; ++i) {
    arch::spin_hint();
    if (g->state.load(std::memory_order_acquire) == GState::kWaiting) return true;
  }
  return false;
}

}  // namespace

const char* name_of(WaitReason reason) {
  static constexpr const char* kNames[] = {"nothing",    "chan send", "chan receive", "select",       "select",
                                           "chan (nil)", "sleep",     "join",         "mutex",        "rwmutex (read)",
                                           "rwmutex",    "cond",      "waitgroup",    "once",         "semaphore",
                                           "context",    "fd read",   "fd write",     "blocking call"};
  static_assert(sizeof kNames / sizeof *kNames == static_cast<size_t>(WaitReason::kBlockingCall) + 1);
  return kNames[static_cast<size_t>(reason)];
}

G* current() {
  G* const g = current_g();
  return TRI_LIKELY(g != nullptr) ? g : make_stand_in();
}

WaitId begin_wait(G* g) { return begin_wait_inline(g); }
bool claim(G* g, WaitId id) { return claim_inline(g, id); }

namespace {

[[gnu::always_inline]] inline int park_without_context(G* g, WaitReason reason, SpinLock* unlock, Time deadline) {
  g->reason.store(reason, std::memory_order_relaxed);
  if (TRI_UNLIKELY(g->kind == GKind::kThread)) {
    const int result = park_thread(g, unlock, deadline);
    g->reason.store(WaitReason::kNone, std::memory_order_relaxed);
    return result;
  }
  if (unlock == nullptr) enter_critical();
  M* const m = current_m();
  if (TRI_UNLIKELY(m->p == nullptr)) waits_in_blocking_call();
  g->since.store(m->p->coarse_now, std::memory_order_relaxed);
  set_todo<Todo::kPark>();
  m->unlock = unlock;
  m->deadline = deadline;
  leave(m, g, true);
  return g->result;
}

// The same under a context: the wait is registered there, and ends with it.
[[gnu::noinline]] int park_in_context(G* g, WaitReason reason, SpinLock* unlock, Time deadline) {
  Context* const context = g->context;
  ContextWait w;
  w.g = g;
  w.id = g->wait.load(std::memory_order_relaxed) & ~uint64_t{1};
  w.result = -ECANCELED;
  // A context that is over already claims the wait here; if a waker was faster, its ready() is on the way.
  if (!context->enter(&w) && claim(g, w.id)) {
    if (unlock != nullptr) unlock->unlock();
    return -ECANCELED;
  }
  if (context->deadline() < deadline) deadline = context->deadline();
  const int result = park_without_context(g, reason, unlock, deadline);
  context->leave(&w);
  return result;
}

}  // namespace

int park(WaitReason reason, SpinLock* unlock, Time deadline) {
  G* const g = current_g();
  if (TRI_LIKELY(g->context == nullptr)) return park_without_context(g, reason, unlock, deadline);
  return park_in_context(g, reason, unlock, deadline);
}

namespace {

void ready_thread(G* g, int result) {
  g->result = result;
  // release: pairs with the acquire in park_thread().
  if (g->doorbell.exchange(kCalled, std::memory_order_release) == kAsleep) sys::futex_wake(&g->doorbell, 1);
}

/// True if g is in a queue of this P, and somebody may have to be woken for it.
[[gnu::always_inline]] inline bool queue_goroutine(G* g, int result) {
  g->result = result;
  if (TRI_UNLIKELY(!await_parked(g))) {
    sysmon_ready_later(g);
    return false;
  }
  g->state.store(GState::kRunnable, std::memory_order_relaxed);
  M* const m = current_m();
  if (TRI_UNLIKELY(m == nullptr || m->p == nullptr)) {
    sched.globq.put(g);
    wake_p();
    return false;
  }
  P* const p = m->p;
  if (TRI_LIKELY(current_g() != nullptr) && !p->attention.load(std::memory_order_relaxed)) {
    G* const before = p->runq.put_next(g);
    if (before != nullptr) put_local(p, before, false);
  } else {
    put_local(p, g, false);
  }
  return true;
}

[[gnu::always_inline]] inline void ready_goroutine(G* g, int result) {
  if (TRI_UNLIKELY(!queue_goroutine(g, result))) return;
  P* const p = current_m()->p;
  if (TRI_UNLIKELY(p->skip_wakes != 0) && !p->runq.has_ring()) {
    --p->skip_wakes;  // most likely the caller waits soon, and g runs here
  } else {
    wake_if_idle();
  }
}

}  // namespace

void ready(G* g, int result) {
  if (TRI_UNLIKELY(g->kind == GKind::kThread)) return ready_thread(g, result);
  enter_critical();
  ready_goroutine(g, result);
  leave_critical();
}

void ready_in_critical(G* g, int result) {
  if (TRI_UNLIKELY(g->kind == GKind::kThread)) return ready_thread(g, result);
  ready_goroutine(g, result);
}

void ready_quietly(G* list) {
  enter_critical();
  while (list != nullptr) {
    G* const next = list->next_claimed;
    if (TRI_UNLIKELY(list->kind == GKind::kThread)) {
      ready_thread(list, list->result);
    } else {
      (void)queue_goroutine(list, list->result);
    }
    list = next;
  }
  leave_critical();
}

}  // namespace tri::sched
