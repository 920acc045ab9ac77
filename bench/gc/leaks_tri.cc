// leaks_tri.cc - How long the report of leaks takes for a heap of graphs of graph.h, kept or lost; besides, graphs that hang together less:
//
//   c  circles   lists of 64 nodes in random order, each of which leads to the next and to the one before
//   t  trees     of 64 nodes, in random order
//   b  blocks    of 48 bytes, each by itself
//
// leaks_tri GRAPH MIB kept|lost [ROUNDS]: a line of JSON with the median of wall and CPU time of tri_report(fd, "leaks").
#include <sys/resource.h>
#include <tri.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "graph.h"

namespace {

void* allocate_node(size_t bytes, int) {
  void* const p = calloc(1, bytes);
  if (p == nullptr) abort();
  return p;
}

/// Small ones, all of which `keep` leads to if it is not null.
size_t build_small(char kind, size_t bytes, void** keep) {
  constexpr size_t kNodes = 64;
  const size_t n = bytes / kGraphMeanNode / kNodes * kNodes;
  auto** const node = static_cast<GraphNode**>(graph_map(n * sizeof(GraphNode*)));
  for (size_t i = 0; i < n; ++i) node[i] = static_cast<GraphNode*>(allocate_node(kGraphMeanNode, 0));
  uint64_t seed = 1;
  for (size_t i = n - 1; i > 0; --i) std::swap(node[i], node[graph_random(&seed) % (i + 1)]);
  for (size_t i = 0; i < n && kind != 'b'; ++i) {
    GraphNode** const first = &node[i / kNodes * kNodes];
    const size_t k = i % kNodes;
    if (kind == 'c') {
      node[i]->to[0] = first[(k + 1) % kNodes];
      node[i]->to[1] = first[(k + kNodes - 1) % kNodes];
    } else {
      for (size_t child : {2 * k + 1, 2 * k + 2}) node[i]->to[child % 2] = child < kNodes ? first[child] : nullptr;
    }
  }
  if (keep != nullptr) {
    *keep = node;
  } else {
    munmap(node, n * sizeof(GraphNode*));
  }
  return n;
}

double cpu_ms() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  const auto ms = [](const timeval& t) { return double(t.tv_sec) * 1e3 + double(t.tv_usec) / 1e3; };
  return ms(u.ru_utime) + ms(u.ru_stime);
}

void* volatile kept;

[[gnu::noinline]] size_t build(char kind, size_t bytes, bool keep) {
  if (strchr("ctb", kind) != nullptr) {
    void* node = nullptr;
    const size_t n = build_small(kind, bytes, keep ? &node : nullptr);
    kept = node;
    return n;
  }
  const Graph g = graph_build(kind, bytes, allocate_node);
  if (keep) kept = g.root;
  return g.objects;
}

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[64 * 1024];
  for (volatile char& c : space) c = 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s r|s|l|p|c|t|b MIB kept|lost [ROUNDS]\n", argv[0]);
    return 2;
  }
  const size_t objects = build(argv[1][0], strtoull(argv[2], nullptr, 0) << 20, strcmp(argv[3], "kept") == 0);
  overwrite_stack();
  std::vector<double> wall, cpu;
  for (int i = 0; i < (argc > 4 ? atoi(argv[4]) : 3); ++i) {
    const double w = graph_ms();
    const double c = cpu_ms();
    if (tri_report(2, "leaks") < 0) return 1;
    wall.push_back(graph_ms() - w);
    cpu.push_back(cpu_ms() - c);
  }
  std::sort(wall.begin(), wall.end());
  std::sort(cpu.begin(), cpu.end());
  printf("{\"objects\":%zu,\"wall_ms\":%.1f,\"cpu_ms\":%.1f}\n", objects, wall[wall.size() / 2], cpu[cpu.size() / 2]);
  return 0;
}
