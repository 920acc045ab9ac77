/* trees.h - Binary trees, after the benchmark of that name (Computer Language Benchmarks Game): many short-lived trees of small nodes beside one that stays.
 *
 *   PROGRAM DEPTH THREADS
 *
 * What the programs in C share: the work, and the lines of result. Each brings trees_allocate(), and trees_longest_ms(): its longest pause. */
#ifndef TRI_BENCH_TREES_TREES_H
#define TRI_BENCH_TREES_TREES_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

typedef struct Tree {
  struct Tree* left;
  struct Tree* right;
} Tree;

static void* trees_allocate(size_t bytes);
static double trees_longest_ms(void);

static Tree* trees_make(int depth) {
  Tree* const t = (Tree*)trees_allocate(sizeof(Tree));
  if (t == NULL) abort();
  if (depth > 0) {
    t->left = trees_make(depth - 1);
    t->right = trees_make(depth - 1);
  }
  return t;
}
static long trees_count(const Tree* t) {
  return t->left == NULL ? 1 : 1 + trees_count(t->left) + trees_count(t->right);
}

enum { kTreesLeast = 4 };

typedef struct TreesPart {
  pthread_t thread;
  int depth;
  int first; /* every step-th depth is this thread's */
  int step;
  long nodes;
} TreesPart;

static void* trees_part(void* arg) {
  TreesPart* const p = (TreesPart*)arg;
  for (int d = kTreesLeast + 4 * p->first; d <= p->depth; d += 4 * p->step) {
    for (long n = 1L << (p->depth - d + kTreesLeast); n > 0; --n) p->nodes += trees_count(trees_make(d));
  }
  return NULL;
}

static int trees_main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int depth = atoi(argv[1]);
  const int threads = atoi(argv[2]);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  long nodes = trees_count(trees_make(depth + 1));
  Tree* const stays = trees_make(depth);
  TreesPart parts[8];
  for (int i = 0; i < threads && i < 8; ++i) {
    parts[i].depth = depth;
    parts[i].first = i;
    parts[i].step = threads;
    parts[i].nodes = 0;
    if (pthread_create(&parts[i].thread, NULL, trees_part, &parts[i]) != 0) abort();
  }
  for (int i = 0; i < threads && i < 8; ++i) {
    pthread_join(parts[i].thread, NULL);
    nodes += parts[i].nodes;
  }
  nodes += trees_count(stays);
  clock_gettime(CLOCK_MONOTONIC, &end);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const double ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
  const double cpu_ms = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
                        (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
  printf("{\"workload\": \"trees-%d\", \"unit\": \"ms\", \"value\": %.1f, \"nodes\": %ld}\n", depth, ms, nodes);
  printf("{\"workload\": \"trees-%d-cpu\", \"unit\": \"ms\", \"value\": %.1f}\n", depth, cpu_ms);
  printf("{\"workload\": \"trees-%d-memory\", \"unit\": \"MiB\", \"value\": %ld}\n", depth, usage.ru_maxrss / 1024);
  printf("{\"workload\": \"trees-%d-pause\", \"unit\": \"ms\", \"value\": %.3f}\n", depth, trees_longest_ms());
  return 0;
}

#endif
