// inner.cc - Found only by the RUNPATH of libouter.so.
#include <cstdlib>

extern "C" int inner_answer() {
  void* p = malloc(100);
  free(p);
  return p != nullptr ? 42 : 0;
}
