// tri_arch.h - What this library must know about aarch64: see the one for x86-64.
#ifndef TRI_ARCH_H
#define TRI_ARCH_H

#include <sys/auxv.h>

#include <cstddef>
#include <cstdint>

namespace tri::arch {

/// Returns the result, or a negative errno.
inline long system_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

inline uintptr_t thread_pointer() { return reinterpret_cast<uintptr_t>(__builtin_thread_pointer()); }

/// Waits for the pipeline to drain, some ten nanoseconds, as `pause` does elsewhere; `yield` is no wait at all on most of
/// these processors.
inline void spin_hint() { __asm__ volatile("isb" : : : "memory"); }

/// Kernels are built for 4, 16 or 64 KiB.
inline size_t page_size() { return getauxval(AT_PAGESZ); }

/// Addresses that a program gets without asking for more.
inline constexpr unsigned kAddressBits = 48;

/// Thread-local variables stand above the thread pointer, and libc's record of the thread below it.
inline constexpr bool kTlsIsBelow = false;
/// The two words at the thread pointer are libc's: where variables are that came with dlopen(). A bare thread touches none.
inline void prepare_control_block(void*) {}

}  // namespace tri::arch

#endif
