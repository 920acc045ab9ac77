// void tri_call_on_stack(void* stack_top, void (*fn)(void* arg), void* arg);
//
// Calls fn(arg) on the stack below stack_top, and comes back on the caller's.
// In: x0 stack_top (16-aligned), x1 fn, x2 arg. Keeps x29, by which unwinders find the caller; what a call may change is changed.
        .text
        .globl  tri_call_on_stack
        .hidden tri_call_on_stack
        .type   tri_call_on_stack, %function
        .p2align 4
tri_call_on_stack:
        .cfi_startproc
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        mov     sp, x0
        mov     x0, x2
        blr     x1
        mov     sp, x29
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   tri_call_on_stack, .-tri_call_on_stack
        .section .note.GNU-stack,"",%progbits
