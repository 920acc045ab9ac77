// planter.cc - A library that loses blocks.
#include <cstdlib>
#include <cstring>

extern "C" [[gnu::noinline]] void plant_in_library() {
  for (int i = 0; i < 6; ++i) {
    void* const p = malloc(256);
    memset(p, 0, 256);
    asm volatile("" : : "r"(p) : "memory");
  }
}
