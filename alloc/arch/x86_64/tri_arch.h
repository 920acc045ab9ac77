// tri_arch.h - What this library must know about x86-64: system calls, the thread pointer and what stands around it, the spin
// hint, pages, addresses.
//
// System calls are made directly, not through libc: free() must leave errno alone, and a preloaded wrapper of mmap()
// or madvise() may itself allocate.
#ifndef TRI_ARCH_H
#define TRI_ARCH_H

#include <cstddef>
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

/// The kernel's page.
inline size_t page_size() { return 4096; }

/// Addresses of programs end at 2^47, but for those that ask for more.
inline constexpr unsigned kAddressBits = 47;

/// Thread-local variables stand below the thread pointer, and libc's record of the thread at it.
inline constexpr bool kTlsIsBelow = true;
/// For a thread that libc did not make: the first word points at itself, as the ABI demands, and libc's own the same.
inline void prepare_control_block(void* thread_pointer) {
  auto** const words = static_cast<void**>(thread_pointer);
  words[0] = thread_pointer;
  words[2] = thread_pointer;
}

}  // namespace tri::arch

#endif
