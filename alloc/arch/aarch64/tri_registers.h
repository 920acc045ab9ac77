// tri_registers.h - The registers of aarch64 as unwind tables number them (AADWARF64, section 4.1).
#ifndef TRI_ALLOC_ARCH_REGISTERS_H
#define TRI_ALLOC_ARCH_REGISTERS_H

#include <cstddef>
#include <cstdint>

namespace tri::arch {

// x0 to x30, sp, and up to 34, which says whether the return address is signed.
inline constexpr unsigned kRegisters = 35;
inline constexpr unsigned kFramePointer = 29;
inline constexpr unsigned kReturnAddress = 30;
inline constexpr unsigned kStackPointer = 31;

/// Of one frame. What calls do not preserve is whatever it happens to be.
struct Registers {
  uintptr_t r[kRegisters];
  uintptr_t pc;  // where the frame will go on, or was interrupted
};

/// Those of the function that this is inlined into, which must not return before they are used.
[[gnu::always_inline]] inline void capture(Registers* out) {
  // In one piece, so that the tables' row for the noted address holds for the noted stack pointer.
  __asm__ volatile(
      "adr x9, .\n\t"
      "str x9, [%0, #280]\n\t"
      "stp x19, x20, [%0, #152]\n\t"
      "stp x21, x22, [%0, #168]\n\t"
      "stp x23, x24, [%0, #184]\n\t"
      "stp x25, x26, [%0, #200]\n\t"
      "stp x27, x28, [%0, #216]\n\t"
      "stp x29, x30, [%0, #232]\n\t"
      "mov x9, sp\n\t"
      "str x9, [%0, #248]"
      :
      : "r"(out)
      : "x9", "memory");
}
static_assert(offsetof(Registers, pc) == 280);

/// What a saved return address means as an address: the upper bits may hold a signature (pointer authentication).
inline uintptr_t plain_code_address(uintptr_t word) { return word & ((uintptr_t{1} << 48) - 1); }

/// The frame that a signal interrupted: not every kernel's trampoline has an entry in the tables. It is known by its two instructions (mov x8,
/// #139; svc #0); the stack pointer is then at a siginfo_t (128 bytes) and a ucontext_t, whose registers begin at its byte 184.
template <class Read>
bool step_over_signal(Registers* regs, Read&& read) {
  uintptr_t code = 0;
  if ((regs->pc & 3) != 0 || !read(regs->pc, &code) || code != 0xd4000001d2801168) return false;
  const uintptr_t saved = regs->r[kStackPointer] + 128 + 184;
  for (unsigned i = 0; i < 32; ++i) {
    if (!read(saved + i * sizeof(uintptr_t), &regs->r[i])) return false;
  }
  return read(saved + 32 * sizeof(uintptr_t), &regs->pc);
}

}  // namespace tri::arch

#endif
