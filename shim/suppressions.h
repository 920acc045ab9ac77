// suppressions.h - Leaks that are known and not to be reported: patterns for what is in the stack that allocated them.
//
// A file of lines, as LeakSanitizer's:
//
//   # a comment
//   leak:PATTERN     leaks whose stack has a frame whose function, or whose file, has a part that matches PATTERN
//
// * stands for any characters; ^ at the beginning and $ at the end tie it to the ends. Function names are as in the file: of C++, the
// mangled ones.
//
// Used by: options, leak_groups.
#ifndef TRI_SHIM_SUPPRESSIONS_H
#define TRI_SHIM_SUPPRESSIONS_H

#include <cstddef>

#include "alloc/sites.h"

namespace tri {

/// Adds those of a file. 0, or a negative errno if it cannot be read; -EINVAL if a line is none of the above. Says what is wrong on stderr. What was
/// read before the error stays.
[[nodiscard]] int add_suppressions(const char* path);
bool any_suppressions();
/// Whether one of them matches.
bool is_suppressed(sites::Site site);
/// Whether `text` has a part that matches.
bool matches(const char* pattern, const char* text);

}  // namespace tri

#endif
