// sched_arch.h - What the scheduler must know about x86-64: thread-local words that a switch may move under the compiler's feet.
//
// A goroutine may leave a thread in one call and come back from it on another. A compiler that knows of threads only takes
// the address of a thread-local variable once and keeps it across that call, which is then the other thread's variable (GCC and
// Clang have no way to be told; see llvm-project#98479). So the scheduler reads its own through volatile assembly, which is
// done anew each time: an offset that is the same in all threads, and %fs.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstdint>


// clang-format off
#define TRI_TLS_READ(name, out) \
  __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(out))
#define TRI_TLS_WRITE(name, in)                                                                                       \
  do {                                                                                                                \
    uintptr_t offset;                                                                                                 \
    __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\tmovq %1, %%fs:(%0)" : "=&r"(offset) : "r"(in) : "memory"); \
  } while (false)
// clang-format on


#endif
