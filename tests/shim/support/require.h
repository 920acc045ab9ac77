// require.h - How a probe says what went wrong: one line on fd 2, then exit 1.
//
// No stdio and no allocation: a probe may be in a signal handler, after fork, or out of memory.
//
// Used by: probes/*.
#pragma once

#include <unistd.h>

#include <cstdio>

namespace tri_test {

inline void require(bool ok, const char* what, const char* file = __builtin_FILE(),
                    int line = __builtin_LINE()) {
  if (ok) return;
  char text[512];
  int n = snprintf(text, sizeof text, "%s:%d: expected: %s\n", file, line, what);
  if (write(2, text, static_cast<size_t>(n)) < 0) _exit(3);
  _exit(1);
}

inline void say(const char* text) {
  size_t n = 0;
  while (text[n] != 0) ++n;
  if (write(1, text, n) < 0) _exit(3);
}

}  // namespace tri_test
