// options.h - TRI=key:value,... and what it sets.
#ifndef TRI_SHIM_OPTIONS_H
#define TRI_SHIM_OPTIONS_H

#include <cstddef>

namespace tri {

enum class LeakCheck { kOff, kOn, kFail };

struct Options {
  bool stats = false;
  bool verbose = false;
  LeakCheck leaks = LeakCheck::kOff;
  char suppress[256] = "";  // the last file of suppressions
  bool safe = false;
  char report[256] = "stderr";  // stderr, fd:N, or a file name with %p (process id) and %c (program)
  char only[128] = "*";
  char page[64] = "";  // set by the launcher: the file that backs the stats page
};

extern constinit Options options;

/// Reads the variable TRI, unless the process runs with more rights than its user. Unknown keys and values are
/// reported in one line each. Before main().
void read_options();

/// 0, -ENOENT or -EINVAL; see tri_set().
int set_option(const char* key, const char* value);
/// See tri_get().
int get_option(const char* key, char* buffer, size_t length);

/// True if the program's name matches the option `only`.
bool concerns_this_program();

/// If a report will go to stderr: keeps a second descriptor of it, for programs that close theirs before they exit.
void keep_stderr();

/// The descriptor that reports go to, or -1; *close_it tells whether it was opened for this.
int open_report(bool* close_it);

}  // namespace tri

#endif
