// emergency.h - Memory for a signal handler that allocates in the middle of the allocator.
//
// malloc() is not async-signal-safe, and programs call it from handlers all the same: in crash reporters, or in a child
// that was forked in a handler. When the slow path finds that it is already running below, on the same thread, locks may
// be held and structures half changed. It then takes memory from here: a lock-free linear area whose blocks are never
// freed (free() recognises and ignores them). Leaking a few blocks is the price of not hanging.
//
// Signal-safe: atomics and one system call.
#ifndef TRI_ALLOC_EMERGENCY_H
#define TRI_ALLOC_EMERGENCY_H

#include <cstddef>

namespace tri::emergency {

/// Zeroed memory; alignment is a power of two. Null when there is none.
[[nodiscard]] void* alloc(size_t bytes, size_t alignment);
bool owns(const void* p);
/// Of a block that owns() is true for.
size_t usable_size(const void* p);

}  // namespace tri::emergency

#endif
