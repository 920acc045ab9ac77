// work.cc - See work.h.
#include "work.h"

#include <errno.h>
#include <unistd.h>

namespace stress {

std::atomic<long> g_members{0};

void give_up(const char* what) {
  char text[320];
  const int n = snprintf(text, sizeof text, "%s: %s, process %d\n", program_invocation_short_name, what,
                         static_cast<int>(getpid()));
  if (write(2, text, static_cast<size_t>(n)) < 0) _exit(3);
  (void)tri_report(2, "tasks");
  abort();
}

}  // namespace stress
