// roots.cc - See roots.h.
#include "sched/roots.h"

#include "sched/g.h"
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

/// Whether nothing wakes it but another that has its entry in a queue: no time, no descriptor, and nobody who has claimed it already.
bool waits_for_others_alone(const G* g) {
  if (g->kind != GKind::kGoroutine || g->pinned != nullptr || g->sp == nullptr) return false;
  if (g->state.load(std::memory_order_relaxed) != GState::kWaiting) return false;
  if (g->deadline.load(std::memory_order_relaxed) != kForever) return false;
  if ((g->wait.load(std::memory_order_relaxed) & 1) != 0) return false;
  switch (g->reason.load(std::memory_order_relaxed)) {
    case WaitReason::kNone:
    case WaitReason::kBlockingCall:
    case WaitReason::kRead:
    case WaitReason::kWrite:
    case WaitReason::kSelectDescriptor:
      return false;
    default:
      return true;
  }
}

}  // namespace

void each_root(const RootFinder& finder) {
  for (const std::atomic<P*>& slot : sched.ps) {
    const P* const p = slot.load(std::memory_order_relaxed);
    if (p == nullptr) break;
    finder.take(finder.arg, p, p + 1);
  }
  // An M holds nothing of the program's but, from the last switch on, a lock that somebody gave up there.
  const uint32_t n = g_count();
  for (uint32_t i = 0; i < n; ++i) {
    const G* const g = g_at(i);
    if (g->state.load(std::memory_order_relaxed) == GState::kFree) continue;
    if (finder.take_waiting != nullptr && waits_for_others_alone(g)) {
      finder.take_waiting(finder.arg, id_of(g), g, g + 1, g->sp, g->stack_top);
      continue;
    }
    finder.take(finder.arg, g, g + 1);
    take_stack_of(g, finder);
  }
}

}  // namespace tri::sched
