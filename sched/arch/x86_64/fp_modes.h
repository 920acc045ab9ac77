// fp_modes.h - The modes of floating-point arithmetic that belong to a goroutine: rounding, and what does not trap.
//
// The control word of the x87; that of SSE follows it (see switch_registers.h).
//
// Used by: g, proc.
#ifndef TRI_SCHED_FP_MODES_H
#define TRI_SCHED_FP_MODES_H

#include <cstdint>

extern "C" void tri_load_modes(uint16_t x87_control);

namespace tri::sched {

using FpModes = uint16_t;

inline FpModes fp_modes() {
  FpModes modes;
  __asm__ volatile("fnstcw %0" : "=m"(modes));
  return modes;
}
inline void set_fp_modes(FpModes modes) {
  if (fp_modes() != modes) tri_load_modes(modes);
}

}  // namespace tri::sched

#endif
