// collected_support.h - What the tests of collected memory share: pointers that are not seen, and stacks without old words.
#ifndef TRI_TESTS_GC_COLLECTED_SUPPORT_H
#define TRI_TESTS_GC_COLLECTED_SUPPORT_H

#include <cstdint>

#include "gc/gc.h"
#include "gc/heap.h"

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

[[gnu::noinline]] inline void overwrite_stack() {
  volatile char space[16 * 1024];
  for (volatile char& c : space) c = 0;
  // Vector registers keep what was copied by way of them. All that are read are needed until the last is.
  volatile double zero[16] = {};
  double a[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = zero[i];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) zero[i] = a[i];
}

/// Calls fn in a frame of its own, and leaves nothing of it behind.
template <class Fn>
[[gnu::noinline]] void apart(Fn&& fn) {
  fn();
  asm volatile("" ::: "memory");
}
template <class Fn>
void forgotten(Fn&& fn) {
  apart(fn);
  overwrite_stack();
}

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
