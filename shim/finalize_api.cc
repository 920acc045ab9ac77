// finalize_api.cc - The functions of tri/finalize.h.
#include <errno.h>

#include <cstring>

#include "alloc/arena.h"
#include "alloc/malloc.h"
#include "alloc/thread.h"
#include "gc/finalizers.h"
#include "gc/gc.h"
#include "gc/heap.h"
#include "gc/stop.h"
#include "shim/export.h"
#include "shim/include/tri/finalize.h"

namespace tri {
namespace {

gc::Finalizers::LinkKind kind_of(bool after_finalizers) {
  return after_finalizers ? gc::Finalizers::kLong : gc::Finalizers::kShort;
}

static_assert(static_cast<int>(gc::Finalizers::Order::kOutermost) == TRI_FINALIZE_OUTERMOST);
static_assert(static_cast<int>(gc::Finalizers::Order::kIgnoreSelf) == TRI_FINALIZE_IGNORE_SELF);
static_assert(static_cast<int>(gc::Finalizers::Order::kAny) == TRI_FINALIZE_ANY);

}  // namespace
}  // namespace tri

TRI_EXPORT_BEGIN

using namespace tri;

int tri_gc_set_finalizer(const void* p, enum tri_finalizer_order order, tri_finalizer fn, void* arg,
                         tri_finalizer* old_fn, void** old_arg) {
  gc::Finalizers::Finalizer old;
  const bool known = order == TRI_FINALIZE_OUTERMOST || order == TRI_FINALIZE_IGNORE_SELF || order == TRI_FINALIZE_ANY;
  const int error = known ? gc::finalizers.set(p, static_cast<gc::Finalizers::Order>(order), {fn, arg}, &old) : -EINVAL;
  if (old_fn != nullptr) *old_fn = old.fn;
  if (old_arg != nullptr) *old_arg = old.arg;
  return error;
}

size_t tri_gc_run_finalizers(void) {
  size_t n = 0;
  for (gc::Finalizers::Due d; gc::finalizers.take(&d); ++n) d.fn(d.block, d.arg);
  return n;
}

size_t tri_gc_finalizers_due(void) { return gc::finalizers.due(); }

int tri_gc_link(void** at, const void* p, bool after_finalizers) {
  return gc::finalizers.link(at, p, kind_of(after_finalizers));
}

int tri_gc_unlink(void** at, bool after_finalizers) {
  return gc::finalizers.unlink(at, kind_of(after_finalizers)) ? 0 : -ENOENT;
}

int tri_gc_move_link(void** from, void** to, bool after_finalizers) {
  return gc::finalizers.move_link(from, to, kind_of(after_finalizers));
}

void* tri_gc_call_excluded(void* (*fn)(void* arg), void* arg) {
  // Who stops the world takes this lock before.
  CollectedGuard guard(gc::collected_heap.attached_lock());
  return fn(arg);
}

void* tri_gc_base(const void* p) {
  void* const start = block_start(p);
  return start != nullptr && gc::collected_heap.is_block(start) ? start : nullptr;
}

const uint32_t* tri_gc_moments(void) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  return reinterpret_cast<const uint32_t*>(&gc::cycle_moments());
}

int tri_gc_signal(void) {
  const int signal = gc::get_stop_signal();
  return signal > 0 ? signal : 0;
}

TRI_EXPORT_END
