// misuse.h - What the library says when a program misuses the heap.
//
// One line on fd 2 that names the pointer, what is wrong, the size class and the program; then abort(). With checks
// switched off (TRI=check:off) the functions return, and the caller drops the operation. Nothing here follows the
// pointer, so none of it can crash.
//
// Used by: malloc, span, shim.
#ifndef TRI_ALLOC_MISUSE_H
#define TRI_ALLOC_MISUSE_H

#include <cstddef>

#include "alloc/span.h"

namespace tri::misuse {

/// What the program was doing, as the message calls it.
enum class Operation : unsigned char { kFree, kRealloc };

/// Off: misuse is ignored. Set once, before the program has threads.
void set_enabled(bool enabled);
bool enabled();

/// The block at p, which `s` holds, is free already.
void freed_twice(const void* p, const Span* s, Operation operation);
/// p points into span `s`, but not at a block.
void not_a_block(const void* p, const Span* s, Operation operation);
/// free_sized() and sized delete: no block of size `bytes` is in this class.
void wrong_size(const void* p, size_t bytes, const Span* s);

/// A pointer to no span: freed long ago, of the stack, of static memory, of nothing, or of another allocator. Returns
/// true only for the last, when the next allocator should have it.
[[nodiscard]] bool is_foreign(const void* p, Operation operation);

/// How is_foreign() tells whether there is another allocator that could own anonymous memory; set by shim.
void set_next_allocator_probe(bool (*probe)());

}  // namespace tri::misuse

#endif
