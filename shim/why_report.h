// why_report.h - The chain of references that keeps a block, for people.
//
// Used by: leaks_api.
#ifndef TRI_SHIM_WHY_REPORT_H
#define TRI_SHIM_WHY_REPORT_H

#include <cstdint>

namespace tri {

/// See tri_why(); sp as for Leaks::find().
int write_why(int fd, const void* p, uintptr_t sp);

}  // namespace tri

#endif
