// sched_arch.h - What the scheduler must know about x86-64: thread-local words that a switch may move under the compiler's feet.
//
// A goroutine may leave a thread in one call and come back from it on another. A compiler that knows of threads only takes
// the address of a thread-local variable once and keeps it across that call, which is then the other thread's variable (GCC and
// Clang have no way to be told; see llvm-project#98479). So the scheduler reads its own through volatile assembly, which is
// done anew each time: an offset that is the same in all threads, and %fs.
#ifndef TRI_SCHED_ARCH_H
#define TRI_SCHED_ARCH_H

#include <cstdint>

namespace tri::sched::arch {

// clang-format off
#define TRI_TLS_READ(name, out) \
  __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\tmovq %%fs:(%0), %0" : "=r"(out))
#define TRI_TLS_READ_U32(name, out) \
  __asm__ volatile("movq " #name "@gottpoff(%%rip), %q0\n\tmovl %%fs:(%q0), %k0" : "=r"(out))
#define TRI_TLS_ADDRESS(name, out) \
  __asm__ volatile("movq " #name "@gottpoff(%%rip), %0\n\taddq %%fs:0, %0" : "=r"(out))
// clang-format on

}  // namespace tri::sched::arch

#endif
