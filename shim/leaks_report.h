// leaks_report.h - What nothing reaches, for people and for programs.
//
// Used by: report, report_signal, api, safe.
#ifndef TRI_SHIM_LEAKS_REPORT_H
#define TRI_SHIM_LEAKS_REPORT_H

#include "gc/leaks.h"

namespace tri {

/// What the collector has to know of goroutines. Before main().
void prepare_collector();

/// Leaks::find(), also from goroutines, and with their stacks as roots.
[[nodiscard]] int find_leaks(gc::Leaks* leaks, uintptr_t sp);

/// Looks for leaks and writes what it finds; README.md shows how. If it could not look, a line that says why. Returns how many direct leaks
/// there are, or the errors of find_leaks().
long write_leaks_report(int fd);
long write_leaks_json(int fd);

}  // namespace tri

#endif
