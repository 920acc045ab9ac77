// thread_block.h - What a thread's control block looks like on aarch64: like nothing in particular.
#ifndef TRI_GC_THREAD_BLOCK_H
#define TRI_GC_THREAD_BLOCK_H

#include <cstdint>

namespace tri::gc {

using ThreadBlock = uintptr_t[3];
inline bool is_thread_block(const ThreadBlock&, uintptr_t) { return false; }

}  // namespace tri::gc

#endif
