// inspect.h - Can a program be run under a preloaded library?
#ifndef TRI_SHIM_LAUNCHER_INSPECT_H
#define TRI_SHIM_LAUNCHER_INSPECT_H

#include <string>

namespace tri {

/// The file that the shell would run for `name`; empty if there is none.
std::string find_program(const std::string& name);

/// Why the dynamic linker would not load a preloaded library into this program, and what to do; empty if it would.
std::string why_not_preloadable(const std::string& path);

}  // namespace tri

#endif
