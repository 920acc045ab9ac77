// long tri_clone_bare(unsigned long flags, void* stack_top, uint32_t* id, void* tls, void (*fn)(void*), void* arg);
//
// Makes a thread that runs fn(arg) on the stack below stack_top and then ends. Returns its id, or a negative errno.
// In: x0 flags, x1 stack_top (16-aligned), x2 word in which the kernel sets and clears the id, as the flags say, x3 tls, x4 fn,
// x5 arg. The system call takes flags x0, stack x1, parent_tid x2, tls x3, child_tid x4. Clobbers x1, x4, x8.
        .text
        .globl  tri_clone_bare
        .hidden tri_clone_bare
        .type   tri_clone_bare, %function
        .p2align 4
tri_clone_bare:
        .cfi_startproc
        stp     x4, x5, [x1, #-16]! // fn and arg wait on the new stack
        mov     x4, x2
        mov     x8, #220            // SYS_clone
        svc     #0
        cbz     x0, 1f
        ret
        .cfi_endproc
1:      .cfi_startproc
        .cfi_undefined x30          // the outermost frame: unwinders stop here
        mov     x29, xzr
        ldp     x8, x0, [sp], #16
        blr     x8
        mov     x0, xzr
        mov     x8, #93             // SYS_exit: this thread alone
        svc     #0
        brk     #1
        .cfi_endproc
        .size   tri_clone_bare, .-tri_clone_bare
        .section .note.GNU-stack,"",%progbits
