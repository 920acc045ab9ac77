// startup.cc - Allocates at every moment before main and after it: ifunc resolver, .preinit_array, constructors,
// static objects, atexit and on_exit handlers, destructors.
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

void* g_from[4];  // ifunc, preinit, constructor, main

void* fresh(uint64_t seed) {
  void* p = opaque(malloc(1000));
  require(p != nullptr, "memory");
  fill(p, 1000, seed);
  void* z = opaque(calloc(10, 100));
  require(all_zero(z, 1000), "zeroed memory");
  void* a = opaque(memalign(256, 10));
  require(aligned_to(a, 256), "aligned memory");
  free(z);
  free(realloc(a, 5000));
  return p;
}

void check_all() {
  for (uint64_t i = 0; i < 4; ++i) {
    require(g_from[i] != nullptr, "each early moment came");
    require(holds(g_from[i], 1000, i), "early blocks are whole");
  }
}

int real_answer() { return 42; }

}  // namespace

extern "C" {
// Runs while the program is being relocated: before any constructor of any library.
int (*resolve_answer())() {
  g_from[0] = malloc(1000);
  fill(g_from[0], 1000, 0);
  free(realloc(malloc(10), 100000));
  return real_answer;
}
int answer() __attribute__((ifunc("resolve_answer")));
}

namespace {

void preinit(int, char**, char**) { g_from[1] = fresh(1); }
__attribute__((used, section(".preinit_array"))) void (*const g_preinit)(int, char**,
                                                                         char**) = preinit;

__attribute__((constructor(101))) void constructor() { g_from[2] = fresh(2); }

void at_exit_handler() {
  free(fresh(9));
  check_all();
  say("atexit\n");
}

struct Static {
  std::vector<std::string> words;
  Static() {
    for (int i = 0; i < 1000; ++i) words.push_back(std::string(static_cast<size_t>(i), 'x'));
  }
  ~Static() {
    for (size_t i = 0; i < words.size(); ++i)
      require(words[i].size() == i, "static objects are whole at their end");
    words.resize(5000, "allocated by a destructor");
    free(fresh(9));
    say("static object ended\n");
  }
} g_static;

__attribute__((destructor(101))) void destructor() {
  // The last word of this program: what the first moments allocated is freed here.
  check_all();
  for (void* p : g_from) free(p);
  free(fresh(9));
  say("destructor\n");
}

}  // namespace

int main() {
  g_from[3] = fresh(3);
  atexit(at_exit_handler);
  on_exit([](int, void* p) { free(realloc(p, 100000)); }, malloc(10));
  require(answer() == 42, "the ifunc resolved");
  check_all();
  say("main\n");
  // A thread that still allocates while the process exits.
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        for (size_t i = 0;; ++i) free(opaque(malloc(i % 5000)));
      },
      nullptr);
  return 0;
}
