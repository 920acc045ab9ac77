// void tri_call_on(void* top, void (*fn)(void*), void* arg);
//
// Calls fn(arg) on another stack. In: rdi top (aligned to 16, free below), rsi fn, rdx arg. The old stack pointer is kept in rbp, which the
// callee saves; the CFI says so, and unwinders find the way back.
//
// The inner label is for gdb, which ends a backtrace where a caller stands below its callee, as it may here, unless the function has this
// name: that of GCC's split stacks, which do the same.
        .text
        .globl  tri_call_on
        .hidden tri_call_on
        .type   tri_call_on, @function
        .type   __morestack, @function
        .p2align 4
tri_call_on:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdi, %rsp
        movq    %rdx, %rdi
__morestack:
        callq   *%rsi
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   __morestack, .-__morestack
        .size   tri_call_on, .-tri_call_on
        .section .note.GNU-stack,"",@progbits
