// check.cc - See check.h.
#include "alloc/base/check.h"

#include <cstdlib>

#include "alloc/base/print.h"

namespace tri {

void check_failed(const char* what, const char* file, int line) {
  Line message;
  message.text("tri: check failed: ").text(what).text(" at ").text(file).text(":").number(static_cast<int64_t>(line));
  message.in_program().write_to(2);
  abort();
}

}  // namespace tri
