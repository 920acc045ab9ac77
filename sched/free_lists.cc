// free_lists.cc - The rarer halves: lists that are empty, full, or no longer needed. See free_lists.h.
#include "sched/free_lists.h"

namespace tri::sched {

G* refill_free_gs(P* p) {
  G* const g = take_gs(kFreeGs / 2);
  if (g == nullptr) return nullptr;
  p->free_gs = g->next;
  for (G* i = g->next; i != nullptr; i = i->next) ++p->free_gs_count;
  return g;
}

void spill_free_gs(P* p) {
  G* const first = p->free_gs;
  G* last = first;
  for (uint32_t i = 1; i < kFreeGs / 2; ++i) last = last->next;
  p->free_gs = last->next;
  p->free_gs_count -= kFreeGs / 2;
  put_gs(first, last);
}

void spill_free_stacks(P* p) {
  for (uint32_t i = 0; i < kFreeStacks / 2; ++i) {
    char* const top = p->free_stacks;
    p->free_stacks = link_of(top);
    --p->free_stacks_count;
    put_stack(top, default_stack());
  }
}

namespace {

// Stacks lie a power of two apart, so the hot frames of all of them would meet in a few sets of the caches. Each begins some lines lower
// than the one beside it; all within a quarter of its first page.
size_t colour_of(const char* top, size_t stack_bytes) { return reinterpret_cast<uintptr_t>(top) / stack_bytes % 16 * 64; }

}  // namespace

bool bind_stack(P* p, G* g) {
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
  g->sp = prepare_stack(top - colour_of(top, g->stack_bytes));
  g->fiber = fiber::create();
  return true;
}

void empty_free_lists(P* p) {
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
}

}  // namespace tri::sched
