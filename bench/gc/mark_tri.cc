// mark_tri.cc - How long our marker takes for a graph of graph.h: alone, or MARKERS of them. Besides, a plain read of the same memory, and
// the part of the stop in which the tables are made.
#include <cstdio>
#include <cstdlib>

#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "bench/gc/graph.h"
#include "gc/mark_team.h"
#include "gc/shadow.h"

namespace {

using namespace tri;

void* allocate_node(size_t bytes, int pointer_free) {
  void* const p = allocate_zeroed(bytes);
  if (p == nullptr) abort();
  if (pointer_free != 0) pagemap::lookup(p)->pointer_free = true;
  return p;
}

uint64_t read_all() {
  uint64_t sum = 0;
  heap.each_span([&](Span* s) {
    // Small blocks from the first carved one on.
    const size_t bytes = s->kind == SpanKind::kSmall ? size_t{s->carved} * s->size : s->bytes;
    const auto* const words =
        reinterpret_cast<const uint64_t*>(s->kind == SpanKind::kSmall ? s->block_at(s->size) : s->start);
    uint64_t lanes[8] = {};
    for (size_t i = 0; i + 8 <= bytes / 8; i += 8) {
      for (size_t k = 0; k < 8; ++k) lanes[k] += words[i + k];
    }
    for (const uint64_t l : lanes) sum += l;
  });
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const GraphArguments a = graph_arguments(argc, argv);
  Graph g = graph_build(a.kind, a.bytes, allocate_node);
  double mark[64], begin[64], read[64];
  uint64_t sum = 0;
  for (int i = -1; i < a.rounds; ++i) {
    const double t0 = graph_ms();
    sum += read_all();
    const double after_read = graph_ms();
    gc::Shadow shadow;
    if (shadow.prepare() != 0) abort();
    const double t1 = graph_ms();
    if (shadow.begin(gc::Shadow::Free::kCurrent) != 0) abort();
    const double t2 = graph_ms();
    gc::MarkTeam team(shadow, a.markers);
    team.own().add_roots(&g.root, &g.root + 1);
    team.drain();
    const double t3 = graph_ms();
    if (team.blocks() < g.objects || team.markers() != a.markers) {
      fprintf(stderr, "mark_tri: %zu of %zu blocks marked by %u\n", size_t{team.blocks()}, g.objects, team.markers());
      return 1;
    }
    shadow.end();
    if (i < 0) continue;
    read[i] = after_read - t0;
    begin[i] = t2 - t1;
    mark[i] = t3 - t2;
  }
  char more[128];
  snprintf(more, sizeof more, ", \"read\": %.4f, \"tables_ms\": %.3f",
           graph_median(read, a.rounds) * 1e6 / static_cast<double>(g.objects), graph_median(begin, a.rounds));
  graph_line(a, g, graph_median(mark, a.rounds), more);
  return sum == 1;
}
