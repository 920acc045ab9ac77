// saved_frame.h - What a switch leaves on a stack. The order is that of switch_registers.h.
#ifndef TRI_SCHED_SAVED_FRAME_H
#define TRI_SCHED_SAVED_FRAME_H

#include <cstddef>
#include <cstdint>

namespace tri::sched {

struct SavedFrame {
  uint16_t x87_control;
  uint16_t unused[3];
  uint64_t frame_pointer;  // rbp
  uint64_t return_address;
};
static_assert(sizeof(SavedFrame) == 24);
static_assert(offsetof(SavedFrame, frame_pointer) == 8);

/// Bytes between the frame and the top of a new stack: at tri_first_frame the stack is then aligned to 16, as a call demands.
inline constexpr size_t kFirstFrameGap = 64;

inline void prepare_frame(SavedFrame* f, uint64_t return_address) {
  *f = {};
  __asm__ volatile("fnstcw %0" : "=m"(f->x87_control));
  f->return_address = return_address;
}

/// Bytes before a return address that end in the call: near and relative, or through a pointer, or a register.
inline constexpr size_t kCallBytes = 6;
inline bool ends_in_call(const unsigned char (&c)[kCallBytes]) {
  return c[1] == 0xe8 || (c[0] == 0xff && c[1] == 0x15) || (c[4] == 0xff && (c[5] & 0xf8) == 0xd0);
}

}  // namespace tri::sched

#endif
