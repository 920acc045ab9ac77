// leaks_report.h - What nothing reaches, for people and for programs.
//
// Used by: report, report_signal, api.
#ifndef TRI_SHIM_LEAKS_REPORT_H
#define TRI_SHIM_LEAKS_REPORT_H

#include "gc/leaks.h"

namespace tri {

/// Leaks::find(), also from goroutines, and with their stacks as roots.
[[nodiscard]] int find_leaks(gc::Leaks* leaks, uintptr_t sp);

/// Has the collector look at the scheduler's roots, too.
void prepare_roots();

/// Looks for leaks and writes what it finds; README.md shows how. If it could not look, a line that says why. Returns how many direct leaks
/// there are, or the errors of find_leaks().
long write_leaks_report(int fd);
long write_leaks_json(int fd);

}  // namespace tri

#endif
