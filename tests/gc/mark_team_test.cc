// mark_team_test.cc - Several markers mark what a naive search reaches: on random graphs, with little memory, while the program writes.
#include "gc/mark_team.h"

#include <atomic>
#include <cstring>
#include <thread>
#include <unordered_set>
#include <vector>

#include "alloc/base/sys.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri::gc {
namespace {

using test::Random;

struct Node {
  size_t links;
  std::atomic<Node*> to[];
};

class MarkTeamTest : public ::testing::Test {
 protected:
  ~MarkTeamTest() override { drop(); }

  void drop() {
    shadow.end();
    for (Node* const n : all) deallocate(n);
    all.clear();
  }
  Node* make(size_t links) {
    auto* const n = static_cast<Node*>(allocate(sizeof(Node) + links * sizeof(Node*)));
    memset(static_cast<void*>(n), 0, usable_size(n));
    n->links = links;
    all.push_back(n);
    return n;
  }
  /// Small nodes for the most part, some of pages, one of several pieces. A part cannot be reached from the first.
  void make_graph(size_t n, Random& random) {
    for (size_t i = 0; i < n; ++i) {
      make(random.one_in(500) ? random.size_up_to(4000) : random.one_in(20) ? random.below(100) : random.below(5));
    }
    make(40'000);
    for (Node* const a : all) {
      const bool sparse = a->links > 100;
      for (size_t i = 0; i < a->links; ++i) {
        if (!random.one_in(sparse ? 100 : 4)) continue;
        a->to[i].store(all[random.below(all.size())], std::memory_order_relaxed);
      }
    }
    // And a way to the largest from the first.
    if (all[0]->links == 0) std::swap(all[0], all[n]);
    all[0]->to[0].store(all[n], std::memory_order_relaxed);
  }
  std::unordered_set<Node*> reached_from(Node* root) const {
    std::unordered_set<Node*> reached{root};
    std::vector<Node*> stack{root};
    while (!stack.empty()) {
      Node* const n = stack.back();
      stack.pop_back();
      for (size_t i = 0; i < n->links; ++i) {
        Node* const to = n->to[i].load(std::memory_order_relaxed);
        if (to != nullptr && reached.insert(to).second) stack.push_back(to);
      }
    }
    return reached;
  }
  bool is_marked(const Node* n) const {
    Ref r;
    EXPECT_TRUE(shadow.find(reinterpret_cast<uintptr_t>(n), &r));
    return r.is_marked();
  }
  void check(const MarkTeam& team, const std::unordered_set<Node*>& reached) {
    size_t wrong = 0, bytes = 0;
    for (Node* const n : all) {
      const bool is_reached = reached.count(n) != 0;
      wrong += is_marked(n) != is_reached;
      if (is_reached) bytes += usable_size(n);
    }
    EXPECT_EQ(wrong, 0U) << "of " << all.size();
    EXPECT_EQ(team.blocks(), reached.size());
    EXPECT_EQ(team.bytes(), bytes);
    size_t grey = 0;
    shadow.each_grey([&](Shadow::Unit) { ++grey; });
    EXPECT_EQ(grey, 0U);
  }

  std::vector<Node*> all;
  Shadow shadow;
};

TEST_F(MarkTeamTest, MarksWhatIsReachedWithAnyNumberOfMarkers) {
  Random random;
  for (size_t round = 0; round < test::rounds(12); ++round) {
    make_graph(random.between(10, 30'000), random);
    const auto reached = reached_from(all[0]);
    for (const unsigned markers : {1U, 2U, 4U}) {
      ASSERT_EQ(shadow.begin(), 0);
      MarkTeam team(shadow, markers);
      team.own().add_roots(&all[0], &all[0] + 1);
      team.drain();
      EXPECT_EQ(team.markers(), markers);
      check(team, reached);
      shadow.end();
    }
    drop();
  }
}

TEST_F(MarkTeamTest, WithoutMemoryForTheQueueItIsOnlySlower) {
  Random random(1);
  make_graph(20'000, random);
  const auto reached = reached_from(all[0]);
  for (const unsigned markers : {1U, 2U, 4U}) {
    for (const long calls : {0L, 1L, 2L, 3L, 4L}) {
      ASSERT_EQ(shadow.begin(), 0);
      MarkTeam team(shadow, markers);
      {
        const test::Faults faults(calls);
        team.own().add_roots(&all[0], &all[0] + 1);
        team.drain();
      }
      EXPECT_EQ(team.own().rescans() > 0, calls == 0) << calls;
      check(team, reached);
      shadow.end();
    }
  }
}

TEST_F(MarkTeamTest, WhereThreadsAreShortFewerMark) {
  Random random(2);
  make_graph(5'000, random);
  const auto reached = reached_from(all[0]);
  Workers others;
  std::atomic<bool> hold{true};
  ASSERT_EQ(others.start(
                Workers::kMost - 1,
                [](void* arg, unsigned) {
                  while (static_cast<std::atomic<bool>*>(arg)->load(std::memory_order_relaxed)) sys::yield();
                },
                &hold),
            Workers::kMost - 1);
  ASSERT_EQ(shadow.begin(), 0);
  {
    MarkTeam team(shadow, 8);
    team.own().add_roots(&all[0], &all[0] + 1);
    team.drain();
    EXPECT_EQ(team.markers(), 2U);
    check(team, reached);
  }
  hold = false;
  others.join();
}

TEST_F(MarkTeamTest, ManyShortMarkings) {
  Random random(3);
  make_graph(50, random);
  const auto reached = reached_from(all[0]);
  for (size_t i = 0; i < test::rounds(400); ++i) {
    ASSERT_EQ(shadow.begin(), 0);
    MarkTeam team(shadow, static_cast<unsigned>(2 + i % 3));
    team.own().add_roots(&all[0], &all[0] + 1);
    team.drain();
    check(team, reached);
    shadow.end();
  }
}

TEST_F(MarkTeamTest, LongListsAreFollowed) {
  for (int i = 0; i < 50'000; ++i) {
    make(1);
    if (i > 0) all[all.size() - 2]->to[0] = all.back();
  }
  ASSERT_EQ(shadow.begin(), 0);
  MarkTeam team(shadow, 3);
  team.own().add_roots(&all[0], &all[0] + 1);
  team.drain();
  check(team, reached_from(all[0]));
}

// The program exchanges pointers between nodes that are reached in any case: what is marked is the same, whatever a marker reads.
TEST_F(MarkTeamTest, TheProgramMayWriteMeanwhile) {
  Random random(4);
  constexpr size_t kNodes = 20'000;
  for (size_t i = 0; i < kNodes; ++i) make(3);
  for (size_t i = 0; i + 1 < kNodes; ++i) all[i]->to[0] = all[i + 1];
  std::atomic<bool> over{false};
  std::thread writer([&] {
    Random own(5);
    while (!over) all[own.below(kNodes)]->to[1 + own.below(2)] = all[own.below(kNodes)];
  });
  const auto reached = reached_from(all[0]);
  for (size_t i = 0; i < test::rounds(40); ++i) {
    ASSERT_EQ(shadow.begin(), 0);  // nothing is allocated or freed meanwhile
    MarkTeam team(shadow, 2);
    team.own().add_roots(&all[0], &all[0] + 1);
    team.drain();
    check(team, reached);
    shadow.end();
  }
  over = true;
  writer.join();
}

TEST_F(MarkTeamTest, PointerFreeBlocksAreMarkedAndNotRead) {
  Node* const root = make(2);
  Node* const small = make(1000);
  auto* const large = static_cast<Node*>(make(100'000));
  Node* const behind_small = make(3);
  Node* const behind_large = make(4);
  root->to[0] = small;
  root->to[1] = large;
  small->to[5] = behind_small;
  large->to[5] = behind_large;
  pagemap::lookup(small)->pointer_free = true;
  pagemap::lookup(large)->pointer_free = true;
  ASSERT_EQ(shadow.begin(), 0);
  {
    Ref r;
    ASSERT_TRUE(shadow.find(reinterpret_cast<uintptr_t>(large) + 777, &r));
    EXPECT_TRUE(r.pointer_free);
    EXPECT_EQ(r.start, reinterpret_cast<char*>(large));
    MarkTeam team(shadow, 2);
    Node* const from = root;
    team.own().add_roots(&from, &from + 1);
    team.drain();
    EXPECT_EQ(team.blocks(), 3U);
    EXPECT_EQ(team.bytes(), usable_size(root) + usable_size(small) + usable_size(large));
  }
  EXPECT_TRUE(is_marked(small));
  EXPECT_TRUE(is_marked(large));
  EXPECT_FALSE(is_marked(behind_small));
  EXPECT_FALSE(is_marked(behind_large));
  shadow.end();
  pagemap::lookup(small)->pointer_free = false;
  pagemap::lookup(large)->pointer_free = false;
}

}  // namespace
}  // namespace tri::gc
