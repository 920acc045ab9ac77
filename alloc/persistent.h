// persistent.h - Memory that is never freed, for the allocator's own records.
//
// A linear allocator over chunks from the OS. It is what fixalloc and the Thread records stand on; nothing of it ever
// lies beside user data. The lock is kMetadata, the innermost, so it may be called with any other held.
//
// Used by: fixalloc, arena, thread.
#ifndef TRI_ALLOC_PERSISTENT_H
#define TRI_ALLOC_PERSISTENT_H

#include <cstddef>

#include "alloc/base/lock.h"

namespace tri::persistent {

/// Zeroed memory, aligned to `alignment` (a power of two, at most the kernel's page); null when there is none.
/// Any thread.
[[nodiscard]] void* alloc(size_t bytes, size_t alignment);

/// Bytes taken from the OS so far.
size_t mapped_bytes();

/// For fork().
Lock& lock();

}  // namespace tri::persistent

#endif
