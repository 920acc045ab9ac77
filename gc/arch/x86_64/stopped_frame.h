// stopped_frame.h - What the kernel saves of a thread that it sends a signal to, on x86-64.
//
// The general registers are in the ucontext; those of the vector unit lie above it on the same stack, in the format of XSAVE, whose
// length stands in the part that it leaves to software.
//
// Used by: stop.
#ifndef TRI_GC_STOPPED_FRAME_H
#define TRI_GC_STOPPED_FRAME_H

#include <signal.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>

namespace tri::gc {

inline uintptr_t stack_pointer(const ucontext_t* u) { return static_cast<uintptr_t>(u->uc_mcontext.gregs[REG_RSP]); }

/// Behind the last of the registers.
inline const char* registers_end(const ucontext_t* u) {
  constexpr size_t kLegacyBytes = 512;  // FXSAVE's, the last 48 of which are software's
  const auto* const state = reinterpret_cast<const char*>(u->uc_mcontext.fpregs);
  if (state == nullptr) return reinterpret_cast<const char*>(u + 1);
  _fpx_sw_bytes software;
  static_assert(sizeof software == 48);
  memcpy(&software, state + kLegacyBytes - sizeof software, sizeof software);
  return state + (software.magic1 == FP_XSTATE_MAGIC1 ? software.extended_size : kLegacyBytes);
}

}  // namespace tri::gc

#endif
