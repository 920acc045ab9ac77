// quarantine.h - TRI=safe: when to look for pointers to freed blocks, and how.
//
// Freed blocks are held (alloc/held.h) until so many have gathered that a look is worth it. A look is
//
//   in one stop, by the thread whose free() found that it is due, if there is not much to read:
//     freed so far -> candidates
//     stop all other threads; a process of one thread needs no signals
//     roots (roots.h) and the whole heap are read, linearly (sweep_linear.h): what a word points into is reached
//     go on
//   or else beside the program, by a thread of the collector's:
//     freed so far -> candidates
//     a cycle of marking (cycle.h), with two short stops; where it cannot be had, the first way is taken from then on
//   and in both ways candidates that nothing reaches go back to their spans at the end.
//
// A root that is missed costs protection for what it points to, never correctness: the program has given the block up. Whenever a look fails, for want of memory, of descriptors or
// of /proc, nothing is given back, and the next one is tried when more has gathered.
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

/// Looks now, in one stop. 0; -EAGAIN: another thread does, or this is a signal handler that interrupted the allocator; else the errors of stop_world() and
/// Roots::find(). A goroutine must not lose its thread meanwhile, as with the next two.
int look();
/// The same beside the program, on a thread of the collector's; waits for its end. The errors of Cycle::run(), or, though the look is made, of what it could not have, and stopped
/// the program for.
int look_beside();
/// For who has found that enough is held: looks in whichever way is the better one, and may leave it to the collector's thread.
void look_when_due();

void set_trace(bool on);
bool is_tracing();

/// In a forked child: nobody looks.
void reset_after_fork();

}  // namespace tri::gc::quarantine

#endif
