// syscall.cc - See syscall.h.
#include "sched/syscall.h"

#include "sched/fiber.h"
#include "sched/proc.h"

namespace tri::sched {
namespace {

// A call that ends sooner than this did not need another thread: waking one costs as much.
constexpr Time kLong = 50'000;
// Below the scheduler's own frames on its stack: its red zone, and then some.
constexpr size_t kGap = 256;

bool work_waits(const P* p) { return !p->runq.empty() || global_work(); }

bool is_goroutine(const G* g) { return g != nullptr && g->kind == GKind::kGoroutine; }

/// The P was lost: the old one again, or any that is idle; else the goroutine queues up for one. In a critical section;
/// ends it.
void get_p_back(M* m, G* g, P* old) {
  int id = -1;
  if (old != nullptr && sched.idle.take(old->id)) {
    id = static_cast<int>(old->id);
  } else {
    id = sched.idle.take_any();
  }
  if (id >= 0) {
    acquire_p(m, sched.ps[id].load(std::memory_order_relaxed));
    return leave_critical();
  }
  set_todo<Todo::kGlobal>();
  leave(m, g, false);
}

}  // namespace

void blocking_begin() {
  G* const g = current_g();
  if (!is_goroutine(g)) return;
  enter_critical();
  M* const m = current_m();
  if (m->blocking_depth++ == 0) {
    P* const p = m->p;
    m->p = nullptr;
    m->left_p = p;
    p->blocking_calls.store(p->blocking_calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    g->reason.store(WaitReason::kBlockingCall, std::memory_order_relaxed);
    if (TRI_UNLIKELY(g->blocks_long) && work_waits(p)) {
      m->blocking_since = now();
      p->m.store(nullptr, std::memory_order_relaxed);
      handoff_p(p);
    } else {
      p->left_by.store(m, std::memory_order_release);  // pairs with sysmon's CAS: the queues are as we left them
    }
  }
  leave_critical();
}

void blocking_end() {
  G* const g = current_g();
  if (!is_goroutine(g)) return;
  enter_critical();
  M* const m = current_m();
  TRI_CHECK(m->blocking_depth != 0 && "tri_blocking_end() without tri_blocking_begin()");
  if (--m->blocking_depth != 0) return leave_critical();
  g->reason.store(WaitReason::kNone, std::memory_order_relaxed);
  P* const p = m->left_p;
  m->left_p = nullptr;
  M* expected = m;
  // acquire: pairs with sysmon, should it have had the P meanwhile and given it back.
  if (TRI_LIKELY(p->left_by.compare_exchange_strong(expected, nullptr, std::memory_order_acq_rel,
                                                    std::memory_order_relaxed))) {
    m->p = p;
    g->blocks_long = false;
    return leave_critical();
  }
  g->blocks_long = m->blocking_since == 0 || now() - m->blocking_since > kLong;
  m->blocking_since = 0;
  get_p_back(m, g, p);
}

void end_all_blocking() {
  while (current_m()->blocking_depth != 0) blocking_end();
}

void call_blocking(void (*fn)(void*), void* arg) {
  if (!is_goroutine(current_g())) return fn(arg);
  blocking_begin();
  M* const m = current_m();
  // Already on the thread's stack: a call within such a call.
  if (m->on_own_stack) {
    fn(arg);
  } else {
    m->on_own_stack = true;
    const auto top = (reinterpret_cast<uintptr_t>(m->sp) - kGap) & ~uintptr_t{15};
    void* fake = nullptr;
    G* const g = current_g();
    fiber::before(nullptr, &fake, m->stack_low, m->stack_bytes);
    struct Call {
      void (*fn)(void*);
      void* arg;
      G* g;
    } call{fn, arg, g};
    tri_call_on(
        reinterpret_cast<void*>(top),
        [](void* p) {
          auto* const c = static_cast<Call*>(p);
          fiber::after(nullptr);
          c->fn(c->arg);
          void* ignored = nullptr;
          fiber::before(c, &ignored, c->g->stack_top - c->g->stack_bytes, c->g->stack_bytes);
        },
        &call);
    fiber::after(fake);
    m->on_own_stack = false;
  }
  blocking_end();
}

}  // namespace tri::sched
