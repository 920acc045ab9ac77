// gc_api.cc - The functions of tri/gc.h.
#include <errno.h>

#include <cstring>

#include "gc/gc.h"
#include "shim/export.h"
#include "shim/include/tri/gc.h"

TRI_EXPORT_BEGIN

using namespace tri;

int tri_gc(void) { return gc::collect(); }

void tri_gc_disable(void) { gc::disable(); }

int tri_gc_enable(void) { return gc::enable() ? 0 : -EINVAL; }

int tri_gc_stats_get(struct tri_gc_stats* out, size_t size) {
  if (out == nullptr || size == 0) return -EINVAL;
  const gc::CollectorStats from = gc::get_stats();
  struct tri_gc_stats s = {};
  s.cycles = from.cycles;
  s.failed_cycles = from.failed_cycles;
  s.live_bytes = from.live_bytes;
  s.goal_bytes = from.goal_bytes;
  s.allocated_bytes = from.allocated_bytes;
  s.collected_bytes = from.collected_bytes;
  s.collected_blocks = from.collected_blocks;
  s.pause_ns = static_cast<uint64_t>(from.pause_ns);
  s.pause_ns_max = static_cast<uint64_t>(from.pause_ns_max);
  s.pause_ns_last = static_cast<uint64_t>(from.pause_ns_last);
  memset(out, 0, size);
  memcpy(out, &s, size < sizeof s ? size : sizeof s);
  return 0;
}

TRI_EXPORT_END
