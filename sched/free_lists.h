// free_lists.h - What a P keeps of ended goroutines for the next: their records and their stacks.
//
// Each list has a bound; half of what is above it goes to the pools of all (g.h, stack.h), and back to the P goes half a list
// at a time. Code without a P uses the pools. By the owner of the P, in a critical section.
//
// Used by: proc, task, runtime.
#ifndef TRI_SCHED_FREE_LISTS_H
#define TRI_SCHED_FREE_LISTS_H

#include <atomic>
#include <cstring>

#include "sched/fiber.h"
#include "sched/g.h"
#include "sched/p.h"
#include "sched/stack.h"
#include "sched/switch.h"

namespace tri::sched {

inline constexpr uint32_t kFreeGs = 64;
inline constexpr uint32_t kFreeStacks = 64;

/// A free stack's top word is the link to the next.
inline char*& link_of(char* stack_top) { return reinterpret_cast<char**>(stack_top)[-1]; }

/// A record for a goroutine that begins; null: no memory.
G* refill_free_gs(P* p);
[[nodiscard]] inline G* new_g(P* p) {
  G* const g = p == nullptr ? nullptr : p->free_gs;
  if (TRI_UNLIKELY(g == nullptr)) return p == nullptr ? take_g() : refill_free_gs(p);
  p->free_gs = g->next;
  --p->free_gs_count;
  return g;
}

/// The goroutine that this record was has ended; the stack is gone already.
void spill_free_gs(P* p);
inline void recycle_g(P* p, G* g) {
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
  if (TRI_UNLIKELY(++p->free_gs_count > kFreeGs)) spill_free_gs(p);
}

/// Gives a goroutine that never ran its stack. False: there is no memory.
[[nodiscard]] bool bind_stack(P* p, G* g);
/// The goroutine has ended, and runs on another stack than its own, or never again.
void spill_free_stacks(P* p);
inline void release_stack(P* p, G* g) {
  char* const top = g->stack_top;
  fiber::destroy(g->fiber);
  fiber::clean(top - g->stack_bytes, g->stack_bytes);
  g->fiber = nullptr;
  g->stack_top = nullptr;
  g->sp = nullptr;
  if (p == nullptr || g->stack_bytes != default_stack()) return put_stack(top, g->stack_bytes);
  link_of(top) = p->free_stacks;
  p->free_stacks = top;
  if (TRI_UNLIKELY(++p->free_stacks_count > kFreeStacks)) spill_free_stacks(p);
}

/// The P goes out of service: all that it keeps goes to the pools.
void empty_free_lists(P* p);

}  // namespace tri::sched

#endif
