// marker_test.cc - What can be reached is marked, and nothing else.
#include "gc/marker.h"

#include <cstring>
#include <random>
#include <unordered_set>
#include <vector>

#include "alloc/base/bits.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "gtest/gtest.h"

namespace tri::gc {
namespace {

struct Node {
  size_t links;
  Node* to[];
};

class MarkerTest : public ::testing::Test {
 protected:
  ~MarkerTest() override {
    shadow.end();
    for (void* p : blocks) deallocate(p);
  }
  void* make(size_t bytes) {
    void* const p = allocate(bytes);
    memset(p, 0, usable_size(p));  // behind the last byte asked for, too: words are words
    blocks.push_back(p);
    return p;
  }
  Node* node(size_t links) {
    auto* const n = static_cast<Node*>(make(sizeof(Node) + links * sizeof(Node*)));
    n->links = links;
    return n;
  }
  bool is_marked(const void* p) const {
    Ref r;
    EXPECT_TRUE(shadow.find(reinterpret_cast<uintptr_t>(p), &r));
    return r.is_marked();
  }
  /// Marks from one word.
  void mark_from(const void* root) {
    ASSERT_EQ(shadow.begin(), 0);
    Marker marker(shadow);
    marker.add_roots(&root, &root + 1);
    marker.drain();
    marked = marker.blocks();
    rescans = marker.rescans();
  }
  /// Compares with a search that takes one step after the other.
  void check(const std::vector<Node*>& all, Node* root) {
    std::unordered_set<Node*> reached{root};
    std::vector<Node*> stack{root};
    while (!stack.empty()) {
      Node* const n = stack.back();
      stack.pop_back();
      for (size_t i = 0; i < n->links; ++i) {
        if (n->to[i] != nullptr && reached.insert(n->to[i]).second) stack.push_back(n->to[i]);
      }
    }
    size_t wrong = 0;
    for (Node* const n : all) wrong += is_marked(n) != (reached.count(n) != 0);
    EXPECT_EQ(wrong, 0u) << "of " << all.size();
    EXPECT_EQ(marked, reached.size());
  }
  /// A graph of which a part cannot be reached from its first node.
  std::vector<Node*> random_graph(size_t n, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<Node*> all;
    for (size_t i = 0; i < n; ++i) all.push_back(node(random() % 6));
    for (Node* const a : all) {
      for (size_t i = 0; i < a->links; ++i) a->to[i] = random() % 4 == 0 ? nullptr : all[random() % n];
    }
    return all;
  }

  std::vector<void*> blocks;
  Shadow shadow;
  uint64_t marked = 0;
  uint32_t rescans = 0;
};

TEST_F(MarkerTest, MarksWhatARandomGraphReaches) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const auto all = random_graph(20'000, seed);
    mark_from(all[0]);
    check(all, all[0]);
    shadow.end();
  }
}

TEST_F(MarkerTest, FollowsALongListAndAWideTree) {
  std::vector<Node*> all;
  for (int i = 0; i < 300'000; ++i) {
    all.push_back(node(1));
    if (i > 0) all[all.size() - 2]->to[0] = all.back();
  }
  // A node of 100,000 links is one of many pieces, and fills the stack.
  Node* const wide = node(100'000);
  for (size_t i = 0; i < wide->links; ++i) all.push_back(wide->to[i] = node(0));
  all[299'999]->to[0] = wide;
  all.push_back(wide);
  mark_from(all[0]);
  check(all, all[0]);
}

TEST_F(MarkerTest, CyclesThatNothingReachesStayUnmarked) {
  Node* const a = node(1);
  Node* const b = node(1);
  Node* const c = node(1);
  a->to[0] = b;
  b->to[0] = a;
  c->to[0] = c;
  mark_from(c);
  EXPECT_FALSE(is_marked(a));
  EXPECT_FALSE(is_marked(b));
  EXPECT_TRUE(is_marked(c));
}

TEST_F(MarkerTest, PointersIntoTheMiddleAndTaggedOnesCount) {
  for (const size_t bytes : {size_t{100}, size_t{20'000}, size_t{300'000}, size_t{20} << 20}) {
    auto* const p = static_cast<char*>(make(bytes));
    for (const size_t at : {size_t{1}, size_t{7}, bytes / 2, bytes - 1}) {
      mark_from(p + at);
      EXPECT_TRUE(is_marked(p)) << bytes << " " << at;
      shadow.end();
    }
  }
}

TEST_F(MarkerTest, OnlyAlignedWordsCount) {
  auto* const holder = static_cast<char*>(make(64));
  void* const hidden = make(64);
  void* const seen = make(64);
  memcpy(holder + 4, &hidden, sizeof hidden);
  memcpy(holder + 16, &seen, sizeof seen);
  mark_from(holder);
  EXPECT_FALSE(is_marked(hidden));
  EXPECT_TRUE(is_marked(seen));
}

TEST_F(MarkerTest, TheLastWordOfABlockCounts) {
  for (const size_t bytes : {size_t{16}, size_t{4096}, size_t{131'072}, size_t{1} << 20}) {
    auto* const p = static_cast<void**>(make(bytes));
    void* const last = make(32);
    p[bytes / sizeof(void*) - 1] = last;
    mark_from(p);
    EXPECT_TRUE(is_marked(last)) << bytes;
    shadow.end();
  }
}

TEST_F(MarkerTest, WithoutMemoryForTheStackItIsOnlySlower) {
  const auto all = random_graph(50'000, 7);
  ASSERT_EQ(shadow.begin(), 0);
  Marker marker(shadow);
  os::fail_after(0);
  const Node* const root = all[0];
  marker.add_roots(&root, &root + 1);
  marker.drain();
  os::fail_after(-1);
  marked = marker.blocks();
  EXPECT_GT(marker.rescans(), 0u);
  check(all, all[0]);
}

TEST_F(MarkerTest, RootsAddedOneAfterTheOtherAreAllFollowed) {
  std::vector<Node*> roots;
  for (int i = 0; i < 1000; ++i) {
    roots.push_back(node(1));
    roots.back()->to[0] = node(0);
  }
  ASSERT_EQ(shadow.begin(), 0);
  Marker marker(shadow);
  for (Node* const& r : roots) {
    marker.add_roots(&r, &r + 1);
    marker.drain();
  }
  for (const Node* const r : roots) {
    EXPECT_TRUE(is_marked(r));
    EXPECT_TRUE(is_marked(r->to[0]));
  }
  EXPECT_EQ(marker.blocks(), 2000u);
}

// ---- what was written since it was scanned

class MarkerWrittenTest : public MarkerTest {
 protected:
  /// A block of the kind under test that is marked, with one link to nothing yet.
  void begin_with(Node* n) {
    root = n;
    ASSERT_EQ(shadow.begin(), 0);
    Marker marker(shadow);
    marker.add_roots(&root, &root + 1);
    marker.drain();
    ASSERT_TRUE(is_marked(root));
  }
  static uintptr_t page_of(const void* p) { return align_down(reinterpret_cast<uintptr_t>(p), os::page_size()); }
  Node* root = nullptr;
  std::vector<uintptr_t> copy = std::vector<uintptr_t>(os::page_size() / sizeof(uintptr_t));
};

TEST_F(MarkerWrittenTest, MarkedBlocksAreScannedAgainAndOthersAreNot) {
  for (const size_t links : {1, 6, 5000, 200'000, 5'000'000}) {
    Node* const n = node(links);
    Node* const unmarked = node(links);
    Node* const fresh = node(1);
    Node* const hidden = node(1);
    begin_with(n);
    EXPECT_FALSE(is_marked(fresh));
    n->to[links - 1] = fresh;
    unmarked->to[links - 1] = hidden;
    Marker marker(shadow);
    const auto written = [&](Node** slot) { marker.add_written(page_of(slot), page_of(slot) + os::page_size()); };
    written(&n->to[links - 1]);
    written(&unmarked->to[links - 1]);
    marker.drain();
    EXPECT_TRUE(is_marked(fresh)) << links;
    EXPECT_FALSE(is_marked(hidden)) << links;
    EXPECT_TRUE(is_marked(n));
    EXPECT_LE(marker.blocks(), 1U) << "blocks that were marked before are not counted twice";
    shadow.end();
  }
}

TEST_F(MarkerWrittenTest, WhatIsNoBlockIsScannedWhole) {
  Node* const n = node(1);
  Node* const fresh = node(1);
  begin_with(n);
  // A span that the tables do not know.
  Node* const later = node(200'000);
  later->to[199'999] = fresh;
  Marker marker(shadow);
  marker.add_written(page_of(&later->to[199'999]), page_of(&later->to[199'999]) + os::page_size());
  marker.drain();
  EXPECT_TRUE(is_marked(fresh));
}

TEST_F(MarkerWrittenTest, OnlyWordsThatDifferFromTheCopyAreLookedAt) {
  Node* const n = node(5000);
  Node* const one = node(1);
  Node* const two = node(1);
  begin_with(n);
  const auto page = page_of(&n->to[2000]);
  const auto scan = [&] {
    Marker marker(shadow);
    marker.scan_written(page, page + os::page_size(), copy.data());
    marker.drain();
  };
  n->to[2000] = one;
  scan();
  EXPECT_TRUE(is_marked(one));
  EXPECT_FALSE(is_marked(two));
  // The same word again leads to nothing: not even to a block whose mark was taken back.
  Ref r;
  ASSERT_TRUE(shadow.find(reinterpret_cast<uintptr_t>(one), &r));
  r.unmark();
  n->to[2001] = two;
  scan();
  EXPECT_FALSE(is_marked(one));
  EXPECT_TRUE(is_marked(two));
}

TEST_F(MarkerWrittenTest, OfUnmarkedBlocksTheCopyKeepsNothing) {
  Node* const n = node(1);
  Node* const later = node(5);
  Node* const fresh = node(1);
  begin_with(n);
  later->to[3] = fresh;
  const auto page = page_of(&later->to[3]);
  const auto scan = [&] {
    Marker marker(shadow);
    marker.scan_written(page, page + os::page_size(), copy.data());
    marker.drain();
  };
  scan();
  EXPECT_FALSE(is_marked(fresh));
  Ref r;
  ASSERT_TRUE(shadow.find(reinterpret_cast<uintptr_t>(later), &r));
  ASSERT_TRUE(r.mark());
  scan();
  EXPECT_TRUE(is_marked(fresh));
}

}  // namespace
}  // namespace tri::gc
