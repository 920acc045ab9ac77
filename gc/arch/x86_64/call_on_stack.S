// void tri_call_on_stack(void* stack_top, void (*fn)(void* arg), void* arg);
//
// Calls fn(arg) on the stack below stack_top, and comes back on the caller's.
// In: rdi stack_top (16-aligned), rsi fn, rdx arg. Keeps rbp, by which unwinders find the caller; what a call may change is changed.
        .text
        .globl  tri_call_on_stack
        .hidden tri_call_on_stack
        .type   tri_call_on_stack, @function
        .p2align 4
tri_call_on_stack:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        callq   *%rsi
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   tri_call_on_stack, .-tri_call_on_stack
        .section .note.GNU-stack,"",@progbits
