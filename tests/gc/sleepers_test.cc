// sleepers_test.cc - Stacks that count only once something leads into them.
#include "gc/sleepers.h"

#include <array>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "alloc/malloc.h"
#include "gtest/gtest.h"

namespace tri::gc {
namespace {

/// What a goroutine is to the collector: a record and a stack.
struct Task {
  std::array<uintptr_t, 8> record = {};
  std::array<uintptr_t, 64> stack = {};
};

class SleepersTest : public ::testing::Test {
 protected:
  SleepersTest() {
    set_other_roots([](const Roots&, const RootVisitor& visitor) {
      for (size_t i = 0; i < tasks.size(); ++i) {
        Task& t = tasks[i];
        visitor.sleeper(visitor.arg, {i, t.record.data(), t.record.data() + t.record.size(), t.stack.data(),
                                      t.stack.data() + t.stack.size()});
      }
    });
  }
  ~SleepersTest() override {
    set_other_roots(nullptr);
    tasks.clear();
    for (void* p : blocks) deallocate(p);
  }
  static uintptr_t word(const void* p) { return reinterpret_cast<uintptr_t>(p); }
  uintptr_t* make(size_t bytes) {
    void* const p = allocate(bytes);
    memset(p, 0, usable_size(p));
    blocks.push_back(p);
    return static_cast<uintptr_t*>(p);
  }
  /// Those that wait for good if this word is all that the program knows.
  std::set<uint64_t> lost_beside(uintptr_t root) {
    Shadow shadow;
    EXPECT_EQ(shadow.begin(), 0);
    Roots roots;
    Sleepers sleepers;
    EXPECT_EQ(sleepers.find(roots, shadow), 0);
    Marker marker(shadow);
    marker.scan_roots(&root, &root + 1);
    marker.drain();
    sleepers.mark(marker);
    std::set<uint64_t> lost;
    for (size_t i = 0; i < sleepers.count(); ++i) lost.insert(sleepers.id(i));
    held = sleepers.held_blocks();
    for (void* p : blocks) {
      Ref r;
      EXPECT_TRUE(shadow.find(word(p), &r));
      reached[p] = r.is_marked();
    }
    shadow.end();
    return lost;
  }
  using Ids = std::set<uint64_t>;

  static inline std::vector<Task> tasks;
  std::vector<void*> blocks;
  std::map<void*, bool> reached;
  size_t held = 0;
};

TEST_F(SleepersTest, AreAllLostWhereNothingLeadsIntoTheirStacks) {
  tasks.resize(3);
  EXPECT_EQ(lost_beside(0), (Ids{0, 1, 2}));
  EXPECT_EQ(lost_beside(word(&tasks[1].record)), (Ids{0, 1, 2})) << "whoever knows the record alone wakes nobody";
  EXPECT_EQ(lost_beside(word(tasks[1].stack.data() + 64)), (Ids{0, 1, 2})) << "behind the end";
}

TEST_F(SleepersTest, AreReachedByAnyWordIntoTheirStacks) {
  tasks.resize(3);
  EXPECT_EQ(lost_beside(word(&tasks[1].stack[0])), (Ids{0, 2}));
  EXPECT_EQ(lost_beside(word(&tasks[1].stack[63]) + 7), (Ids{0, 2}));
}

TEST_F(SleepersTest, LeadToEachOtherByStackRecordAndBlock) {
  tasks.resize(5);
  uintptr_t* const block = make(100);
  tasks[2].stack[10] = word(&tasks[0].stack[3]);
  tasks[0].record[1] = word(block);
  block[4] = word(&tasks[4].stack[20]);
  EXPECT_EQ(lost_beside(word(&tasks[2].stack[5])), (Ids{1, 3}));
  EXPECT_TRUE(reached[block]);
  EXPECT_EQ(held, 0U);
  EXPECT_EQ(lost_beside(word(&tasks[0].stack[5])), (Ids{1, 2, 3}));
  EXPECT_EQ(lost_beside(word(block)), (Ids{0, 1, 2, 3}));
}

TEST_F(SleepersTest, InACircleThatNothingKnowsAreLostWithWhatTheyHold) {
  tasks.resize(2);
  tasks[0].stack[0] = word(&tasks[1].stack[0]);
  tasks[1].stack[0] = word(&tasks[0].stack[0]);
  uintptr_t* const block = make(100);
  block[0] = word(make(200));
  tasks[1].stack[7] = word(block);
  EXPECT_EQ(lost_beside(0), (Ids{0, 1}));
  EXPECT_EQ(held, 2U);
  EXPECT_TRUE(reached[block]) << "it is theirs, and no leak of its own";
}

TEST_F(SleepersTest, ThatThereAreNoneOfIsNoTrouble) { EXPECT_EQ(lost_beside(1), Ids{}); }

}  // namespace
}  // namespace tri::gc
