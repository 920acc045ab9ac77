// trace.h - TRI=trace:sched: one line a second that says what the scheduler is doing.
//
// Written to stderr by sysmon, which wakes for it while it is asked for, and does nothing for it otherwise. The README says what each
// field means.
//
// Used by: sysmon, shim (options).
#ifndef TRI_SCHED_TRACE_H
#define TRI_SCHED_TRACE_H

#include "sched/wait.h"

namespace tri::sched {

/// Any thread, at any time.
void set_trace(bool on);
bool is_tracing();
/// By sysmon: writes the line if it is due. Returns how long it is until the next; kForever while nobody asks.
Time trace_if_due(Time at);

}  // namespace tri::sched

#endif
