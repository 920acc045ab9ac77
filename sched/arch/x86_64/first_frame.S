// tri_first_frame: where the first switch to a new stack returns to. Calls tri_goroutine_main() on an empty stack, from which
// nothing returns. It is no function that anybody calls.
//
// The outermost frame: its caller is undefined, and rbp is 0, so unwinders and walks by frame pointer stop here. The nop stands
// before the entry since unwinders look up the address before a return address.
        .text
        .globl  tri_first_frame
        .hidden tri_first_frame
        .type   tri_first_frame, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined %rip
        nop
tri_first_frame:
        xorl    %ebp, %ebp
        callq   tri_goroutine_main
        hlt
        .cfi_endproc
        .size   tri_first_frame, .-tri_first_frame
        .section .note.GNU-stack,"",@progbits
