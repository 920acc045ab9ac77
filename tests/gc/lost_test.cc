// lost_test.cc - Graphs of lost blocks beside a plain search of what leads where.
#include "gc/lost.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <unordered_map>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "gc/own_map.h"
#include "gc/shadow.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri::gc {
namespace {

using Edges = std::vector<std::vector<size_t>>;

/// Nodes in memory, in an order that has nothing to do with their numbers.
class Graph {
 public:
  explicit Graph(const Edges& edges, uint64_t seed) : edges_(edges), blocks_(edges.size()) {
    std::mt19937_64 random(seed);
    std::vector<size_t> order(edges.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t i : order) {
      const size_t words = edges[i].size() + 1 + random() % 4;
      blocks_[i] = static_cast<void**>(allocate_zeroed(words * sizeof(void*)));
      // Also behind what was asked for, where another graph has left its words.
      memset(static_cast<void*>(blocks_[i]), 0, usable_size(blocks_[i]));
      number_[blocks_[i]] = i;
    }
    for (size_t i = 0; i < edges.size(); ++i) {
      for (size_t k = 0; k < edges[i].size(); ++k) blocks_[i][k] = blocks_[edges[i][k]] + random() % 2;
    }
  }
  ~Graph() {
    for (void** b : blocks_) deallocate(b);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  size_t number_of(const void* block) const { return number_.at(block); }
  size_t nodes() const { return edges_.size(); }
  size_t bytes() const {
    size_t sum = 0;
    for (void** b : blocks_) sum += usable_size(b);
    return sum;
  }

  /// Of which nodes one must be direct, each alone or one of several that lead to each other: a node's set, or -1.
  std::vector<int> sets(size_t* count) const {
    // Tarjan's way to strongly connected components, without recursion. A component that no other leads to is a set.
    const size_t n = nodes();
    std::vector<size_t> index(n, SIZE_MAX), low(n), component(n, SIZE_MAX), stack;
    size_t next = 0, components = 0;
    struct Step {
      size_t node, edge;
    };
    for (size_t start = 0; start < n; ++start) {
      if (index[start] != SIZE_MAX) continue;
      std::vector<Step> way{{start, 0}};
      index[start] = low[start] = next++;
      stack.push_back(start);
      while (!way.empty()) {
        auto& [v, e] = way.back();
        if (e < edges_[v].size()) {
          const size_t w = edges_[v][e++];
          if (index[w] == SIZE_MAX) {
            index[w] = low[w] = next++;
            stack.push_back(w);
            way.push_back({w, 0});
          } else if (component[w] == SIZE_MAX) {
            low[v] = std::min(low[v], index[w]);
          }
          continue;
        }
        const size_t done = v;
        way.pop_back();
        if (!way.empty()) low[way.back().node] = std::min(low[way.back().node], low[done]);
        if (low[done] != index[done]) continue;
        for (size_t w = SIZE_MAX; w != done;) {
          w = stack.back();
          stack.pop_back();
          component[w] = components;
        }
        ++components;
      }
    }
    std::vector<bool> is_source(components, true);
    for (size_t v = 0; v < n; ++v) {
      for (const size_t w : edges_[v]) {
        if (component[v] != component[w]) is_source[component[w]] = false;
      }
    }
    *count = static_cast<size_t>(std::count(is_source.begin(), is_source.end(), true));
    std::vector<int> result(n);
    for (size_t v = 0; v < n; ++v) result[v] = is_source[component[v]] ? static_cast<int>(component[v]) : -1;
    return result;
  }

  /// Nodes that one leads to, without itself.
  size_t reached_from(size_t start) const {
    std::vector<bool> seen(nodes());
    std::vector<size_t> left{start};
    seen[start] = true;
    size_t n = 0;
    while (!left.empty()) {
      const size_t v = left.back();
      left.pop_back();
      for (const size_t w : edges_[v]) {
        if (seen[w]) continue;
        seen[w] = true;
        left.push_back(w);
        ++n;
      }
    }
    return n;
  }

 private:
  const Edges& edges_;
  std::vector<void**> blocks_;
  std::unordered_map<const void*, size_t> number_;
};

struct Found {
  int error;
  std::vector<Leak> leaks;
};

Found find(unsigned processors) {
  Shadow shadow;
  EXPECT_EQ(shadow.begin(), 0);
  Found found = {};
  {
    LostBlocks lost(shadow, processors);
    found.error = lost.find();
    size_t count = 0;
    size_t room = 0;
    Leak* const leaks = found.error == 0 ? lost.take(&count, &room) : nullptr;
    found.leaks.assign(leaks, leaks + count);
    unmap_own_array(leaks, room);
  }
  shadow.end();
  return found;
}

void check(const Edges& edges, uint64_t seed, unsigned processors) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Graph graph(edges, seed);
  const Found found = find(processors);
  ASSERT_EQ(found.error, 0);
  size_t sets = 0;
  const std::vector<int> set_of = graph.sets(&sets);
  std::vector<int> taken;
  size_t blocks = 0;
  size_t bytes = 0;
  const void* before = nullptr;
  for (const Leak& l : found.leaks) {
    ASSERT_LT(before, l.block);
    before = l.block;
    const size_t node = graph.number_of(l.block);
    ASSERT_EQ(l.bytes, usable_size(l.block));
    ASSERT_GE(set_of[node], 0) << "something that is no part of its circle leads to it";
    taken.push_back(set_of[node]);
    blocks += 1 + l.indirect_blocks;
    bytes += l.bytes + l.indirect_bytes;
    // All of them would take long.
    if (taken.size() % 1000 < 10) {
      ASSERT_LE(l.indirect_blocks, graph.reached_from(node));
    }
  }
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(std::adjacent_find(taken.begin(), taken.end()), taken.end()) << "one circle, several leaks";
  EXPECT_EQ(taken.size(), sets);
  EXPECT_EQ(blocks, graph.nodes());
  EXPECT_EQ(bytes, graph.bytes());
}

Edges random_edges(size_t n, size_t most, uint64_t seed, size_t within) {
  std::mt19937_64 random(seed);
  Edges edges(n);
  for (size_t i = 0; i < n; ++i) {
    const size_t first = i / within * within;
    const size_t room = std::min(within, n - first);
    for (size_t k = random() % (most + 1); k > 0; --k) edges[i].push_back(first + random() % room);
  }
  return edges;
}

TEST(LostBlocks, NoneAreFoundWhereThereAreNone) { EXPECT_TRUE(find(2).leaks.empty()); }

TEST(LostBlocks, SmallGraphsOfAllKinds) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    for (const size_t most : {1, 2, 3}) check(random_edges(1 + seed % 40, most, seed, 40), seed, 1);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(LostBlocks, ManySmallGraphsOnSeveralThreads) {
  for (uint64_t seed = 1; seed <= 2; ++seed) check(random_edges(110'000, 2, seed, 5), seed, 4);
}

TEST(LostBlocks, ACircleForEachOfManyThreads) {
  // Nothing but circles, of which each hangs on the one before or on none.
  std::mt19937_64 random(1);
  constexpr size_t kNodes = 120'000;
  Edges edges(kNodes);
  for (size_t i = 0; i < kNodes; ++i) {
    edges[i].push_back(i % 10 == 9 ? i - 9 : i + 1);
    if (i >= 10 && random() % 40 == 0) edges[i].push_back(i - 10);
  }
  check(edges, 1, 4);
}

TEST(LostBlocks, OneLargeCircleWithWhatLeadsToItAndWhatHangsOnIt) {
  constexpr size_t kNodes = 160'000;
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    std::mt19937_64 random(seed);
    Edges edges(kNodes);
    for (size_t i = 0; i < kNodes; ++i) {
      if (i < 100'000) edges[i] = {(i + 1) % 100'000, random() % 110'000};  // the circle, on which 10,000 more hang
      if (i >= 110'000) {                                                   // small circles, that may lead to it
        edges[i].push_back(i % 4 == 3 ? i - 3 : i + 1);
        if (seed == 2 && random() % 10 == 0) edges[i].push_back(random() % 110'000);
      }
    }
    check(edges, seed, 4);
  }
}

TEST(LostBlocks, LargeBlocksAndThoseWithoutPointers) {
  constexpr size_t kLarge = 3'000'000;
  auto** const large = static_cast<void**>(allocate_zeroed(kLarge));
  void* const small = allocate_zeroed(100);
  auto** const silent = static_cast<void**>(allocate_zeroed(kLarge));
  pagemap::lookup(silent)->pointer_free = true;
  large[kLarge / sizeof(void*) - 1] = small;
  large[7] = large;
  silent[3] = small;
  silent[4] = large;
  const Found found = find(2);
  ASSERT_EQ(found.error, 0);
  ASSERT_EQ(found.leaks.size(), 2U);
  for (const Leak& l : found.leaks) EXPECT_EQ(l.indirect_blocks, l.block == large ? 1U : 0U);
  pagemap::lookup(silent)->pointer_free = false;
  deallocate(large);
  deallocate(small);
  deallocate(silent);
}

TEST(LostBlocks, WithoutMemoryItSaysSo) {
  const Edges edges = random_edges(30'000, 3, 1, 30'000);
  const Graph graph(edges, 1);
  int failures = 0;
  for (long n = 0;; ++n) {
    Shadow shadow;
    ASSERT_EQ(shadow.begin(), 0);
    {
      LostBlocks lost(shadow, 1);
      os::fail_after(n);
      const int error = lost.find();
      os::fail_after(-1);
      if (error == 0) {
        shadow.end();
        break;
      }
      EXPECT_EQ(error, -ENOMEM);
      ++failures;
    }
    shadow.end();
  }
  EXPECT_GE(failures, 4);
}

}  // namespace
}  // namespace tri::gc
