/* libgc.c - Binary trees in the memory of Boehm's collector (libgc), as programs ask for it: of the two words it makes four, for pointers to their end. */
#define GC_THREADS
#define _GNU_SOURCE
#include <gc/gc.h>

#include "trees.h"

static void* trees_allocate(size_t bytes) { return GC_MALLOC(bytes); }

static struct timespec stopped;
static double longest;

static void on_event(GC_EventType event) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (event == GC_EVENT_PRE_STOP_WORLD) stopped = now;
  if (event != GC_EVENT_POST_START_WORLD) return;
  const double ms = (double)(now.tv_sec - stopped.tv_sec) * 1e3 + (double)(now.tv_nsec - stopped.tv_nsec) / 1e6;
  if (ms > longest) longest = ms;
}

static double trees_longest_ms(void) { return longest; }

int main(int argc, char** argv) {
  GC_INIT();
  GC_allow_register_threads();
  GC_set_on_collection_event(on_event);
  return trees_main(argc, argv);
}
