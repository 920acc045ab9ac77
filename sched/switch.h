// switch.h - From one stack to another. See arch/*/switch.S for what is saved.
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
/// Saves the registers on this stack and its pointer in *save, and continues the stack `load`. Called by switch_registers().
void tri_switch(void** save, void* load);
/// A label (see first_frame.S).
void tri_first_frame();
/// What a new stack runs.
[[noreturn]] void tri_goroutine_main();
}

namespace tri::sched {

/// Lays out a new stack, so that the first switch to it enters tri_goroutine_main(); returns its pointer. The control words are
/// those of the thread that asks, as those of a new thread are.
inline void* prepare_stack(char* top) {
  auto* const frame = reinterpret_cast<SavedFrame*>(top - kFirstFrameGap) - 1;
  prepare_frame(frame, reinterpret_cast<uintptr_t>(&tri_first_frame));
  return frame;
}

}  // namespace tri::sched

#endif
