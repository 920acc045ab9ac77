// collect.cc - Collections, and their figures. See compat.h.
#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

struct tri_gc_stats collector_stats() {
  struct tri_gc_stats s = {};
  (void)tri_gc_stats_get(&s, sizeof s);
  return s;
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

// Nothing has to be started; a program may allocate before it calls this.
GC_EXPORT void GC_init() {}
GC_EXPORT int GC_is_init_called() { return 1; }
/// 8.2.2, whose headers these functions are for.
GC_EXPORT unsigned GC_get_version() { return 8u << 16 | 2u << 8 | 2u; }

GC_EXPORT void GC_gcollect() { (void)tri_gc(); }
GC_EXPORT void GC_disable() { tri_gc_disable(); }
GC_EXPORT void GC_enable() { (void)tri_gc_enable(); }

GC_EXPORT Word GC_get_gc_no() { return collector_stats().cycles; }
