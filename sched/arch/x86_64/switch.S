// tri_switch(save in rdi, load in rsi). Called by switch_registers() only (see switch_registers.h).
//
// Leaves this stack for another: saves rbp and the control words of SSE and x87 (rounding modes belong to the goroutine), stores the stack
// pointer in *save, and continues where the stack `load` was left. All other registers are its caller's business, who saves them once,
// with those that it needs for itself.
//
// A saved stack, from its stack pointer up:  mxcsr (4) x87 control word (2) unused (2) | rbp | return address
//
// It ends in `ret`: nearly all switches leave from the same few call sites, for which the processor's stack of return addresses is
// then right: 3.5 ns instead of 9.8 with an indirect jump, which leaves it one off for all returns that follow. The control words cost 1 ns of it; to
// load them only when they differ is slower.
//
// CFI: the frame's layout is the same on both stacks, so unwinding from here is right before and after the exchange of rsp.
        .text
        .globl  tri_switch
        .hidden tri_switch
        .type   tri_switch, @function
        .p2align 4
tri_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp          // ---- from here on the other stack
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   tri_switch, .-tri_switch
        .section .note.GNU-stack,"",@progbits
