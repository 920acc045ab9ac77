// tri_registers.h - The registers of x86-64 as unwind tables number them (System V ABI, figure 3.36).
#ifndef TRI_ALLOC_ARCH_REGISTERS_H
#define TRI_ALLOC_ARCH_REGISTERS_H

#include <cstddef>
#include <cstdint>

namespace tri::arch {

inline constexpr unsigned kRegisters = 17;
inline constexpr unsigned kFramePointer = 6;
inline constexpr unsigned kStackPointer = 7;
inline constexpr unsigned kReturnAddress = 16;

/// Of one frame. What calls do not preserve is whatever it happens to be.
struct Registers {
  uintptr_t r[kRegisters];
  uintptr_t pc;  // where the frame will go on, or was interrupted
};

/// Those of the function that this is inlined into, which must not return before they are used.
[[gnu::always_inline]] inline void capture(Registers* out) {
  // In one piece, so that the tables' row for the noted address holds for the noted stack pointer.
  __asm__ volatile(
      "lea 0(%%rip), %%rax\n\t"
      "mov %%rax, 136(%0)\n\t"
      "mov %%rbx, 24(%0)\n\t"
      "mov %%rbp, 48(%0)\n\t"
      "mov %%rsp, 56(%0)\n\t"
      "mov %%r12, 96(%0)\n\t"
      "mov %%r13, 104(%0)\n\t"
      "mov %%r14, 112(%0)\n\t"
      "mov %%r15, 120(%0)"
      :
      : "r"(out)
      : "rax", "memory");
}
static_assert(offsetof(Registers, pc) == 136);

/// What a saved return address means as an address.
inline uintptr_t plain_code_address(uintptr_t word) { return word; }

/// The frame that a signal interrupted, when the tables do not tell: libc's trampoline has an entry of its own here.
template <class Read>
bool step_over_signal(Registers*, Read&&) {
  return false;
}

}  // namespace tri::arch

#endif
