/* mark_libgc.c - How long Boehm's collector (libgc) marks a graph of graph.h. MARKERS is told to it by GC_MARKERS. */
#define _GNU_SOURCE
#define GC_THREADS
#include <gc/gc.h>

#include "graph.h"

/* A byte less: in the mode where pointers to all of an object count, libgc adds one, and 48 bytes would become 64. */
static void* allocate(size_t bytes, int pointer_free) {
  void* p = pointer_free ? GC_MALLOC_ATOMIC(bytes - 1) : GC_MALLOC(bytes - 1);
  if (p == NULL) abort();
  return p;
}

static void* root;
static double began, ended;

static void on_event(GC_EventType event) {
  if (event == GC_EVENT_MARK_START) began = graph_ms();
  if (event == GC_EVENT_MARK_END) ended = graph_ms();
}

static void* nothing(void* arg) { return arg; }

int main(int argc, char** argv) {
  const GraphArguments a = graph_arguments(argc, argv);
  char markers[16];
  snprintf(markers, sizeof markers, "%u", a.markers);
  setenv("GC_MARKERS", markers, 1);
  GC_INIT();
  GC_allow_register_threads();
  /* Its markers start with the first thread. */
  pthread_t thread;
  if (pthread_create(&thread, NULL, nothing, NULL) != 0) abort();
  pthread_join(thread, NULL);
  GC_expand_hp(a.bytes + a.bytes / 4);
  GC_disable();
  const Graph g = graph_build(a.kind, a.bytes, allocate);
  root = g.root;
  GC_enable();
  GC_set_on_collection_event(on_event);
  double mark[64];
  GC_gcollect();
  for (int i = 0; i < a.rounds; ++i) {
    GC_gcollect();
    mark[i] = ended - began;
  }
  graph_line(a, g, graph_median(mark, a.rounds), "");
  return root == NULL;
}
