// proc.cc - Starting, switching and ending goroutines; the loop of an M. See proc.h for the overview.
#include "sched/proc.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstring>
#include <new>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "alloc/persistent.h"
#include "sched/fiber.h"
#include "sched/stack.h"
#include "sched/switch.h"
#include "sched/syscall.h"
#include "tri_arch.h"

extern "C" {
constinit thread_local tri::sched::M* tri_tls_m = nullptr;
constinit thread_local tri::sched::G* tri_tls_g = nullptr;
}

namespace tri::sched {

constinit Sched sched;

namespace {

// Go's figure; prime, so that it does not beat with loops of the program.
constexpr uint32_t kLookFurther = 61;
// Goroutines that may run on one time slice, each readied by the one before, while others wait in the ring. At 30 ns each they have about
// 4 us; a slice of sysmon's may end it sooner.
constexpr uint32_t kMaxInherited = 128;
constexpr uint32_t kFreeGs = 64;
constexpr uint32_t kFreeStacks = 64;
constexpr uint32_t kMaxMs = 10'000;
// Virtual; the scheduler needs little, what tri_blocking() runs on it may need more.
constexpr size_t kMStack = fiber::kStackFactor * 1024 * 1024;

enum class Runtime : uint32_t {
  kOff,
  kStarting,
  kAlone,  // a forked child: with the goroutine that forked, and without sysmon
  kOn,
};
constinit std::atomic<Runtime> runtime{Runtime::kOff};
constinit std::atomic<int> wished_procs{0};
// The signal mask of whoever started the runtime: what Ms run with, no matter which thread makes them.
constinit sigset_t mask_of_ms = {};

// ---- switching --------------------------------------------------------------------------------------------------

void recycle_g(P* p, G* g) {
  g->name[0] = 0;
  g->joinable = false;
  g->blocks_long = false;
  g->context = nullptr;
  if (TRI_UNLIKELY(g->has_locals)) {
    memset(g->locals, 0, sizeof g->locals);
    g->has_locals = false;
  }
  g->generation.store(g->generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  g->state.store(GState::kFree, std::memory_order_relaxed);
  if (p == nullptr) return put_g(g);
  g->next = p->free_gs;
  p->free_gs = g;
  if (TRI_LIKELY(++p->free_gs_count <= kFreeGs)) return;
  G* last = g;
  for (uint32_t i = 1; i < kFreeGs / 2; ++i) last = last->next;
  p->free_gs = last->next;
  p->free_gs_count -= kFreeGs / 2;
  put_gs(g, last);
}

char*& link_of(char* stack_top) { return reinterpret_cast<char**>(stack_top)[-1]; }

[[gnu::noinline]] bool bind_stack(P* p, G* g) {
  char* top;
  if (TRI_LIKELY(g->stack_bytes == default_stack() && p->free_stacks != nullptr)) {
    top = p->free_stacks;
    p->free_stacks = link_of(top);
    --p->free_stacks_count;
  } else {
    top = take_stack(g->stack_bytes);
    if (top == nullptr) return false;
  }
  g->stack_top = top;
  g->sp = prepare_stack(top);
  g->fiber = fiber::create();
  return true;
}

void release_stack(P* p, G* g) {
  char* const top = g->stack_top;
  fiber::destroy(g->fiber);
  fiber::clean(top - g->stack_bytes, g->stack_bytes);
  g->fiber = nullptr;
  g->stack_top = nullptr;
  g->sp = nullptr;
  if (p == nullptr || g->stack_bytes != default_stack()) return put_stack(top, g->stack_bytes);
  link_of(top) = p->free_stacks;
  p->free_stacks = top;
  if (TRI_LIKELY(++p->free_stacks_count <= kFreeStacks)) return;
  for (uint32_t i = 0; i < kFreeStacks / 2; ++i) {
    char* const old = p->free_stacks;
    p->free_stacks = link_of(old);
    --p->free_stacks_count;
    put_stack(old, g->stack_bytes);
  }
}

/// The rarer things that may be left to be done.
[[gnu::noinline]] void finish_rest(M* m, G* left, After after) {
  switch (after) {
    case After::kYield:
      left->state.store(GState::kRunnable, std::memory_order_relaxed);
      put_local(m->p, left, false);
      break;
    case After::kExit:
      release_stack(m->p, left);
      recycle_g(m->p, left);
      break;
    case After::kGlobal:
      left->state.store(GState::kRunnable, std::memory_order_relaxed);
      sched.globq.put(left);
      if (m->p == nullptr) wake_p();
      break;
    case After::kPark:
    case After::kNothing:
      break;
  }
  leave_critical();
}

/// What the goroutine that ran here before left to be done. By whoever runs after it, still in its critical section, and
/// ends that.
[[gnu::always_inline]] inline void finish_switch() {
  M* const m = current_m();
  const After after = m->after;
  if (after == After::kNothing) return leave_critical_last();
  m->after = After::kNothing;
  G* const left = m->left;
  if (TRI_LIKELY(after == After::kPark)) {
    SpinLock* const unlock = m->unlock;
    if (TRI_UNLIKELY(m->deadline != kForever)) arm_deadline(m->p->timers, left, m->deadline);
    // release: pairs with the acquire in ready(): who sees it waiting may run it.
    left->state.store(GState::kWaiting, std::memory_order_release);
    if (unlock == nullptr) return leave_critical_last();
    return unlock->unlock_last();
  }
  finish_rest(m, left, after);
}

[[gnu::always_inline]] inline void switch_stacks(void** save, void* load, void* to_fiber, const void* to_low,
                                                 size_t to_bytes, void* gone) {
  void* fake = nullptr;
  fiber::before(gone, &fake, to_low, to_bytes);
  fiber::at_switch(to_fiber);
  tri_switch(save, load);
  fiber::after(fake);
}

[[gnu::always_inline]] inline void switch_to_g(void** save, G* to, void* gone) {
  to->state.store(GState::kRunning, std::memory_order_relaxed);
  set_current_g(to);
  switch_stacks(save, to->sp, to->fiber, to->stack_top - to->stack_bytes, to->stack_bytes, gone);
}

inline void switch_to_scheduler(M* m, G* from, void* gone) {
  set_current_g(nullptr);
  switch_stacks(&from->sp, m->sp, m->fiber, m->stack_low, m->stack_bytes, gone);
}

void begin_slice(P* p) {
  p->inherited = 0;
  p->slice.store(p->slice.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// True if at every 61st tick there is anything beyond the local queue.
bool is_more_elsewhere(const P* p) {
  return sched.globq.size() != 0 || p->timers.earliest() != kForever || netpoll_active();
}

/// The next goroutine of the local queue, if no other decision is to be made. Null: the scheduler has to, or there is none.
[[gnu::always_inline]] inline G* pick_local(P* p) {
  // sysmon's wish for attention is a 1 in the count; it repeats what our store overwrites.
  const uint32_t until_look = p->until_look.load(std::memory_order_relaxed) - 1;
  p->until_look.store(until_look, std::memory_order_relaxed);
  if (TRI_UNLIKELY(until_look == 0)) {
    p->until_look.store(kLookFurther, std::memory_order_relaxed);
    if (p->attention.load(std::memory_order_relaxed) || is_more_elsewhere(p)) {
      p->look_further = true;
      return nullptr;
    }
  }
  G* g = p->runq.take_next();
  if (g != nullptr) {
    if (TRI_LIKELY(++p->inherited < kMaxInherited || !p->runq.has_ring())) return g;
    put_local(p, g, false);
  }
  g = p->runq.take();
  if (g != nullptr) begin_slice(p);
  return g;
}

void wake_joiners(G* g) {
  g->join_lock.lock();
  Joiner* j = g->joiners;
  g->joiners = nullptr;
  // Under the lock, so that a join that comes now sees that it comes too late.
  g->generation.store(g->generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  Joiner* won = nullptr;
  while (j != nullptr) {
    Joiner* const next = j->next;
    if (claim(j->g, j->id)) {
      j->next = won;
      won = j;
    }
    j = next;
  }
  g->join_lock.unlock();
  while (won != nullptr) {
    // The entry stands on the stack of the one that is woken.
    Joiner* const next = won->next;
    ready(won->g, 0);
    won = next;
  }
}

/// Ends the goroutine. Returns only if `adopt`, and then as a fresh goroutine on the same stack.
void end_goroutine(bool adopt) {
  G* const g = current_g();
  while (Defer* const d = g->defers) {
    g->defers = d->next;
    d->fn(d->arg);
    deallocate(d);
  }
  end_all_blocking();
  if (g->joinable) wake_joiners(g);
  enter_critical();
  M* const m = current_m();
  P* const p = m->p;
  G* next = pick_local(p);
  if (next != nullptr && next->sp == nullptr) {
    if (adopt && next->stack_bytes == g->stack_bytes) {
      next->stack_top = g->stack_top;
      next->fiber = g->fiber;
      next->sp = next->stack_top;  // not null: it is not fresh any more, should it be preempted
      g->stack_top = nullptr;
      g->fiber = nullptr;
      g->sp = nullptr;
      recycle_g(p, g);
      next->state.store(GState::kRunning, std::memory_order_relaxed);
      set_current_g(next);
      leave_critical();
      return;
    }
    if (!bind_stack(p, next)) {
      m->handoff = next;
      next = nullptr;
    }
  } else if (next != nullptr && next->pinned != nullptr) {
    m->handoff = next;
    next = nullptr;
  }
  m->after = After::kExit;
  m->left = g;
  if (next != nullptr) {
    switch_to_g(&g->sp, next, g);
  } else {
    switch_to_scheduler(m, g, g);
  }
  __builtin_unreachable();
}

}  // namespace

void leave(M* m, G* g, bool direct) {
  m->left = g;
  G* next = direct ? pick_local(m->p) : nullptr;
  if (TRI_LIKELY(next != nullptr)) {
    if (TRI_UNLIKELY(next->pinned != nullptr || (next->sp == nullptr && !bind_stack(m->p, next)))) {
      m->handoff = next;
      next = nullptr;
    }
  }
  if (TRI_LIKELY(next != nullptr)) {
    switch_to_g(&g->sp, next, nullptr);
  } else {
    switch_to_scheduler(m, g, nullptr);
  }
  finish_switch();
}

namespace {

/// Gives way through the scheduler: to whatever is found anywhere.
void yield_far(M* m, G* g) {
  m->after = After::kGlobal;
  leave(m, g, false);
}

}  // namespace

void yield() {
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread) return sys::yield();
  enter_critical_first();
  M* const m = current_m();
  P* const p = m->p;
  if (TRI_UNLIKELY(p == nullptr)) {  // in a blocking call: the thread is the program's own business
    leave_critical();
    return sys::yield();
  }
  G* next = pick_local(p);
  if (TRI_UNLIKELY(next == nullptr)) {
    if (!p->look_further && !p->attention.load(std::memory_order_relaxed) && sched.globq.size() == 0) {
      return leave_critical();  // nobody else
    }
    return yield_far(m, g);
  }
  if (TRI_UNLIKELY(next->pinned != nullptr || (next->sp == nullptr && !bind_stack(p, next)))) {
    m->handoff = next;
    return yield_far(m, g);
  }
  // Without thieves it may queue up before its registers are saved; with them, whoever runs next puts it there.
  if (p->runq.shared()) {
    m->left = g;
    m->after = After::kYield;
  } else {
    if (TRI_UNLIKELY(!p->runq.put(g))) put_local(p, g, false);
  }
  switch_to_g(&g->sp, next, nullptr);
  finish_switch();
}

void put_local(P* p, G* g, bool next) {
  if (next) {
    g = p->runq.put_next(g);
    if (g == nullptr) return;
  }
  while (TRI_UNLIKELY(!p->runq.put(g))) {
    uint32_t n = 0;
    G* const first = p->runq.take_half(&n);
    if (first == nullptr) continue;  // thieves came first
    G* last = first;
    while (last->next != nullptr) last = last->next;
    last->next = g;
    return sched.globq.put(first, g, n + 1);
  }
}

extern "C" [[noreturn]] void tri_goroutine_main() {
  fiber::after(nullptr);
  finish_switch();
  // A goroutine ends, and the next that never ran begins, on the same stack, without a switch.
  for (;;) {
    G* const g = current_g();
    g->entry(g->arg);
    end_goroutine(true);
  }
}

void exit_goroutine() {
  const G* const g = current_g();
  TRI_CHECK(g != nullptr && g->kind == GKind::kGoroutine && "tri_exit() in a goroutine");
  end_goroutine(false);
  __builtin_unreachable();
}

// ---- starting ---------------------------------------------------------------------------------------------------

namespace {

G* new_g(P* p) {
  G* g = p == nullptr ? nullptr : p->free_gs;
  if (TRI_LIKELY(g != nullptr)) {
    p->free_gs = g->next;
    --p->free_gs_count;
    return g;
  }
  if (p == nullptr) return take_g();
  g = take_gs(kFreeGs / 2);
  if (g == nullptr) return nullptr;
  p->free_gs = g->next;
  for (G* i = g->next; i != nullptr; i = i->next) ++p->free_gs_count;
  return g;
}

/// In a critical section.
void submit(M* m, P* p, G* g) {
  g->state.store(GState::kRunnable, std::memory_order_relaxed);
  if (TRI_LIKELY(p != nullptr)) {
    put_local(p, g, true);
    wake_if_idle();
  } else {
    sched.globq.put(g);
    wake_p();
  }
  (void)m;
}

}  // namespace

int go(void (*fn)(void*), void* arg) {
  if (TRI_UNLIKELY(runtime.load(std::memory_order_acquire) != Runtime::kOn)) {
    if (const int error = start_runtime(); error != 0) return error;
  }
  enter_critical();
  M* const m = current_m();
  P* const p = m == nullptr ? nullptr : m->p;
  G* const g = new_g(p);
  if (TRI_UNLIKELY(g == nullptr)) {
    leave_critical();
    return -ENOMEM;
  }
  g->entry = fn;
  g->arg = arg;
  g->stack_bytes = default_stack();
  submit(m, p, g);
  leave_critical();
  return 0;
}

int go(void (*fn)(void*), void* arg, const SpawnOptions& options) {
  if (options.copied_bytes > kMaxCopiedArg) return -E2BIG;
  if (const int error = start_runtime(); error != 0) return error;
  enter_critical();
  M* const m = current_m();
  P* const p = m == nullptr ? nullptr : m->p;
  G* const g = new_g(p);
  if (g == nullptr) {
    leave_critical();
    return -ENOMEM;
  }
  g->entry = fn;
  g->arg = arg;
  if (options.copied_bytes != 0) {
    memcpy(g->copied, options.copied, options.copied_bytes);
    g->arg = g->copied;
  }
  g->stack_bytes = stack_size_for(options.stack_bytes);
  if (options.name != nullptr) {
    strncpy(g->name, options.name, sizeof g->name - 1);
    g->name[sizeof g->name - 1] = 0;
  }
  if (options.id != nullptr) {
    g->joinable = true;
    *options.id = id_of(g);
  }
  submit(m, p, g);
  leave_critical();
  return 0;
}

// ---- ids, joining, ends -----------------------------------------------------------------------------------------

TaskId self() {
  G* const g = current();
  if (g == nullptr) return 0;
  g->joinable = true;
  return id_of(g);
}

int join(TaskId id, Time deadline) {
  G* const target = record_of(id);
  if (target == nullptr) return -ESRCH;
  G* const g = current();
  if (g == target && id_of(g) == id) return -EDEADLK;
  // Generations only go up, and the id's was once the record's: another one now means that the task has ended.
  const auto has_ended = [&] { return target->generation.load(std::memory_order_acquire) != generation_of(id); };
  if (has_ended()) return 0;
  if (deadline <= kNoWait) return -ETIMEDOUT;
  if (g == nullptr) return -ENOMEM;
  target->join_lock.lock();
  if (has_ended()) {
    target->join_lock.unlock();
    return 0;
  }
  Joiner entry{target->joiners, g, begin_wait(g)};
  target->joiners = &entry;
  const int result = park(WaitReason::kJoin, &target->join_lock, deadline);
  if (result == -ETIMEDOUT || result == -ECANCELED) {
    SpinGuard guard(target->join_lock);
    for (Joiner** at = &target->joiners; *at != nullptr; at = &(*at)->next) {
      if (*at != &entry) continue;
      *at = entry.next;
      break;
    }
  }
  return result;
}

void end_stand_in(G* g) {
  if (g->joinable) wake_joiners(g);
  g->kind = GKind::kGoroutine;
  recycle_g(nullptr, g);
}

int defer(void (*fn)(void*), void* arg) {
  G* const g = current_g();
  if (g == nullptr || g->kind == GKind::kThread) return -EPERM;
  auto* const d = static_cast<Defer*>(allocate(sizeof(Defer)));
  if (d == nullptr) return -ENOMEM;
  *d = {g->defers, fn, arg};
  g->defers = d;
  return 0;
}

int sleep_until(Time deadline) {
  if (deadline <= now()) {
    yield();
    return 0;
  }
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  (void)begin_wait(g);
  const int result = park(WaitReason::kSleep, nullptr, deadline);
  return result == -ETIMEDOUT ? 0 : result;
}

// ---- Ms ---------------------------------------------------------------------------------------------------------

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

/// The loop of an M whose goroutines have all left it for the moment.
void run(M* m, G* g) {
  P* const p = m->p;
  if (TRI_UNLIKELY(g->pinned != nullptr)) {
    // The thread that it was preempted on takes our P, and we are out of work.
    M* const other = g->pinned;
    m->p = nullptr;
    enter_critical();
    p->m.store(other, std::memory_order_release);
    other->next_p = p;
    ring(other);
    leave_critical();
    return;
  }
  if (g->sp == nullptr && !bind_stack(p, g)) {
    // Stacks may come free when others end; nobody can be told of it otherwise.
    static constexpr uint32_t kFew = 1;
    TRI_CHECK(busy_procs() + sched.globq.size() > kFew && "memory for a goroutine's stack");
    sched.globq.put(g);
    return sys::yield();
  }
  enter_critical();
  begin_slice(p);
  switch_to_g(&m->sp, g, nullptr);
  finish_switch();
}

void* m_main(void* arg) {
  auto* const m = static_cast<M*>(arg);
  tri_tls_m = m;
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
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, kMStack);
  pthread_attr_setsigmask_np(&attributes, &mask_of_ms);
  pthread_t thread;
  enter_critical();
  const int error = pthread_create(&thread, &attributes, m_main, m);
  leave_critical();
  pthread_attr_destroy(&attributes);
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

M* reserve_m() {
  SpinGuard guard(sched.lock);
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

void give_p(M* m, P* p, bool spinning) {
  bool polls;
  {
    // The one that keeps the timers may wake by itself just now, and looks under the lock for what it was given.
    SpinGuard guard(sched.lock);
    m->next_p = p;
    m->spinning = spinning;
    p->m.store(m, std::memory_order_release);  // pairs with the acquire in preempt()
    polls = m->polls;
    m->doorbell.store(1, std::memory_order_release);  // pairs with the acquire in wait_doorbell()
  }
  if (polls) {
    netpoll_break();
  } else {
    sys::futex_wake(&m->doorbell, 1);
  }
}

bool start_m(P* p, bool spinning) {
  M* const m = reserve_m();
  if (m == nullptr) return make_m(p, spinning);
  give_p(m, p, spinning);
  return true;
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

void schedule(M* m) {
  for (;;) {
    G* g = m->handoff;
    m->handoff = nullptr;
    if (g == nullptr) g = find_work(m);
    run(m, g);
  }
}

// ---- the runtime as a whole -------------------------------------------------------------------------------------

bool runtime_started() { return runtime.load(std::memory_order_acquire) >= Runtime::kAlone; }

namespace {

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
        p->until_look.store(1, std::memory_order_relaxed);
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
  while (G* const g = p->free_gs) {
    p->free_gs = g->next;
    put_g(g);
  }
  p->free_gs_count = 0;
  while (char* const top = p->free_stacks) {
    p->free_stacks = link_of(top);
    put_stack(top, default_stack());
  }
  p->free_stacks_count = 0;
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
  pthread_sigmask(SIG_SETMASK, nullptr, &mask_of_ms);
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
