// sched_arch.h - What the scheduler must know about x86-64: thread-local words that a switch may move under the compiler's feet.
//
// A goroutine may leave a thread in one call and come back from it on another. A compiler that knows of threads only takes
// the address of a thread-local variable once and keeps it across that call, which is then the other thread's variable (GCC and
// Clang have no way to be told; see llvm-project#98479). So the scheduler reads its own through volatile assembly, which is
// done anew each time: an offset that is the same in all threads, and %fs.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstdint>

namespace tri::sched {

/// A fence for all memory, and for nothing but it: faster than mfence, and TSan, which does not know fences, is not asked.
inline void full_fence() { __asm__ volatile("lock orl $0, (%%rsp)" : : : "memory", "cc"); }

}  // namespace tri::sched


// clang-format off
#define TRI_TLS_READ(name, out) \
  __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(out))
#define TRI_TLS_WRITE(name, in)                                                                                       \
  do {                                                                                                                \
    uintptr_t offset;                                                                                                 \
    __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\tmovq %1, %%fs:(%0)" : "=&r"(offset) : "r"(in) : "memory"); \
  } while (false)
// A 32-bit word, with one instruction that does something to it.
#define TRI_TLS_DO32(instruction, name)                                                                               \
  do {                                                                                                                \
    uintptr_t offset;                                                                                                 \
    __asm__ volatile("movq " name "@gottpoff(%%rip), %0\n\t" instruction ", %%fs:(%0)" : "=r"(offset) : : "memory", "cc"); \
  } while (false)
#define TRI_TLS_READ32(name, out)                                                                                     \
  do {                                                                                                                \
    uintptr_t offset;                                                                                                 \
    __asm__ volatile("movq " name "@gottpoff(%%rip), %0\n\tmovl %%fs:(%0), %k0" : "=r"(offset) : : "memory");          \
    out = static_cast<uint32_t>(offset);                                                                              \
  } while (false)
// ---- the words of critical.h, by the names that C++ gives them
#define TRI_CRITICAL "_ZN3tri5sched12tls_criticalE"
#define TRI_PREEMPT_PENDING "_ZN3tri5sched19tls_preempt_pendingE"
#define TRI_TLS_INCREMENT(name) TRI_TLS_DO32("addl $1", name)
#define TRI_TLS_DECREMENT(name) TRI_TLS_DO32("subl $1", name)
#define TRI_TLS_SET_ONE(name) TRI_TLS_DO32("movl $1", name)
#define TRI_TLS_SET_ZERO(name) TRI_TLS_DO32("movl $0", name)
// clang-format on


#endif
