// scavenger.h - Free memory goes back to the OS by time.
//
// Free pages that stay unused lose half of their memory in each half-life (1 s unless TRI=purge says otherwise). Time
// is watched in one of two ways:
//
//   the program's own    when it frees spans, the clock is looked at now and then
//   a background thread  looks every tenth of a second, and ends when nothing is left. It is started when there is something
//                        to give back and the program has several threads; in a program with one thread, only when there
//                        are 64 MiB: some system calls are refused to a process of two threads, so a small program must
//                        never become one. The thread is invisible to libc (os::start_bare_thread), blocks all signals,
//                        and holds no descriptor.
//
// Only what was free all the time since the last look is given back: memory that is in use every few milliseconds stays.
//
// Used by: malloc, shim.
#ifndef TRI_ALLOC_SCAVENGER_H
#define TRI_ALLOC_SCAVENGER_H

#include <cstddef>
#include <cstdint>

namespace tri {

/// How many of `unused` pages to give back after `elapsed_ns` of not being used. Pure arithmetic.
size_t decayed_pages(size_t unused, int64_t elapsed_ns, int64_t half_life_ns);

namespace scavenger {

inline constexpr int64_t kPurgeNever = -1;
inline constexpr int64_t kPurgeNow = 0;

void set_half_life(int64_t ns);
int64_t half_life();

/// Free memory goes back at once as far as all that is used and free would be more than this, whatever the half-life. UINT64_MAX: no limit. What is in use
/// is not bounded by it.
void set_limit(uint64_t bytes);

/// After freeing: sees whether something is to be done. Cheap when not. No lock may be held.
void poll();

/// Gives all free pages back at once; returns the bytes.
size_t purge_all();

/// True while the background thread is at its work, or asleep in between.
bool is_in_background();

/// In a forked child there is no background thread.
void reset_after_fork();

}  // namespace scavenger
}  // namespace tri

#endif
