// fp_modes.h - The modes of floating-point arithmetic that belong to a goroutine: the register fpcr.
//
// Used by: g, proc.
#ifndef TRI_SCHED_FP_MODES_H
#define TRI_SCHED_FP_MODES_H

#include <cstdint>

namespace tri::sched {

using FpModes = uint32_t;

inline FpModes fp_modes() {
  uint64_t modes;
  __asm__ volatile("mrs %0, fpcr" : "=r"(modes));
  return static_cast<FpModes>(modes);
}
inline void set_fp_modes(FpModes modes) {
  if (fp_modes() != modes) __asm__ volatile("msr fpcr, %0" : : "r"(uint64_t{modes}));
}

}  // namespace tri::sched

#endif
