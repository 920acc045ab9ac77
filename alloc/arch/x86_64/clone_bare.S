// long tri_clone_bare(unsigned long flags, void* stack_top, int* tid, void* tls, void (*fn)(void));
//
// Makes a thread that runs fn() on the stack below stack_top and then ends. Returns its id, or a negative errno.
// In: rdi flags, rsi stack_top (16-aligned), rdx word that the kernel clears at the end, rcx tls, r8 fn.
// The system call takes flags rdi, stack rsi, parent_tid rdx, child_tid r10, tls r8. Clobbers rax, rcx, r10, r11, r9.
        .text
        .globl  tri_clone_bare
        .hidden tri_clone_bare
        .type   tri_clone_bare, @function
tri_clone_bare:
        .cfi_startproc
        movq    %r8, %r9            // fn survives the call in r9
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
        callq   *%r9
        xorl    %edi, %edi
        movl    $60, %eax           // SYS_exit: this thread alone
        syscall
        hlt
        .cfi_endproc
        .size   tri_clone_bare, .-tri_clone_bare
        .section .note.GNU-stack,"",@progbits
