// switch.h - From one stack to another. See arch/*/switch_registers.h for what is saved.
//
// Sanitizers have to be told: of TSan's and ASan's fibers there is one for each stack. The calls compile to nothing else.
//
// Used by: proc.
#ifndef TRI_SCHED_SWITCH_H
#define TRI_SCHED_SWITCH_H

#include <cstddef>
#include <cstdint>

#include "saved_frame.h"
#include "switch_registers.h"

extern "C" {
/// A label (see first_frame.S).
void tri_first_frame();
/// What a new stack runs.
[[noreturn]] void tri_goroutine_main();
}

namespace tri::sched {

/// Lays out a new stack, so that the first switch to it enters tri_goroutine_main(); returns its pointer. It starts with
/// the modes of arithmetic (fp_modes.h) of whoever asks.
inline void* prepare_stack(char* top) {
  auto* const frame = reinterpret_cast<SavedFrame*>(top - kFirstFrameGap) - 1;
  prepare_frame(frame, reinterpret_cast<uintptr_t>(&tri_first_frame));
  return frame;
}

}  // namespace tri::sched

#endif
