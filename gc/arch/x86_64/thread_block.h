// thread_block.h - What a thread's control block looks like on x86-64, where %fs points to.
#ifndef TRI_GC_THREAD_BLOCK_H
#define TRI_GC_THREAD_BLOCK_H

#include <cstdint>

namespace tri::gc {

/// Its first words; the first points to itself by the ABI of thread-local storage, and so does the third in libc's.
using ThreadBlock = uintptr_t[3];
inline bool is_thread_block(const ThreadBlock& words, uintptr_t at) { return words[0] == at && words[2] == at; }

}  // namespace tri::gc

#endif
