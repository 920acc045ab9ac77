// peek.h - Reading words of memory that is somebody else's, as it stands just now.
//
// It may be free, uninitialised, or written by a thread that stands still in the middle of it: not for the sanitizers to judge. In their builds it is
// a call; GCC would else forget, within a function that is not checked, to take back what it noted of the variables of functions
// that it has inlined there.
//
// Used by: marker, leaks.
#ifndef TRI_GC_PEEK_H
#define TRI_GC_PEEK_H

#include <cstdint>

namespace tri::gc {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
[[gnu::noinline, gnu::no_sanitize("address", "thread")]]
#else
[[gnu::always_inline]]
#endif
inline uintptr_t
peek(const uintptr_t* p) {
  return *p;
}

}  // namespace tri::gc

#endif
