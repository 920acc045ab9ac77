// secure.cc - Linked to the library and made set-user-ID by the test: tells what it sees, and nothing else.
#include <sys/auxv.h>
#include <tri.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "support/memory.h"

int main() {
  for (size_t i = 0; i < 5000; ++i) free(tri_test::opaque(malloc(i)));
  printf("secure=%lu active=%d uid=%u euid=%u\n", getauxval(AT_SECURE), tri_active(), getuid(),
         geteuid());
  return 0;
}
