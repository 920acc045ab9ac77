// loser.cc - A library that loses blocks.
#include <stdlib.h>

extern "C" [[gnu::noinline]] void probe_lose(size_t n) {
  void* const p = malloc(n);
  asm volatile("" : : "r"(p) : "memory");
}
