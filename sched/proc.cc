// proc.cc - Goroutines begin, give way to each other, and end; the loop of an M decides when they cannot. See proc.h for the overview.
#include "sched/proc.h"

#include <errno.h>

#include <cstring>

#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "sched/fiber.h"
#include "sched/free_lists.h"
#include "sched/switch.h"
#include "sched/syscall.h"

namespace tri::sched {

constinit Sched sched;

namespace {

// Slices. Go's figure; prime, so that it does not beat with loops of the program.
constexpr uint32_t kLookFurther = 61;
// Goroutines that may run on one time slice, each readied by the one before, while others wait in the ring. At 30 ns each they have about
// 4 us; a slice of sysmon's may end it sooner.
constexpr uint32_t kMaxInherited = 128;

// ---- switching --------------------------------------------------------------------------------------------------

/// The rarer things that may be left to be done.
[[gnu::noinline]] void finish_rest(M* m, G* left, Todo todo) {
  switch (todo) {
    case Todo::kYield:
      left->state.store(GState::kRunnable, std::memory_order_relaxed);
      put_local(m->p, left, false);
      break;
    case Todo::kPreempt:
      leave_critical();
      return preempt_late();
    case Todo::kExit:
      release_stack(m->p, left);
      recycle_g(m->p, left);
      break;
    case Todo::kGlobal:
      left->state.store(GState::kRunnable, std::memory_order_relaxed);
      sched.globq.put(left);
      if (m->p == nullptr) wake_p();
      break;
    case Todo::kPark:
    case Todo::kNothing:
      break;
  }
  leave_critical();
}

/// What the goroutine that ran here before left to be done. By whoever runs after it, still in its critical section, and
/// ends that.
[[gnu::always_inline]] inline void finish_switch() {
  const uintptr_t words = words_offset_anew();
  const Todo todo = read_todo(words);
  if (todo == Todo::kNothing) return end_critical(words);
  set_todo<Todo::kNothing>();
  M* const m = current_m();
  G* const left = m->left;
  if (TRI_LIKELY(todo == Todo::kPark)) {
    SpinLock* const unlock = m->unlock;
    if (TRI_UNLIKELY(m->deadline != kForever)) arm_deadline(m->p->timers, left, m->deadline);
    // release: pairs with the acquire in ready(): who sees it waiting may run it.
    left->state.store(GState::kWaiting, std::memory_order_release);
    if (unlock == nullptr) return leave_critical_last();
    return unlock->unlock_last();
  }
  finish_rest(m, left, todo);
}

[[gnu::always_inline]] inline void switch_stacks(void** save, void* load, void* to_fiber, const void* to_low,
                                                 size_t to_bytes, void* gone) {
  void* fake = nullptr;
  fiber::before(gone, &fake, to_low, to_bytes);
  fiber::at_switch(to_fiber);
  switch_registers(save, load);
  fiber::after(fake);
}

[[gnu::always_inline]] inline void switch_to_g(void** save, G* to, void* gone) {
  if (to->state.load(std::memory_order_relaxed) != GState::kRunning) {
    to->state.store(GState::kRunning, std::memory_order_relaxed);
  }
  set_current_g(to);
  switch_stacks(save, to->sp, to->fiber, to->stack_top - to->stack_bytes, to->stack_bytes, gone);
}

inline void switch_to_scheduler(M* m, G* from, void* gone) {
  set_current_g(nullptr);
  switch_stacks(&from->sp, m->sp, m->fiber, m->stack_low, m->stack_bytes, gone);
}

/// Whether to go through the scheduler, because there may be work beyond the local queue.
[[gnu::noinline]] bool must_look_further(P* p) {
  p->look_at.store(p->slice.load(std::memory_order_relaxed) + kLookFurther, std::memory_order_relaxed);
  p->look_further = p->attention.load(std::memory_order_relaxed) || global_work() || p->timers.earliest() != kForever ||
                    netpoll_active();
  return p->look_further;
}
[[gnu::always_inline]] inline bool is_time_to_look(const P* p, uint64_t slice) {
  return slice >= p->look_at.load(std::memory_order_relaxed);
}

/// The next goroutine of the local queue, if no other decision is to be made. Null: the scheduler has to, or there is none.
[[gnu::always_inline]] inline G* pick_local(P* p) {
  if (TRI_UNLIKELY(is_time_to_look(p, p->slice.load(std::memory_order_relaxed))) && must_look_further(p))
    return nullptr;
  G* g = p->runq.take_next();
  if (g != nullptr) {
    if (TRI_LIKELY(++p->inherited < kMaxInherited)) return g;
    p->inherited = 0;
    p->look_soon();
    if (!p->runq.has_ring()) return g;
    put_local(p, g, false);
  }
  g = p->runq.take();
  if (g != nullptr) p->begin_slice();
  return g;
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
  }
  set_todo<Todo::kExit>();
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
    if (TRI_UNLIKELY(next->sp == nullptr && !bind_stack(m->p, next))) {
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
  set_todo<Todo::kGlobal>();
  leave(m, g, false);
}

/// yield() with all that may come in between. In a critical section.
[[gnu::noinline]] void yield_choosing(M* m, G* g) {
  P* const p = m->p;
  G* const next = pick_local(p);
  if (TRI_UNLIKELY(next == nullptr)) {
    if (!p->look_further && !p->attention.load(std::memory_order_relaxed) && !global_work()) {
      return leave_critical();  // nobody else
    }
    return yield_far(m, g);
  }
  if (TRI_UNLIKELY(next->sp == nullptr && !bind_stack(p, next))) {
    m->handoff = next;
    return yield_far(m, g);
  }
  // With thieves about, whoever runs next puts it into the queue, when its registers are saved.
  m->left = g;
  set_todo<Todo::kYield>();
  switch_to_g(&g->sp, next, nullptr);
  finish_switch();
}

[[gnu::noinline]] void yield_in_blocking_call() {
  leave_critical_last();
  sys::yield();  // the thread is the program's own business
}

[[gnu::noinline]] void finish_switch_outlined() { finish_switch(); }

}  // namespace

void yield() {
  if (TRI_UNLIKELY(current_m() == nullptr)) return sys::yield();
  enter_critical_first();
  M* const m = current_m();  // again: it is only now that it stays
  G* const g = current_g();
  P* const p = m->p;
  if (TRI_UNLIKELY(p == nullptr)) return yield_in_blocking_call();
  // The most frequent case by itself, with nothing beside it that needs registers: goroutines take turns on the only P.
  const uint64_t slice = p->slice.load(std::memory_order_relaxed);
  const RunQ::Ends ends = p->runq.ends();
  if (TRI_UNLIKELY(!p->runq.can_turn(ends)) || TRI_UNLIKELY(is_time_to_look(p, slice))) return yield_choosing(m, g);
  G* const next = p->runq.head(ends);
  if (TRI_UNLIKELY(next->sp == nullptr)) return yield_choosing(m, g);
  p->runq.turn(ends, g);
  p->begin_slice(slice);
  switch_to_g(&g->sp, next, nullptr);
  const uintptr_t words = words_offset_anew();
  if (TRI_UNLIKELY(anything_to_do(words))) return finish_switch_outlined();
  end_critical(words);
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
    set_fp_modes(g->fp_modes);
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

/// In a critical section.
void submit(P* p, G* g) {
  g->state.store(GState::kRunnable, std::memory_order_relaxed);
  if (TRI_LIKELY(p != nullptr)) {
    put_local(p, g, true);
    wake_if_idle();
  } else {
    sched.globq.put(g);
    wake_p();
  }
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
  g->fp_modes = fp_modes();
  g->stack_bytes = default_stack();
  submit(p, g);
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
  g->fp_modes = fp_modes();
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
  submit(p, g);
  leave_critical();
  return 0;
}

namespace {

/// The loop of an M whose goroutines have all left it for the moment.
void run(M* m, G* g) {
  P* const p = m->p;
  if (TRI_UNLIKELY(g->pinned != nullptr)) {
    // The thread that it was preempted on takes our P, and we are out of work.
    m->p = nullptr;
    return give_to_pinned(g, p);
  }
  if (g->sp == nullptr && !bind_stack(p, g)) {
    // Stacks may come free when others end; nobody can be told of it otherwise.
    static constexpr uint32_t kFew = 1;
    TRI_CHECK(busy_procs() + sched.globq.size() + sched.pinned.size() > kFew && "memory for a goroutine's stack");
    sched.globq.put(g);
    return sys::yield();
  }
  enter_critical();
  p->begin_slice();
  switch_to_g(&m->sp, g, nullptr);
  finish_switch();
}

}  // namespace

void schedule(M* m) {
  for (;;) {
    G* g = m->handoff;
    m->handoff = nullptr;
    if (g == nullptr) g = find_work(m);
    run(m, g);
  }
}

}  // namespace tri::sched
