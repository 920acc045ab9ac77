/* tri.c - Binary trees of collected memory. */
#define _GNU_SOURCE
#include <tri.h>

#include "trees.h"

static void* trees_allocate(size_t bytes) { return tri_alloc(bytes, TRI_GC); }

static double trees_longest_ms(void) {
  struct tri_gc_stats s = {0};
  (void)tri_gc_stats_get(&s, sizeof s);
  return (double)s.pause_ns_max / 1e6;
}

int main(int argc, char** argv) { return trees_main(argc, argv); }
