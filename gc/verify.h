// verify.h - Marks once more, in the simplest way, and compares: nothing that can be reached may be unmarked.
//
// For verifying builds, after each marking and before anything is swept. See gc.h for the overview. Used by: gc.
#ifndef TRI_GC_VERIFY_H
#define TRI_GC_VERIFY_H

#include <cstdint>

#include "gc/shadow.h"

namespace tri::gc {

/// While the world stands still. Ends the program, with a message, at a block that is reached from the roots and not marked. Without memory
/// for it, nothing is verified.
void verify_marks(const Shadow& marks, uintptr_t sp);

}  // namespace tri::gc

#endif
