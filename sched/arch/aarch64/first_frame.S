// tri_first_frame: where the first switch to a new stack returns to (see the one for x86-64). x30 and x29 are 0 in the frame of whom it
// calls, so unwinders and walks by frame pointer stop.
        .text
        .globl  tri_first_frame
        .hidden tri_first_frame
        .type   tri_first_frame, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        nop
tri_first_frame:
        mov     x29, xzr
        mov     x30, xzr
        bl      tri_goroutine_main
        brk     #1
        .cfi_endproc
        .size   tri_first_frame, .-tri_first_frame
        .section .note.GNU-stack,"",%progbits
