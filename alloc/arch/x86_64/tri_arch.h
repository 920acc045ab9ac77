// tri_arch.h - What this library must know about x86-64: system calls, the thread pointer, the spin hint.
//
// System calls are made directly, not through libc: free() must leave errno alone, and a preloaded wrapper of mmap()
// or madvise() may itself allocate.
#ifndef TRI_ARCH_H
#define TRI_ARCH_H

#include <cstdint>

namespace tri::arch {

/// Returns the result, or a negative errno.
inline long system_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

/// An address that belongs to the calling thread alone for as long as it lives: its thread control block. One
/// instruction, where the address of a thread-local variable takes two.
inline uintptr_t thread_pointer() { return reinterpret_cast<uintptr_t>(__builtin_thread_pointer()); }

inline void spin_hint() { __builtin_ia32_pause(); }

}  // namespace tri::arch

#endif
