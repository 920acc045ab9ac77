// blocking.h - A stretch of code that may block its thread: the scheduler gives the processor to somebody else meanwhile.
#ifndef TRI_SCHED_BLOCKING_H
#define TRI_SCHED_BLOCKING_H

namespace tri::sched {

/// The goroutine stays on its thread until blocking_end(). Not nested. On a plain thread they do nothing.
void blocking_begin();
void blocking_end();

}  // namespace tri::sched

#endif
