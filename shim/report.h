// report.h - What the library has to say about this process, at exit and on request.
#ifndef TRI_SHIM_REPORT_H
#define TRI_SHIM_REPORT_H

namespace tri {

/// Claims a slot of the launcher's page, if there is a launcher; counters move there. Before main().
void join_stats_page();
/// In a forked child: a slot of its own, or none.
void leave_parents_slot();
/// The nine lines about this process, now.
void write_stats_report(int fd, const char* end);
/// Remembers the status that the process exits with.
void note_exit_status(int status, void*);
/// At exit: fills the launcher's slot, or prints if TRI=stats:on.
void report_at_exit();

}  // namespace tri

#endif
