// roots.cc - See roots.h.
#include "sched/roots.h"

#include "sched/g.h"
#include "sched/m.h"
#include "sched/p.h"
#include "sched/proc.h"
#include "sched/stack.h"

namespace tri::sched {
namespace {

// What a leaf function may use below its stack pointer (x86-64).
constexpr uintptr_t kRedZone = 128;

void take_stack_of(const G* g, const RootFinder& finder) {
  if (g->stack_top == nullptr) return;
  const auto top = reinterpret_cast<uintptr_t>(g->stack_top);
  const uintptr_t low = top - g->stack_bytes + guard_bytes();
  uintptr_t from = low;
  const GState state = g->state.load(std::memory_order_relaxed);
  if (state == GState::kRunning || g->pinned != nullptr) {
    // It stands on a thread; or, in a blocking call or preempted, that thread is on another stack, and all of this one counts.
    const uintptr_t sp = finder.lowest_sp_in(finder.arg, low, top);
    if (sp > low + kRedZone) from = sp - kRedZone;
  } else {
    if (g->sp == nullptr) return;  // has not begun
    from = reinterpret_cast<uintptr_t>(g->sp);
  }
  finder.take(finder.arg, reinterpret_cast<void*>(from), g->stack_top);
}

}  // namespace

void each_root(const RootFinder& finder) {
  for (const std::atomic<P*>& slot : sched.ps) {
    const P* const p = slot.load(std::memory_order_relaxed);
    if (p == nullptr) break;
    finder.take(finder.arg, p, p + 1);
  }
  for (const M* m = sched.all_ms; m != nullptr; m = m->next_all) finder.take(finder.arg, m, m + 1);
  const uint32_t n = g_count();
  for (uint32_t i = 0; i < n; ++i) {
    const G* const g = g_at(i);
    if (g->state.load(std::memory_order_relaxed) == GState::kFree) continue;
    finder.take(finder.arg, g, g + 1);
    take_stack_of(g, finder);
  }
}

}  // namespace tri::sched
