// saved_frame.h - What a switch leaves on a stack. The order is that of switch.S.
#ifndef TRI_SCHED_SAVED_FRAME_H
#define TRI_SCHED_SAVED_FRAME_H

#include <cstddef>
#include <cstdint>

namespace tri::sched {

struct SavedFrame {
  uint64_t frame_pointer;   // x29
  uint64_t return_address;  // x30
  uint64_t x19_to_x28[10];
  uint64_t d8_to_d15[8];
  uint64_t fpcr;
  uint64_t unused;
};
static_assert(sizeof(SavedFrame) == 176);
static_assert(offsetof(SavedFrame, x19_to_x28) == 16);
static_assert(offsetof(SavedFrame, d8_to_d15) == 96);
static_assert(offsetof(SavedFrame, fpcr) == 160);

/// Bytes between the frame and the top of a new stack.
inline constexpr size_t kFirstFrameGap = 64;

inline void prepare_frame(SavedFrame* f, uint64_t return_address) {
  *f = {};
  __asm__ volatile("mrs %0, fpcr" : "=r"(f->fpcr));
  f->return_address = return_address;
}

/// Bytes before a return address that are the call: bl, or blr.
inline constexpr size_t kCallBytes = 4;
inline bool ends_in_call(const unsigned char (&c)[kCallBytes]) {
  const uint32_t code = c[0] | uint32_t{c[1]} << 8 | uint32_t{c[2]} << 16 | uint32_t{c[3]} << 24;
  return (code & 0xfc000000) == 0x94000000 || (code & 0xfffffc1f) == 0xd63f0000;
}

}  // namespace tri::sched

#endif
