// faulty.cc - Small faults for a checker to find: leak, overflow, use_after_free.
#include <stdlib.h>
#include <string.h>

#include "support/memory.h"

int main(int, char** argv) {
  auto* volatile p = static_cast<char*>(tri_test::opaque(malloc(40)));
  if (strcmp(argv[1], "leak") == 0) {
    p = nullptr;
    return 0;
  }
  if (strcmp(argv[1], "overflow") == 0) p[40] = 1;
  free(p);
  if (strcmp(argv[1], "use_after_free") == 0) p[3] = 1;
  return 0;
}
