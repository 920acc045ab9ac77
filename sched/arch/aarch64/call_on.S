// void tri_call_on(void* top, void (*fn)(void*), void* arg);
//
// Calls fn(arg) on another stack, with a label for gdb (see the one for x86-64). In: x0 top (aligned to 16), x1 fn, x2 arg. The old stack
// pointer is kept in x29.
        .text
        .globl  tri_call_on
        .hidden tri_call_on
        .type   tri_call_on, %function
        .type   __morestack, %function
        .p2align 4
tri_call_on:
        .cfi_startproc
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        mov     x29, sp
        .cfi_def_cfa_register x29
        mov     sp, x0
        mov     x0, x2
__morestack:
        blr     x1
        mov     sp, x29
        .cfi_def_cfa_register sp
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   __morestack, .-__morestack
        .size   tri_call_on, .-tri_call_on
        .section .note.GNU-stack,"",%progbits
