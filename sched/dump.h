// dump.h - What every goroutine is doing, for people.
//
// Used by: shim, deadlock.
#ifndef TRI_SCHED_DUMP_H
#define TRI_SCHED_DUMP_H

namespace tri::sched {

/// One line a goroutine, and its stack by frame pointers. Nothing is stopped for it, so what moves is a picture of slightly different
/// moments. Allocates nothing.
void dump_tasks(int fd);

}  // namespace tri::sched

#endif
