// switch_registers.h - How one stack is left for another on x86-64.
//
// As assembly in the middle of a function, which says that it changes all registers: the compiler then saves what it needs itself, in
// the frame of the function around, where a function of the switch's own would do it again. What is left is rbp, the address at which
// to go on, and the modes of floating-point arithmetic. If the other stack was left at this very place, as nearly always where
// goroutines take turns, it goes on by falling through; else by a jump. There is no call, and so no `ret` that the
// processor could predict wrong. A yield takes 5.7 ns so, and 6.1 where the switch is a function.
//
// A saved stack, from its stack pointer up (SavedFrame):  x87 control word (2) unused (6) | rbp | where to go on
//
// Modes: rounding and what does not trap, as <fenv.h> sets them, belong to the goroutine. <fenv.h> sets them in the control word of the x87
// and in that of SSE alike; to store and compare the former costs a yield 0.5 ns, to store the latter 1.6. So the one tells of both. What only SSE
// has, flush to zero and denormals as zero, belongs to the thread.
//
// CFI: from the first push on, the frame is described as that of a function that was called at this place and returns to the label: right on
// either stack, whoever left it. The `nop` is where unwinders look for it, which ask for the byte before a return address.
//
// It writes below the stack pointer, so there must not be a red zone: tri_goroutine_flags sees to that.
//
// Used by: switch.
#ifndef TRI_SCHED_SWITCH_REGISTERS_H
#define TRI_SCHED_SWITCH_REGISTERS_H

namespace tri::sched {

[[gnu::always_inline]] inline void switch_registers(void** save, void* load) {
  __asm__ volatile(
      ".cfi_remember_state\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      ".cfi_def_cfa %%rsp, 8\n\t"
      ".cfi_offset %%rip, -8\n\t"
      ".cfi_same_value %%rbx\n\t"
      ".cfi_same_value %%rbp\n\t"
      ".cfi_same_value %%r12\n\t"
      ".cfi_same_value %%r13\n\t"
      ".cfi_same_value %%r14\n\t"
      ".cfi_same_value %%r15\n\t"
      "pushq %%rbp\n\t"
      ".cfi_adjust_cfa_offset 8\n\t"
      ".cfi_rel_offset %%rbp, 0\n\t"
      "subq $8, %%rsp\n\t"
      ".cfi_adjust_cfa_offset 8\n\t"
      "fnstcw (%%rsp)\n\t"
      "movzwl (%%rsp), %%ecx\n\t"
      "movq %%rsp, (%%rdi)\n\t"
      "movq %%rsi, %%rsp\n\t"  // ---- from here on the other stack
      "cmpw (%%rsp), %%cx\n\t"
      "jne tri_resume_with_other_modes\n\t"
      "cmpq 16(%%rsp), %%rax\n\t"
      "jne tri_resume_elsewhere\n\t"
      "addq $8, %%rsp\n\t"
      ".cfi_adjust_cfa_offset -8\n\t"
      "popq %%rbp\n\t"
      ".cfi_adjust_cfa_offset -8\n\t"
      ".cfi_same_value %%rbp\n\t"
      "addq $8, %%rsp\n\t"
      ".cfi_restore_state\n\t"
      "nop\n"
      "1:"
      : "+D"(save), "+S"(load)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",
        "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        "memory", "cc");
}

}  // namespace tri::sched

#endif
