// stopped_frame.h - What the kernel saves of a thread that it sends a signal to, on aarch64.
//
// All of it is in the ucontext: the vector registers in its reserved part, or where a record there says that they are.
//
// Used by: stop.
#ifndef TRI_GC_STOPPED_FRAME_H
#define TRI_GC_STOPPED_FRAME_H

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

namespace tri::gc {

inline uintptr_t stack_pointer(const ucontext_t* u) { return static_cast<uintptr_t>(u->uc_mcontext.sp); }

/// Behind the last of the registers.
inline const char* registers_end(const ucontext_t* u) {
  const char* end = reinterpret_cast<const char*>(u + 1);
  const auto* head = reinterpret_cast<const _aarch64_ctx*>(u->uc_mcontext.__reserved);
  while (head->magic != 0 && head->size != 0) {
    if (head->magic == EXTRA_MAGIC) {
      const auto* const extra = reinterpret_cast<const extra_context*>(head);
      end = reinterpret_cast<const char*>(extra->datap) + extra->size;
    }
    head = reinterpret_cast<const _aarch64_ctx*>(reinterpret_cast<const char*>(head) + head->size);
  }
  return end;
}

}  // namespace tri::gc

#endif
