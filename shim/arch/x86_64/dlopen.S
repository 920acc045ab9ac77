// void* dlopen(const char* file, int mode);
//
// Clears RTLD_DEEPBIND (8) and jumps to the dlopen() behind us. With that flag a library's calls of free() bind to libc
// past every preloaded allocator, and meet blocks that libc never allocated. A jump, not a call: dlopen() looks at its
// return address to know whose RUNPATH counts.
// In: rdi file, esi mode; passed on. Clobbers rax, r11.
        .text
        .globl  dlopen
        .type   dlopen, @function
dlopen:
        .cfi_startproc
        andl    $~8, %esi
        movq    tri_real_dlopen(%rip), %r11
        testq   %r11, %r11
        jz      1f
        jmpq    *%r11
1:      pushq   %rdi                // first call, before our constructor: find it now
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        subq    $8, %rsp            // the stack is 16-aligned at the call
        .cfi_adjust_cfa_offset 8
        call    tri_find_dlopen
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        jmpq    *%rax
        .cfi_endproc
        .size   dlopen, .-dlopen
        .section .note.GNU-stack,"",@progbits
