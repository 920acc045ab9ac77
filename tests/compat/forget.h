// forget.h - Pointers that are not seen, and stacks without old words: for tests that must not keep what they look for.
#ifndef TRI_TESTS_COMPAT_FORGET_H
#define TRI_TESTS_COMPAT_FORGET_H

#include <cstdint>

namespace tri::test {

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

}  // namespace tri::test

#endif
