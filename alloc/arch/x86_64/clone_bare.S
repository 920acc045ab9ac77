// long tri_clone_bare(unsigned long flags, void* stack_top, uint32_t* id, void* tls, void (*fn)(void*), void* arg);
//
// Makes a thread that runs fn(arg) on the stack below stack_top and then ends. Returns its id, or a negative errno.
// In: rdi flags, rsi stack_top (16-aligned), rdx word in which the kernel sets and clears the id, as the flags say, rcx tls,
// r8 fn, r9 arg. The system call takes flags rdi, stack rsi, parent_tid rdx, child_tid r10, tls r8. Clobbers rax, rcx, rsi,
// r8, r10, r11.
        .text
        .globl  tri_clone_bare
        .hidden tri_clone_bare
        .type   tri_clone_bare, @function
tri_clone_bare:
        .cfi_startproc
        subq    $16, %rsi           // fn and arg wait on the new stack
        movq    %r8, 8(%rsi)
        movq    %r9, (%rsi)
        movq    %rdx, %r10
        movq    %rcx, %r8
        movl    $56, %eax           // SYS_clone
        syscall
        testq   %rax, %rax
        jz      1f
        ret
        .cfi_endproc
1:      .cfi_startproc
        .cfi_undefined %rip         // the outermost frame: unwinders stop here
        xorl    %ebp, %ebp
        popq    %rdi
        popq    %rax
        callq   *%rax
        xorl    %edi, %edi
        movl    $60, %eax           // SYS_exit: this thread alone
        syscall
        hlt
        .cfi_endproc
        .size   tri_clone_bare, .-tri_clone_bare
        .section .note.GNU-stack,"",@progbits
