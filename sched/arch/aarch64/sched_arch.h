// sched_arch.h - What the scheduler must know about aarch64: see the one for x86-64 for why thread-local words are read by assembly.
//
// Here the danger is real and daily: a compiler reads tpidr_el0 once and keeps it in a register across calls.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstdint>

namespace tri::sched {

/// A fence for all memory.
inline void full_fence() { __asm__ volatile("dmb ish" : : : "memory"); }

}  // namespace tri::sched

// clang-format off
// The address of a thread-local word, in one piece with its use.
#define TRI_TLS_ADDRESS(name, base, offset)                  \
  "mrs " base ", tpidr_el0\n\t"                              \
  "adrp " offset ", :gottprel:" name "\n\t"                  \
  "ldr " offset ", [" offset ", :gottprel_lo12:" name "]\n\t"
#define TRI_TLS_READ(name, out)                                                                                       \
  do {                                                                                                                \
    uintptr_t tls_base, tls_offset;                                                                                   \
    __asm__ volatile(TRI_TLS_ADDRESS(#name, "%0", "%1") "ldr %0, [%0, %1]" : "=&r"(tls_base), "=&r"(tls_offset));      \
    out = reinterpret_cast<decltype(out)>(tls_base);                                                                  \
  } while (false)
#define TRI_TLS_WRITE(name, in)                                                                                       \
  do {                                                                                                                \
    uintptr_t tls_base, tls_offset;                                                                                   \
    __asm__ volatile(TRI_TLS_ADDRESS(#name, "%0", "%1") "str %2, [%0, %1]"                                            \
                     : "=&r"(tls_base), "=&r"(tls_offset) : "r"(in) : "memory");                                      \
  } while (false)
#define TRI_TLS_READ32(name, out)                                                                                     \
  do {                                                                                                                \
    uintptr_t tls_base, tls_offset;                                                                                   \
    __asm__ volatile(TRI_TLS_ADDRESS(name, "%0", "%1") "ldr %w0, [%0, %1]"                                            \
                     : "=&r"(tls_base), "=&r"(tls_offset) : : "memory");                                              \
    out = static_cast<uint32_t>(tls_base);                                                                            \
  } while (false)
#define TRI_TLS_CHANGE32(name, instruction)                                                                           \
  do {                                                                                                                \
    uintptr_t tls_base, tls_offset, tls_value;                                                                        \
    __asm__ volatile(TRI_TLS_ADDRESS(name, "%0", "%1") "ldr %w2, [%0, %1]\n\t" instruction "\n\tstr %w2, [%0, %1]"       \
                     : "=&r"(tls_base), "=&r"(tls_offset), "=&r"(tls_value) : : "memory");                            \
  } while (false)
#define TRI_TLS_SET32(name, value)                                                                                    \
  do {                                                                                                                \
    uintptr_t tls_base, tls_offset;                                                                                   \
    __asm__ volatile(TRI_TLS_ADDRESS(name, "%0", "%1") "str %w2, [%0, %1]"                                            \
                     : "=&r"(tls_base), "=&r"(tls_offset) : "r"(value) : "memory");                                   \
  } while (false)
#define TRI_CRITICAL "_ZN3tri5sched12tls_criticalE"
#define TRI_PREEMPT_PENDING "_ZN3tri5sched19tls_preempt_pendingE"
#define TRI_TLS_INCREMENT(name) TRI_TLS_CHANGE32(name, "add %w2, %w2, #1")
#define TRI_TLS_DECREMENT(name) TRI_TLS_CHANGE32(name, "sub %w2, %w2, #1")
#define TRI_TLS_SET_ONE(name) TRI_TLS_SET32(name, 1)
#define TRI_TLS_SET_ZERO(name) TRI_TLS_SET32(name, 0)
// clang-format on

#endif
