// collect.cc - Collections, and their figures. See compat.h.
#include <errno.h>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

struct tri_gc_stats collector_stats() {
  struct tri_gc_stats s = {};
  (void)tri_gc_stats_get(&s, sizeof s);
  return s;
}

// Of the whole library's heap, malloc()'s blocks included where they are its own.
struct Usage {
  size_t heap;
  size_t free;
};
Usage usage() {
  struct tri_stats s = {};
  (void)tri_stats_get(&s, sizeof s);
  const size_t heap = s.used_bytes + s.cached_bytes + s.free_bytes;
  return {heap, heap > s.live_bytes ? heap - s.live_bytes : 0};
}

constinit std::atomic<int> disabled{0};

void set_if(Word* out, Word value) {
  if (out != nullptr) *out = value;
}

/// True if it came to something.
bool collect() {
  call_start_callback();
  const int error = tri_gc();
  if (error != 0 && error != -EAGAIN)
    warn("GC Warning: the collection came to nothing: error %lu\n", static_cast<Word>(-error));
  notice_moments(false);
  return error == 0;
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

// Nothing has to be started; a program may allocate before it calls this.
GC_EXPORT void GC_init() {}
GC_EXPORT int GC_is_init_called() { return 1; }
/// 8.2.2, whose headers these functions are for.
GC_EXPORT unsigned GC_get_version() { return 8u << 16 | 2u << 8 | 2u; }

GC_EXPORT void GC_gcollect() { (void)collect(); }
GC_EXPORT void GC_gcollect_and_unmap() {
  (void)collect();
  (void)tri_purge();
}
// stop() is asked once, before. A collection runs beside the program, which has no cause to break it off.
GC_EXPORT int GC_try_to_collect(int (*stop)()) { return stop() == 0 && collect(); }

// Collections run beside the program, on threads of their own, and by parts as it is.
GC_EXPORT int GC_collect_a_little() {
  look();
  return 0;
}
GC_EXPORT void GC_enable_incremental() {}
GC_EXPORT int GC_is_incremental_mode() { return 1; }

GC_EXPORT void GC_disable() {
  tri_gc_disable();
  disabled.fetch_add(1, std::memory_order_relaxed);
}
GC_EXPORT void GC_enable() {
  if (tri_gc_enable() == 0) disabled.fetch_sub(1, std::memory_order_relaxed);
}
GC_EXPORT int GC_is_disabled() { return disabled.load(std::memory_order_relaxed) != 0; }

/// The heap grows by itself. What this call adds stays until it is used, or until the library gives unused memory back (TRI=purge).
GC_EXPORT int GC_expand_hp(size_t n) {
  void* const p = tri_alloc(n, TRI_GC | TRI_NOSCAN);
  if (p == nullptr) return 0;
  tri_free(p);
  return 1;
}

// ---- figures --------------------------------------------------------------------------------------------------------------

GC_EXPORT Word GC_get_gc_no() { return collector_stats().cycles; }
GC_EXPORT size_t GC_get_heap_size() { return usage().heap; }
GC_EXPORT size_t GC_get_free_bytes() { return usage().free; }
/// What the system has got back is no longer part of the heap.
GC_EXPORT size_t GC_get_unmapped_bytes() { return 0; }
GC_EXPORT size_t GC_get_bytes_since_gc() { return collector_stats().recent_bytes; }
GC_EXPORT size_t GC_get_total_bytes() { return collector_stats().allocated_bytes; }

GC_EXPORT void GC_get_heap_usage_safe(Word* heap, Word* free, Word* unmapped, Word* recent, Word* total) {
  const Usage u = usage();
  const struct tri_gc_stats s = collector_stats();
  set_if(heap, u.heap);
  set_if(free, u.free);
  set_if(unmapped, 0);
  set_if(recent, s.recent_bytes);
  set_if(total, s.allocated_bytes);
}

GC_EXPORT void GC_dump() { (void)tri_report(1, "stats"); }
