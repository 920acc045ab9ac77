// finalize.cc - Finalizers and disappearing links. See compat.h.
//
// libgc calls finalizers where the program allocates or collects, on whatever thread that is. So does this: each allocation looks at the number of cycles (tri_gc_moments()), and
// when that has changed, the thread that is the first to see it calls what is due, or the program's notifier. None is called from within another.
#include <errno.h>

#include <atomic>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

using Finalizer = void (*)(void*, void*);
using Procedure = void (*)();

constinit const uint32_t no_moments = 0;
constinit std::atomic<bool> on_demand{false};
constinit std::atomic<Procedure> notifier{nullptr};
constinit std::atomic<Procedure> start_callback{nullptr};
constinit thread_local bool is_finalizing = false;

[[gnu::constructor]] void find_moments() { moments = tri_gc_moments(); }

size_t run_finalizers() {
  is_finalizing = true;
  const size_t n = tri_gc_run_finalizers();
  is_finalizing = false;
  return n;
}

void set(void* p, enum tri_finalizer_order order, Finalizer fn, void* arg, Finalizer* old_fn, void** old_arg) {
  // As libgc: a finalizer for what is no block of its heap is ignored.
  const int error = tri_gc_set_finalizer(p, order, fn, arg, old_fn, old_arg);
  if (error == -ENOMEM) (void)out_of_memory(4 * sizeof(void*));
}

// libgc's answers of functions that register links.
constexpr int kSuccess = 0, kDuplicate = 1, kNoMemory = 2, kNotFound = 4;

int link(void** at, const void* p, bool is_long) {
  const int result = tri_gc_link(at, p, is_long);
  return result == -ENOMEM ? kNoMemory : result == 1 ? kDuplicate : kSuccess;
}

int move_link(void** from, void** to, bool is_long) {
  switch (tri_gc_move_link(from, to, is_long)) {
    case -ENOENT:
      return kNotFound;
    case -EEXIST:
      return kDuplicate;
    case -ENOMEM:
      return kNoMemory;
    default:
      return kSuccess;
  }
}

}  // namespace

constinit const uint32_t* moments = &no_moments;
constinit std::atomic<uint32_t> moments_seen{0};

void call_start_callback() {
  if (const Procedure fn = start_callback.load(std::memory_order_relaxed)) fn();
}

void notice_moments(bool call_start) {
  if (is_finalizing) return;
  const uint32_t now = __atomic_load_n(moments, __ATOMIC_ACQUIRE);
  const uint32_t seen = moments_seen.exchange(now, std::memory_order_relaxed);
  if (seen == now) return;
  const int error = errno;
  // Odd numbers stand for cycles that go on: the first compares how many have begun, the second how many are over.
  if (call_start && (now + 1) / 2 != (seen + 1) / 2) call_start_callback();
  if (now / 2 != seen / 2 && tri_gc_finalizers_due() != 0) {
    if (!on_demand.load(std::memory_order_relaxed)) {
      (void)run_finalizers();
    } else if (const Procedure fn = notifier.load(std::memory_order_relaxed)) {
      fn();
    }
  }
  errno = error;
}

[[gnu::noinline, gnu::cold]] void moments_changed() { notice_moments(true); }

}  // namespace tri::compat

using namespace tri::compat;

// ---- finalizers -----------------------------------------------------------------------------------------------------------

GC_EXPORT void GC_register_finalizer(void* p, Finalizer fn, void* arg, Finalizer* old_fn, void** old_arg) {
  set(p, TRI_FINALIZE_OUTERMOST, fn, arg, old_fn, old_arg);
}
GC_EXPORT void GC_register_finalizer_ignore_self(void* p, Finalizer fn, void* arg, Finalizer* old_fn, void** old_arg) {
  set(p, TRI_FINALIZE_IGNORE_SELF, fn, arg, old_fn, old_arg);
}
GC_EXPORT void GC_register_finalizer_no_order(void* p, Finalizer fn, void* arg, Finalizer* old_fn, void** old_arg) {
  set(p, TRI_FINALIZE_ANY, fn, arg, old_fn, old_arg);
}

GC_EXPORT int GC_invoke_finalizers() { return static_cast<int>(run_finalizers()); }
GC_EXPORT int GC_should_invoke_finalizers() { return tri_gc_finalizers_due() != 0; }

GC_EXPORT void GC_set_finalize_on_demand(int on) { on_demand.store(on != 0, std::memory_order_relaxed); }
GC_EXPORT int GC_get_finalize_on_demand() { return on_demand.load(std::memory_order_relaxed); }
GC_EXPORT void GC_set_finalizer_notifier(Procedure fn) { notifier.store(fn, std::memory_order_relaxed); }
GC_EXPORT Procedure GC_get_finalizer_notifier() { return notifier.load(std::memory_order_relaxed); }

// A cycle that GC_gcollect() begins calls it before. One that begins by itself does so on a thread that the program does not know: then the next thread to
// allocate calls it, a little later.
GC_EXPORT void GC_set_start_callback(Procedure fn) { start_callback.store(fn, std::memory_order_relaxed); }
GC_EXPORT Procedure GC_get_start_callback() { return start_callback.load(std::memory_order_relaxed); }

// ---- links ------------------------------------------------------------------------------------------------------------------

GC_EXPORT int GC_general_register_disappearing_link(void** at, const void* p) { return link(at, p, false); }
GC_EXPORT int GC_register_disappearing_link(void** at) { return link(at, tri_gc_base(at), false); }
GC_EXPORT int GC_unregister_disappearing_link(void** at) { return tri_gc_unlink(at, false) == 0; }
GC_EXPORT int GC_move_disappearing_link(void** from, void** to) { return move_link(from, to, false); }

GC_EXPORT int GC_register_long_link(void** at, const void* p) { return link(at, p, true); }
GC_EXPORT int GC_unregister_long_link(void** at) { return tri_gc_unlink(at, true) == 0; }
GC_EXPORT int GC_move_long_link(void** from, void** to) { return move_link(from, to, true); }

// For looking at words that are linked: no block is lost meanwhile. As in libgc, fn must not allocate.
GC_EXPORT void* GC_call_with_alloc_lock(void* (*fn)(void*), void* arg) { return tri_gc_call_excluded(fn, arg); }
