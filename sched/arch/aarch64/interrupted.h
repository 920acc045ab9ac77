// interrupted.h - What a signal handler is told of the code that it interrupted, on aarch64.
//
// Used by: preempt.
#ifndef TRI_SCHED_INTERRUPTED_H
#define TRI_SCHED_INTERRUPTED_H

#include <ucontext.h>

#include <cstdint>

namespace tri::sched {

/// The instruction that is next.
inline uintptr_t program_counter(const ucontext_t* context) { return static_cast<uintptr_t>(context->uc_mcontext.pc); }

}  // namespace tri::sched

#endif
