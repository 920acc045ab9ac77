// gc.h - The collector: what of the program's memory can still be reached, and what becomes of the rest.
//
// OVERVIEW
//
// One conservative marker inside the allocator serves all modes; no program has to be compiled for it, and no thread has to register.
//
//   stop       all threads, by a signal (stop.h, tasks.h)
//   roots      registers, stacks, data, everything that is mapped and no block (roots.h, memory_map.h)
//   shadow     from any word to its block and mark bit, in tables beside the heap (shadow.h, free_blocks.h)
//   mark       follows words from block to block, by one marker or several on threads of the collector (marker.h, mark_queue.h, mark_team.h,
//              worker.h)
//   dirty      which pages the program writes to meanwhile (dirty.h)
//   own_map    what all of it maps for itself is no root (own_map.h)
//
// Three modes stand on it, in the order of their safety. `leaks` reports what is not marked (leaks.h, sleepers.h), `safe` keeps freed memory
// from being used again while something points to it, and `gc`, which this file drives, frees what nothing reaches:
//
//   heap       memory that is collected (heap.h; sweep.cc)
//   pacer      when a cycle is due (pacer.h)
//   finalizers what is done with blocks that are lost (finalizers.h; attached.h)
//   cycle      one marking, beside the program or with it stopped (cycle.h, page_copies.h)
//
// Phases of the mode:
//
//   idle --(heap has grown by the percentage, or two minutes are over, or tri_gc())--> marking --> sweeping --> idle
//
// Who allocates looks in its slow path whether a cycle is due, and starts a thread for it, which libc does not know of: it marks, sweeps,
// and ends. So no thread of the program does the collector's work in the middle of whatever it was about, holding whatever locks, on a
// stack of whatever size. If there can be no thread, who allocates does it after all.
//
// The mode is on as soon as the first collected block is allocated, unless it was switched off. Without such a block there is no thread, no handler
// and no descriptor.
//
// To read it in order: stop, roots, shadow, marker, mark_team, cycle, heap, sweep, gc.
#ifndef TRI_GC_GC_H
#define TRI_GC_GC_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri::gc {

enum class Mode : uint8_t {
  kOff,  // nothing is collected but by collect()
  kOn,   // collected memory
};
void set_mode(Mode mode, uint32_t percent);
Mode mode();
uint32_t percent();

/// A line on fd 2 for each cycle.
void set_trace(bool on);
bool is_tracing();

/// All memory that the heap holds of the OS, in use and free, collected or not, is to stay below so many bytes; UINT64_MAX: no limit. What is done
/// about it, in this order: what is free goes back at once (alloc/scavenger.h), who allocates collected memory begins cycles as it nears
/// the limit, and when those have taken half of the processors for a second (pacer.h), the heap grows beyond it.
void set_limit(uint64_t bytes);
uint64_t limit();

/// What the rest of the library does about a cycle that runs on a thread of the program: between the two that thread keeps its goroutine.
void set_critical(void (*enter)(), void (*leave)());

/// For slow paths of allocation: begins a cycle if one is due.
void poll();
/// A whole cycle, which begins after the call; back when all is swept. 0; -EAGAIN: disabled, or in a signal handler that interrupted the
/// allocator; or why it came to nothing: see Cycle::run().
int collect();
/// Where memory has run out. False if that cannot help.
[[nodiscard]] bool collect_for_memory();

/// No cycle begins between them. They nest. enable() without disable() is false.
void disable();
[[nodiscard]] bool enable();

struct CollectorStats {
  uint64_t cycles = 0;
  uint64_t failed_cycles = 0;  // which kept all
  uint64_t live_bytes = 0;     // marked in the last one, malloc's included
  uint64_t goal_bytes = 0;
  uint64_t allocated_bytes = 0;  // collected memory, ever
  uint64_t collected_bytes = 0;  // of it: found unreachable, ever
  uint64_t collected_blocks = 0;
  uint64_t recent_bytes = 0;  // allocated since the last cycle
  int64_t pause_ns = 0;       // all stops, ever
  int64_t pause_ns_max = 0;
  int64_t pause_ns_last = 0;
};
CollectorStats get_stats();

/// Goes up when a cycle begins, and when it is over with all that it has to do: odd in between.
const std::atomic<uint32_t>& cycle_moments();

/// In a forked child, after alloc's and stop_reset_after_fork().
void reset_after_fork();

}  // namespace tri::gc

#endif
