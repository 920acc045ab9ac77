// dump.h - What every goroutine is doing, for people.
//
// Used by: shim, deadlock.
#ifndef TRI_SCHED_DUMP_H
#define TRI_SCHED_DUMP_H

#include "sched/g.h"

namespace tri::sched {

/// One line a goroutine, and its stack by frame pointers. Nothing is stopped for it, so what moves is a picture of slightly different
/// moments. Allocates nothing.
void dump_tasks(int fd);
/// The same of one goroutine, if it still is.
void dump_task(int fd, TaskId id);

/// What it was called when it began; empty if it had no name, or is no more.
struct TaskName {
  explicit TaskName(TaskId id);
  char text[kMaxName + 1];
};
/// What it waits for; "nothing" if it does not wait.
const char* waits_for(TaskId id);

}  // namespace tri::sched

#endif
