// scavenger.h - Free memory goes back to the OS by time.
//
// Free pages that stay unused lose half of their memory in each half-life (1 s unless TRI=purge says otherwise). Time
// is watched in one of two ways:
//
//   one thread           when the program frees spans, the clock is looked at now and then; and what is kept is bounded by a
//                        quarter of the heap, because nobody would look while the program sleeps
//   more threads         a background thread is started once there is something worth giving back, looks every tenth of a
//                        second, and ends when nothing is left. It is invisible to libc (os::start_bare_thread), blocks all
//                        signals, and holds no descriptor. Without it (clone() refused) the first way applies.
//
// Used by: malloc, shim.
#ifndef TRI_ALLOC_SCAVENGER_H
#define TRI_ALLOC_SCAVENGER_H

#include <cstddef>
#include <cstdint>

namespace tri {

/// How much of the unused memory to give back, as pure arithmetic.
class Decay {
 public:
  /// Given the free pages at this moment and the time since the last step: how many to give back. Only what was free
  /// at the last step, too, is unused; the rest may be wanted again at once.
  size_t step(size_t free_pages, int64_t elapsed_ns, int64_t half_life_ns);

 private:
  size_t left_last_time_ = 0;
};

namespace scavenger {

inline constexpr int64_t kPurgeNever = -1;
inline constexpr int64_t kPurgeNow = 0;

void set_half_life(int64_t ns);
int64_t half_life();

/// After freeing: sees whether something is to be done. Cheap when not. No lock may be held.
void poll();

/// Gives all free pages back at once; returns the bytes.
size_t purge_all();

/// In a forked child there is no background thread.
void reset_after_fork();

}  // namespace scavenger
}  // namespace tri

#endif
