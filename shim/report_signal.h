// report_signal.h - TRI=signal:USR2: a report of memory and of every goroutine, when the process is sent that signal.
//
// The report is written by the thread that takes the signal, in its handler. Where that thread stands in the allocator or in the
// scheduler, whose locks the report needs, it tries again a millisecond later.
//
// Used by: options.
#ifndef TRI_SHIM_REPORT_SIGNAL_H
#define TRI_SHIM_REPORT_SIGNAL_H

namespace tri {

/// Installs the handler; 0 puts back what was there before. 0 or -errno. The program may overrule us by its own sigaction().
int report_on_signal(int signal);
/// The signal, or 0.
int report_signal();

}  // namespace tri

#endif
