// roots.cc - Memory that is searched for pointers. See compat.h.
//
// The collector searches all that is mapped and was written to: data of programs and libraries, stacks, what the program maps itself, and malloc()'s blocks where something
// leads to them. What a program adds is searched as well, even if it could not be seen to hold anything; what it takes away, or never wanted to be
// searched, still is where it is mapped. So more is kept than libgc would, never less.
#include <pthread.h>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

struct Range {
  Range* next;
  char* begin;
  char* end;
};
constinit pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
constinit Range* ranges = nullptr;

[[gnu::constructor]] void prepare_fork() {
  pthread_atfork([] { pthread_mutex_lock(&lock); }, [] { pthread_mutex_unlock(&lock); },
                 [] { pthread_mutex_unlock(&lock); });
}

void remove_within(const char* begin, const char* end) {
  pthread_mutex_lock(&lock);
  for (Range** at = &ranges; *at != nullptr;) {
    Range* const r = *at;
    if (r->begin < begin || r->end > end) {
      at = &r->next;
      continue;
    }
    (void)tri_roots_remove(r->begin);
    *at = r->next;
    tri_free(r);
  }
  pthread_mutex_unlock(&lock);
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

GC_EXPORT void GC_add_roots(void* low, void* high) {
  auto* begin = static_cast<char*>(low);
  auto* const end = static_cast<char*>(high);
  if (begin >= end) return;
  pthread_mutex_lock(&lock);
  const Range* r = ranges;
  while (r != nullptr && (r->begin > begin || r->end < end)) r = r->next;
  if (r == nullptr) {
    auto* const fresh = static_cast<Range*>(tri_alloc(sizeof(Range), 0));
    if (fresh == nullptr || tri_roots_add(begin, static_cast<size_t>(end - begin)) != 0) {
      tri_free(fresh);
      warn("GC Warning: no memory for roots at %#lx\n", reinterpret_cast<Word>(begin));
    } else {
      *fresh = {ranges, begin, end};
      ranges = fresh;
    }
  }
  pthread_mutex_unlock(&lock);
}
GC_EXPORT void GC_remove_roots(void* low, void* high) {
  remove_within(static_cast<char*>(low), static_cast<char*>(high));
}
GC_EXPORT void GC_clear_roots() { remove_within(nullptr, reinterpret_cast<char*>(UINTPTR_MAX)); }

// Procedures that push further roots while a collection marks: they could push nothing that is not searched as it is. So they are kept for who asks for them, and never
// called.
namespace {
// Not null: a procedure calls the one before it.
constinit std::atomic<void (*)()> push_other_roots{[] {}};
}  // namespace
GC_EXPORT void GC_set_push_other_roots(void (*fn)()) { push_other_roots.store(fn, std::memory_order_relaxed); }
GC_EXPORT void (*GC_get_push_other_roots())() { return push_other_roots.load(std::memory_order_relaxed); }
GC_EXPORT void GC_push_all(void*, void*) {}
GC_EXPORT void GC_push_all_eager(void*, void*) {}

/// Whether a word at p would be seen is not looked into: nearly all are.
GC_EXPORT void* GC_is_visible(void* p) { return p; }

// No address is beyond them: for GC_MARK_AND_PUSH().
GC_EXPORT void* GC_least_plausible_heap_addr;
void* GC_least_plausible_heap_addr = nullptr;
GC_EXPORT void* GC_greatest_plausible_heap_addr;
void* GC_greatest_plausible_heap_addr = reinterpret_cast<void*>(UINTPTR_MAX);
