// stack_support.h - For tests of what a conservative collector finds: stacks and registers without old words. Needs nothing of the library.
#ifndef TRI_TESTS_GC_STACK_SUPPORT_H
#define TRI_TESTS_GC_STACK_SUPPORT_H

namespace tri::gc::test {

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
[[gnu::noinline]] void forgotten(Fn&& fn) {
  apart(fn);
  overwrite_stack();
  asm volatile("" ::: "memory");
}

}  // namespace tri::gc::test

#endif
