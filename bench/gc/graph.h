/* graph.h - The live graphs that collectors mark, the same for each: objects in the same order, of the same sizes, with the same edges.
 *
 *   r  random       a binary tree laid over a random order of all nodes, and from each node an edge to any
 *   s  sequential   a binary tree in the order of allocation, and from each node an edge to one of the next 64
 *   l  list         one list in random order
 *   p  pointer-poor buffers of 4 KiB full of random words, of which the collector does not know that they are no pointers
 *   a  pointer-free the same, of which it does
 *
 * Nodes have 32, 48 or 64 bytes, three of whose words may be pointers. What the building needs besides is not the heap's.
 */
#ifndef TRI_BENCH_GC_GRAPH_H
#define TRI_BENCH_GC_GRAPH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { kGraphBuffer = 4096, kGraphMeanNode = 48, kGraphNext = 64 };

typedef struct GraphNode {
  struct GraphNode* to[3];
} GraphNode;

typedef struct {
  void* root;
  size_t objects;
  size_t bytes; /* asked for */
} Graph;

/* Bytes, zeroed; the second argument tells that the block will hold no pointers. */
typedef void* (*GraphAllocate)(size_t bytes, int pointer_free);

static inline uint64_t graph_random(uint64_t* state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

static inline void* graph_map(size_t bytes) {
  void* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) abort();
  return p;
}

static inline double graph_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static inline Graph graph_of_buffers(size_t bytes, int pointer_free, GraphAllocate allocate) {
  uint64_t seed = 1;
  Graph g = {NULL, bytes / kGraphBuffer, bytes / kGraphBuffer * kGraphBuffer};
  void** index = (void**)allocate(g.objects * sizeof(void*), 0);
  g.root = index;
  for (size_t i = 0; i < g.objects; ++i) {
    uint64_t* words = (uint64_t*)allocate(kGraphBuffer, pointer_free);
    index[i] = words;
    for (size_t w = 0; w < kGraphBuffer / sizeof(uint64_t); ++w) words[w] = graph_random(&seed);
  }
  return g;
}

static inline Graph graph_build(char kind, size_t bytes, GraphAllocate allocate) {
  if (kind == 'p' || kind == 'a') return graph_of_buffers(bytes, kind == 'a', allocate);
  uint64_t seed = 1;
  const size_t n = bytes / kGraphMeanNode;
  Graph g = {NULL, n, 0};
  GraphNode** node = (GraphNode**)graph_map(n * sizeof(GraphNode*));
  uint32_t* order = (uint32_t*)graph_map(n * sizeof(uint32_t));
  for (size_t i = 0; i < n; ++i) {
    const size_t size = 32 + graph_random(&seed) % 3 * 16;
    node[i] = (GraphNode*)allocate(size, 0);
    g.bytes += size;
    order[i] = (uint32_t)i;
  }
  for (size_t i = n - 1; kind != 's' && i > 0; --i) {
    const size_t k = graph_random(&seed) % (i + 1);
    const uint32_t swap = order[i];
    order[i] = order[k];
    order[k] = swap;
  }
  for (size_t i = 0; i < n; ++i) {
    GraphNode* at = node[order[i]];
    if (kind == 'l') {
      at->to[0] = i + 1 < n ? node[order[i + 1]] : NULL;
      continue;
    }
    at->to[0] = 2 * i + 1 < n ? node[order[2 * i + 1]] : NULL;
    at->to[1] = 2 * i + 2 < n ? node[order[2 * i + 2]] : NULL;
    at->to[2] = node[kind == 'r' ? graph_random(&seed) % n : (i + 1 + graph_random(&seed) % kGraphNext) % n];
  }
  g.root = node[order[0]];
  munmap(node, n * sizeof(GraphNode*));
  munmap(order, n * sizeof(uint32_t));
  return g;
}

/* GRAPH MIB MARKERS [ROUNDS] */
typedef struct {
  char kind;
  size_t bytes;
  unsigned markers;
  int rounds;
} GraphArguments;

static inline GraphArguments graph_arguments(int argc, char** argv) {
  if (argc < 4 || strchr("rslpa", argv[1][0]) == NULL || argv[1][0] == 0) {
    fprintf(stderr, "usage: %s r|s|l|p|a MIB MARKERS [ROUNDS]\n", argv[0]);
    exit(2);
  }
  const GraphArguments a = {argv[1][0], strtoull(argv[2], NULL, 0) << 20, (unsigned)atoi(argv[3]),
                            argc > 4 ? atoi(argv[4]) : 3};
  return a;
}

static inline const char* graph_name(char kind) {
  return kind == 'r' ? "random" : kind == 's' ? "sequential" : kind == 'l' ? "list" : kind == 'p' ? "poor" : "free";
}

/* A line of the harness: what one object costs. Other pairs of JSON may follow it. */
static inline void graph_line(GraphArguments a, Graph g, double ms, const char* more) {
  printf("{\"workload\": \"%s-%zu\", \"procs\": %u, \"value\": %.4f, \"unit\": \"ns\", \"bytes\": %zu%s}\n",
         graph_name(a.kind), a.bytes >> 20, a.markers, ms * 1e6 / (double)g.objects, g.bytes / g.objects, more);
}

static inline int graph_less(const void* a, const void* b) {
  return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b);
}
static inline double graph_median(double* values, int n) {
  qsort(values, (size_t)n, sizeof *values, graph_less);
  return values[n / 2];
}

#endif
