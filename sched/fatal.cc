// fatal.cc - See fatal.h.
#include "sched/fatal.h"

#include <cstdlib>

#include "alloc/base/print.h"

namespace tri::sched {

void fatal(const char* what, const void* object) {
  Line line;
  line.text("tri: ").text(what).text(" ").pointer(object);
  line.in_program().write_to(2);
  abort();
}

}  // namespace tri::sched
