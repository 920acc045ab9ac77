// sites.h - Where in the program blocks were allocated: each stack of calls once, under a number.
//
//   stack -> number   by a hash of its frames; the same stack has the same number for as long as the process lives
//   frame             the number of its file (modules.h) and the offset in it: it can still be named when the file was unloaded
//
// A stack that is new is only believed if the files that it leads through are still those of the picture; else the picture is made
// anew and the stack walked again. So code that was loaded in the place of other code is not taken for it.
//
// Bounded: when the room is used up, new stacks have no number, and are counted.
//
// One lock, kSites. Uses: unwind. Used by: sampler, shim.
#ifndef TRI_ALLOC_SITES_H
#define TRI_ALLOC_SITES_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/lock.h"

namespace tri::sites {

/// 0: not known.
using Site = uint32_t;

struct Frame {
  uint64_t offset;  // in the file's own terms; without a file, the address
  uint16_t origin;  // 0: no file
};

// What tells one caller of a container's function from another is within the first dozen or so.
inline constexpr size_t kMostFrames = 24;

/// Gets the memory; false if there is none. Idempotent; any thread.
[[nodiscard]] bool prepare();
/// That of the caller of the library's own function that the calling thread is in. 0 if there is no room, or no frame is known, or before prepare(). Takes
/// about a microsecond, and some hundred for code that was never seen. Any thread; not in a signal handler above itself.
Site here();
/// Its frames to `out`, of kMostFrames, the innermost first; returns how many. Any thread.
size_t frames(Site site, Frame* out);

/// Stacks that found no room.
uint64_t lost();
size_t count();

/// For fork() and for who stops the world.
Lock& lock();

}  // namespace tri::sites

#endif
