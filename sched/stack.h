// stack.h - The stacks of goroutines: address space in which pages appear as they are touched.
//
// A stack does not move, so it is reserved as large as it may become, and costs the pages that were touched: one, for a parked
// goroutine. Its lowest page is a guard. MADV_GUARD_INSTALL makes a guard without a mapping of its own, so there may be millions, some
// at a time ahead of their use where the kernel takes a list (process_madvise() of the process itself);
// kernels without it (before 6.13) need a mapping each, of which a process may have 65,530: a quarter of them is used for guards, and
// stacks beyond have none, which overflow() cannot report.
//
// Stacks come in chunks of one mapping. Free ones are kept, first by the P that they were used on (linked through their top word, so it is warm),
// then in a pool by size. What has lain there for a second is given back to the kernel, but for the addresses.
//
// Used by: proc.
#ifndef TRI_SCHED_STACK_H
#define TRI_SCHED_STACK_H

#include <cstddef>
#include <cstdint>

#include "sched/wait.h"

namespace tri::sched {

inline constexpr size_t kMinStack = 16 * 1024;
inline constexpr size_t kMaxStack = size_t{256} * 1024 * 1024;
inline constexpr size_t kDefaultStack = 64 * 1024;

/// The size of stacks that ask for none; rounded up to a power of two in the bounds above. Before the first goroutine: a later change does
/// not touch what is free already.
void set_default_stack(size_t bytes);
uint32_t default_stack();
/// The reserved size for a wish.
uint32_t stack_size_for(size_t wish);

/// The top of a stack of `bytes` (a result of stack_size_for()); null when there is no memory.
[[nodiscard]] char* take_stack(uint32_t bytes);
void put_stack(char* top, uint32_t bytes);

/// The lowest usable byte.
size_t guard_bytes();
/// When trim_stacks() will have something to do; kForever: never.
Time next_trim();
/// Gives the memory of stacks that have been free for long back to the kernel.
void trim_stacks(Time at);

struct StackStats {
  size_t reserved_bytes;
  size_t pooled;  // free, with memory
  size_t empty;   // free, without
};
StackStats stack_stats();
/// False if somebody has the pools just now, as who forks does.
[[nodiscard]] bool try_stack_stats(StackStats* stats);

/// SIGSEGV in a guard of ours ends in one line that names the goroutine. Installed once, for the process.
void install_overflow_handler();
/// Each thread that runs goroutines needs a stack of its own for that handler. False: no memory.
bool set_signal_stack();
/// Of the pools; for fork.
SpinLock& stack_pool_lock();

}  // namespace tri::sched

#endif
