// leaks_api.cc - The functions of tri/leaks.h.
#include <errno.h>

#include "gc/roots.h"
#include "shim/export.h"
#include "shim/include/tri/leaks.h"
#include "shim/leaks_report.h"
#include "shim/why_report.h"

namespace tri {
namespace {

int each_leak(int (*fn)(const struct tri_leak* leak, void* arg), void* arg, uintptr_t sp) {
  gc::Leaks leaks;
  if (const int error = find_leaks(&leaks, sp); error != 0) return error;
  for (const gc::Leak& leak : leaks) {
    const struct tri_leak l = {leak.block, leak.bytes, leak.indirect_blocks, leak.indirect_bytes};
    if (const int result = fn(&l, arg); result != 0) return result;
  }
  return 0;
}

int each_sleeper(int (*fn)(uint64_t task, void* arg), void* arg, uintptr_t sp) {
  gc::Leaks leaks;
  if (const int error = find_leaks(&leaks, sp); error != 0) return error;
  for (size_t i = 0; i < leaks.sleepers().count(); ++i) {
    if (const int result = fn(leaks.sleepers().id(i), arg); result != 0) return result;
  }
  return 0;
}

}  // namespace
}  // namespace tri

TRI_EXPORT_BEGIN

int tri_leaks(int (*fn)(const struct tri_leak* leak, void* arg), void* arg) {
  if (fn == nullptr) return -EINVAL;
  return tri::gc::below_program([&](uintptr_t sp) { return tri::each_leak(fn, arg, sp); });
}

int tri_leaked_tasks(int (*fn)(uint64_t task, void* arg), void* arg) {
  if (fn == nullptr) return -EINVAL;
  return tri::gc::below_program([&](uintptr_t sp) { return tri::each_sleeper(fn, arg, sp); });
}

int tri_why(int fd, const void* p) {
  return tri::gc::below_program([&](uintptr_t sp) { return tri::write_why(fd, p, sp); });
}

int tri_roots_add(const void* p, size_t n) { return tri::gc::add_root_range(p, n); }

int tri_roots_remove(const void* p) { return tri::gc::remove_root_range(p); }

TRI_EXPORT_END
