// quarantine.h - TRI=safe: when to look for pointers to freed blocks, and how.
//
// Freed blocks are held (alloc/held.h) until so many have gathered that a look is worth it. A look, by the thread whose free() found that:
//
//   freed so far -> candidates
//   stop all other threads; a process of one thread needs no signals
//   roots (roots.h) and the whole heap are read, linearly (sweep_linear.h): what a word points into is reached
//   go on
//   candidates that nothing reaches go back to their spans
//
// A root that is missed costs protection for what it points to, never correctness: the program has given the block up. Whenever a look fails, for want of memory, of descriptors or
// of /proc, nothing is given back, and the next one is tried when more has gathered; beyond a bound blocks are given back without a look.
//
// See gc.h for the overview. Used by: shim.
#ifndef TRI_GC_QUARANTINE_H
#define TRI_GC_QUARANTINE_H

#include <cstddef>
#include <cstdint>

namespace tri::gc::quarantine {

/// What the looks of this process have done so far.
struct Totals {
  uint64_t looks = 0;
  uint64_t failed = 0;
  uint64_t returned_blocks = 0;
  uint64_t returned_bytes = 0;
  uint64_t total_ns = 0;
  uint64_t longest_stop_ns = 0;
};
Totals totals();

/// The first look is due when enough is held. Once, after held::switch_on().
void start();

/// Looks now. 0; -EAGAIN: another thread does, or this is a signal handler that interrupted the allocator; else the errors of stop_world() and Roots::find().
/// A goroutine must not lose its thread meanwhile.
int look();

void set_trace(bool on);
bool is_tracing();

/// In a forked child: nobody looks.
void reset_after_fork();

}  // namespace tri::gc::quarantine

#endif
