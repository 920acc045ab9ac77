// walk.h - Visiting every block in use.
//
// Used by: shim (tri_walk).
#ifndef TRI_ALLOC_WALK_H
#define TRI_ALLOC_WALK_H

#include <cstddef>

namespace tri {

/// Calls fn(block, usable size, arg) for every block in use until it returns other than 0; returns what it returned
/// last, or -ENOMEM. No lock is held while fn runs. See tri_walk() for what other threads' changes mean.
int walk_blocks(int (*fn)(void* p, size_t n, void* arg), void* arg);

}  // namespace tri

#endif
