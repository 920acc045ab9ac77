// collected_support.h - What the tests of collected memory share: pointers that are not seen.
#ifndef TRI_TESTS_GC_COLLECTED_SUPPORT_H
#define TRI_TESTS_GC_COLLECTED_SUPPORT_H

#include <cstdint>

#include "gc/gc.h"
#include "gc/heap.h"
#include "tests/gc/stack_support.h"

namespace tri::gc::test {

/// An address that is noted so that it keeps nothing.
class Hidden {
 public:
  Hidden() = default;
  Hidden(const Hidden& other) : inverse_(other.inverse_) {}
  Hidden& operator=(const Hidden& other) {
    inverse_ = other.inverse_;
    return *this;
  }
  explicit Hidden(const void* p) : inverse_(~reinterpret_cast<uintptr_t>(p)) {}
  /// Out of line, and read anew each time: the caller's frame is not to keep it.
  [[gnu::noinline]] void* get() const { return reinterpret_cast<void*>(~inverse_); }

 private:
  volatile uintptr_t inverse_ = 0;
};

[[gnu::noinline]] inline int collect_now() {
  overwrite_stack();
  const int error = collect();
  asm volatile("" ::: "memory");
  return error;
}

/// Whether the block is still handed out.
[[gnu::noinline]] inline bool is_there(const Hidden& h) { return collected_heap.is_block(h.get()); }

}  // namespace tri::gc::test

#endif
