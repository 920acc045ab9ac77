// void* dlopen(const char* file, int mode);
//
// Clears RTLD_DEEPBIND (8) and jumps to the dlopen() behind us: see the one for x86-64.
// In: x0 file, w1 mode; passed on. Clobbers x16.
        .text
        .globl  dlopen
        .type   dlopen, %function
        .p2align 4
dlopen:
        .cfi_startproc
        and     w1, w1, #~8
        adrp    x16, tri_real_dlopen
        ldr     x16, [x16, :lo12:tri_real_dlopen]
        cbz     x16, 1f
        br      x16
1:      stp     x29, x30, [sp, #-32]!   // first call, before our constructor: find it now
        .cfi_def_cfa_offset 32
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x0, x1, [sp, #16]
        mov     x29, sp
        bl      tri_find_dlopen
        mov     x16, x0
        ldp     x0, x1, [sp, #16]
        ldp     x29, x30, [sp], #32
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        br      x16
        .cfi_endproc
        .size   dlopen, .-dlopen
        .section .note.GNU-stack,"",%progbits
