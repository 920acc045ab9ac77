// switch_registers.h - How C++ calls tri_switch() on x86-64.
//
// As assembly that says which registers it changes: all. The compiler then saves what it needs itself, in the frame of the
// function around, where it would otherwise be done twice: by that function, for its own registers, and by the switch, for those of
// others. That is ten instructions fewer in each switch. The frames of goroutines that wait are complete for unwinders all the same.
//
// The call writes below the stack pointer, so there must not be a red zone: tri_goroutine_flags sees to that.
//
// Used by: switch.
#ifndef TRI_SCHED_SWITCH_REGISTERS_H
#define TRI_SCHED_SWITCH_REGISTERS_H

namespace tri::sched {

[[gnu::always_inline]] inline void switch_registers(void** save, void* load) {
  __asm__ volatile("call tri_switch"
                   : "+D"(save), "+S"(load)
                   :
                   : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
                     "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                     "xmm14", "xmm15", "memory", "cc");
}

}  // namespace tri::sched

#endif
