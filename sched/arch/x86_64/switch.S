// The rarer ways in which a switch ends (switch_registers.h), on the stack that was switched to:
//   x87 control word (2) unused (6) | rbp | where to go on

        .text

// tri_load_modes(x87 control word in di): sets it, and rounding and traps of SSE to the same.
        .globl  tri_load_modes
        .hidden tri_load_modes
        .type   tri_load_modes, @function
        .p2align 4
tri_load_modes:
        .cfi_startproc
        movw    %di, -8(%rsp)
        fldcw   -8(%rsp)
        stmxcsr -4(%rsp)
        movl    -4(%rsp), %eax
        andl    $~0x7f80, %eax
        movl    %edi, %ecx
        andl    $0x3f, %ecx         // what does not trap: bits 0 to 5, and 7 to 12 of SSE's
        shll    $7, %ecx
        orl     %ecx, %eax
        andl    $0xc00, %edi        // rounding: bits 10 and 11, and 13 and 14
        shll    $3, %edi
        orl     %edi, %eax
        movl    %eax, -4(%rsp)
        ldmxcsr -4(%rsp)
        ret
        .cfi_endproc
        .size   tri_load_modes, .-tri_load_modes

// By a jump, with that stack.
        .globl  tri_resume_with_other_modes
        .hidden tri_resume_with_other_modes
        .type   tri_resume_with_other_modes, @function
        .globl  tri_resume_elsewhere
        .hidden tri_resume_elsewhere
        .type   tri_resume_elsewhere, @function
        .p2align 4
        .cfi_startproc
        .cfi_def_cfa_offset 24
        .cfi_offset %rbp, -16
tri_resume_with_other_modes:
        movzwl  (%rsp), %edi
        callq   tri_load_modes
tri_resume_elsewhere:
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbp
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdx
        jmpq    *%rdx
        .cfi_endproc
        .size   tri_resume_with_other_modes, tri_resume_elsewhere-tri_resume_with_other_modes
        .size   tri_resume_elsewhere, .-tri_resume_elsewhere
        .section .note.GNU-stack,"",@progbits
