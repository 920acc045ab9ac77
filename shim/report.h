// report.h - What the library has to say about this process, at exit and on request.
#ifndef TRI_SHIM_REPORT_H
#define TRI_SHIM_REPORT_H

namespace tri {

/// Claims a slot of the launcher's page, if there is a launcher; counters move there. Else, if a report is wanted on
/// stderr, keeps a descriptor of it: many programs close theirs before they exit. Before main().
void prepare_report();
/// In a forked child: a slot of its own, or none.
void leave_parents_slot();
/// The nine lines about this process, now.
void write_stats_report(int fd, const char* end);
/// For on_exit(): looks for leaks if TRI=leaks asks for it.
inline constexpr int kLeaksFound = 23;  // the exit status, with TRI=leaks:fail
void check_leaks_at_exit(int status, void*);
/// For on_exit(): fills the launcher's slot, or prints if TRI=stats:on.
void report_at_exit(int status, void*);

}  // namespace tri

#endif
