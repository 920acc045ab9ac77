// sched_api.cc - The functions of tri/sched.h and tri/time.h.
#include <errno.h>

#include <new>

#include "sched/proc.h"
#include "sched/stack.h"
#include "sched/syscall.h"
#include "sched/timer.h"
#include "shim/export.h"
#include "shim/include/tri/sched.h"

namespace tri::sched {
namespace {

static_assert(TRI_FOREVER == kForever);

/// What stands in a struct tri_timer. Zeros are one that was never started.
struct ApiTimer {
  PublicTimer timer;
  uint32_t started;
};
static_assert(sizeof(ApiTimer) <= sizeof(struct tri_timer));
static_assert(alignof(ApiTimer) <= alignof(struct tri_timer));

ApiTimer* of(struct tri_timer* t) { return reinterpret_cast<ApiTimer*>(t); }

bool is_goroutine() {
  const G* const g = current_g();
  return g != nullptr && g->kind == GKind::kGoroutine;
}

/// Puts the timer into the heap of this P; of the first if the caller has none.
int put_timer(ApiTimer* t, Time when, Time period) {
  if (const int error = start_runtime(); error != 0) return error;
  enter_critical();
  const M* const m = current_m();
  P* const mine = m == nullptr ? nullptr : m->p;
  P* const p = mine != nullptr ? mine : sched.ps[0].load(std::memory_order_acquire);
  const bool done = start_timer(p->timers, &t->timer, when, period);
  // A running P looks at its timers; of others the keeper must know.
  if (mine == nullptr) timer_added(when);
  leave_critical();
  return done ? 0 : -ENOMEM;
}

}  // namespace
}  // namespace tri::sched

using namespace tri::sched;

TRI_EXPORT_BEGIN

tri_time tri_now(void) { return now(); }

tri_time tri_after(int64_t ns) {
  const Time t = now();
  if (ns <= 0) return t;
  return ns > TRI_FOREVER - t ? TRI_FOREVER : t + ns;
}

int tri_main(void (*fn)(void*), void* arg) {
  if (is_goroutine()) return -EDEADLK;
  SpawnOptions options;
  TaskId id = 0;
  options.name = "main";
  options.id = &id;
  main_waits.store(true, std::memory_order_release);
  if (const int error = go(fn, arg, options); error != 0) {
    main_waits.store(false, std::memory_order_release);
    return error;
  }
  const int result = join(id, kForever);
  main_waits.store(false, std::memory_order_release);
  return result;
}

int tri_go(void (*fn)(void*), void* arg) { return go(fn, arg); }

int tri_go_copy(void (*fn)(void*), const void* arg, size_t size) {
  SpawnOptions options;
  options.copied = arg;
  options.copied_bytes = size;
  return go(fn, nullptr, options);
}

int tri_spawn(tri_task* out, void (*fn)(void*), void* arg, const struct tri_attr* attr) {
  SpawnOptions options;
  options.id = out;
  if (attr != nullptr) {
    if (attr->size == 0) return -EINVAL;
    const auto has = [&](size_t end) { return attr->size >= end; };
    if (has(offsetof(struct tri_attr, name) + sizeof attr->name)) options.name = attr->name;
    if (has(offsetof(struct tri_attr, stack_size) + sizeof attr->stack_size)) options.stack_bytes = attr->stack_size;
  }
  return go(fn, arg, options);
}

int tri_join(tri_task task, tri_time deadline) { return join(task, deadline); }

tri_task tri_self(void) { return self(); }

void tri_yield(void) { yield(); }

void tri_exit(void) { exit_goroutine(); }

int tri_defer(void (*fn)(void*), void* arg) { return defer(fn, arg); }

int tri_local_set(unsigned key, void* value) {
  if (key >= kLocals) return -EINVAL;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  g->has_locals = true;
  g->locals[key] = value;
  return 0;
}

void* tri_local_get(unsigned key) {
  const G* const g = current_g();
  return g == nullptr || key >= kLocals ? nullptr : g->locals[key];
}

int tri_sleep(int64_t ns) { return sleep_until(tri_after(ns)); }

int tri_sleep_until(tri_time deadline) { return sleep_until(deadline); }

int tri_timer_start(struct tri_timer* timer, tri_time when, int64_t period, void (*fn)(void*), void* arg) {
  if (fn == nullptr || period < 0) return -EINVAL;
  ApiTimer* const t = of(timer);
  if (t->started == 0) {
    ::new (static_cast<void*>(t)) ApiTimer{};
    t->started = 1;
  } else {
    remove_timer(&t->timer.timer);
  }
  t->timer.fn = fn;
  t->timer.arg = arg;
  return put_timer(t, when, period);
}

int tri_timer_reset(struct tri_timer* timer, tri_time when) {
  ApiTimer* const t = of(timer);
  if (t->started == 0) return -EINVAL;
  const bool was_running = remove_timer(&t->timer.timer);
  if (const int error = put_timer(t, when, t->timer.period); error != 0) return error;
  return was_running ? 1 : 0;
}

int tri_timer_stop(struct tri_timer* timer) {
  ApiTimer* const t = of(timer);
  return t->started != 0 && remove_timer(&t->timer.timer) ? 1 : 0;
}

int tri_procs(int n) { return set_procs(n); }

void tri_blocking_begin(void) { blocking_begin(); }

void tri_blocking_end(void) { blocking_end(); }

void tri_blocking(void (*fn)(void*), void* arg) { call_blocking(fn, arg); }

TRI_EXPORT_END
