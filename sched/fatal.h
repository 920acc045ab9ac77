// fatal.h - How the scheduler's part ends a program that misuses it: one line on fd 2, then abort().
//
// For what C cannot return an error for, or what no program checks: an unlock without a lock, a count below zero.
//
// Used by: chan, mutex, rwmutex, waitgroup, semaphore, context.
#ifndef TRI_SCHED_FATAL_H
#define TRI_SCHED_FATAL_H

namespace tri::sched {

/// Prints "tri: WHAT 0xOBJECT in PROG[PID]" and aborts. Any thread; allocates nothing.
[[noreturn, gnu::cold, gnu::noinline]] void fatal(const char* what, const void* object);

}  // namespace tri::sched

#endif
