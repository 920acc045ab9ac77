// finalizers_test.cc - Finalizers get blocks that are lost; links are cleared when they are.
#include "gc/finalizers.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "alloc/malloc.h"
#include "tests/alloc/support.h"
#include "tests/gc/collected_support.h"

#if !TRI_TEST_SANITIZED  // Their own records keep words that look like pointers to dead blocks; and under TSan nobody stops.

namespace tri::gc {
namespace {

using Order = Finalizers::Order;
using test::collect_now;
using test::forgotten;
using test::Hidden;
using test::is_there;

void* volatile root;
// Numbers of the finalizers that ran, and the blocks that they got, hidden.
int ran[16];
Hidden got[16];
size_t runs = 0;

void note(void* block, void* arg) {
  ran[runs] = static_cast<int>(reinterpret_cast<uintptr_t>(arg));
  got[runs] = Hidden(block);
  ++runs;
}
void run_all() {
  forgotten([] {
    Finalizers::Due d;
    while (finalizers.take(&d)) d.fn(d.block, d.arg);
    d = {};
  });
}
void* number(uintptr_t n) { return reinterpret_cast<void*>(n); }

struct Node {
  Node* next;
  Node* self;
  uint64_t value;
};
Node* new_node(Node* next) {
  auto* const n = static_cast<Node*>(allocate_collected(sizeof(Node), false));
  n->next = next;
  return n;
}

class FinalizersTest : public ::testing::Test {
 protected:
  FinalizersTest() { set_mode(Mode::kOff, 100); }
  static int add(const void* block, Order order, uintptr_t n) {
    return finalizers.set(block, order, {note, number(n)}, nullptr);
  }
};

TEST_F(FinalizersTest, AFinalizerGetsItsBlockWholeAndTheNextCycleFreesIt) {
  Hidden h;
  Hidden inner;
  forgotten([&] {
    Node* const n = new_node(new_node(nullptr));
    n->value = 7;
    n->next->value = 8;
    h = Hidden(n);
    inner = Hidden(n->next);
    ASSERT_EQ(add(n, Order::kAny, 1), 0);
    root = n;
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(finalizers.due(), 0U);
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(finalizers.due(), 1U);
  // However many cycles come before it runs.
  ASSERT_EQ(collect_now(), 0);
  ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  EXPECT_TRUE(is_there(inner));
  forgotten([&] {
    Finalizers::Due d;
    ASSERT_TRUE(finalizers.take(&d));
    EXPECT_EQ(d.block, h.get());
    EXPECT_EQ(d.arg, number(1));
    EXPECT_EQ(static_cast<Node*>(d.block)->value, 7U);
    EXPECT_EQ(static_cast<Node*>(d.block)->next->value, 8U);
    EXPECT_FALSE(finalizers.take(&d));
    d = {};
  });
  EXPECT_EQ(finalizers.due(), 0U);
  ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(h));
  EXPECT_FALSE(is_there(inner));
}

TEST_F(FinalizersTest, AFinalizerMayKeepItsBlockAndBeSetAgain) {
  Hidden h;
  forgotten([&] {
    Node* const n = new_node(nullptr);
    h = Hidden(n);
    ASSERT_EQ(add(n, Order::kAny, 1), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  run_all();
  ASSERT_EQ(runs, 1U);
  forgotten([&] {
    root = got[0].get();
    ASSERT_EQ(add(root, Order::kAny, 2), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  EXPECT_EQ(finalizers.due(), 0U);
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  run_all();
  ASSERT_EQ(runs, 2U);
  EXPECT_EQ(ran[1], 2);
}

TEST_F(FinalizersTest, OrderedOnesBeginWithTheOutermost) {
  forgotten([] {
    Node* const inner = new_node(nullptr);
    Node* const middle = new_node(inner);
    Node* const outer = new_node(middle);
    ASSERT_EQ(add(inner, Order::kOutermost, 3), 0);
    ASSERT_EQ(add(middle, Order::kOutermost, 2), 0);
    ASSERT_EQ(add(outer, Order::kOutermost, 1), 0);
  });
  for (size_t i = 1; i <= 3; ++i) {
    ASSERT_EQ(collect_now(), 0);
    EXPECT_EQ(finalizers.due(), 1U);
    run_all();
    ASSERT_EQ(runs, i);
    EXPECT_EQ(ran[i - 1], static_cast<int>(i));
  }
}

TEST_F(FinalizersTest, UnorderedOnesAllComeAtOnce) {
  forgotten([] {
    Node* const inner = new_node(nullptr);
    Node* const outer = new_node(inner);
    ASSERT_EQ(add(inner, Order::kAny, 2), 0);
    ASSERT_EQ(add(outer, Order::kAny, 1), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(finalizers.due(), 2U);
}

TEST_F(FinalizersTest, ARingOfOrderedOnesIsNeverDueAndAPointerToItselfIsIgnoredOnRequest) {
  Hidden ring;
  forgotten([&] {
    Node* const a = new_node(nullptr);
    Node* const b = new_node(a);
    a->next = b;
    ring = Hidden(a);
    ASSERT_EQ(add(a, Order::kOutermost, 1), 0);
    Node* const loop = new_node(nullptr);
    loop->self = loop;
    ASSERT_EQ(add(loop, Order::kOutermost, 2), 0);
    Node* const self = new_node(nullptr);
    self->self = self;
    ASSERT_EQ(add(self, Order::kIgnoreSelf, 3), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  run_all();
  ASSERT_EQ(runs, 1U);
  EXPECT_EQ(ran[0], 3);
  EXPECT_TRUE(is_there(ring));
}

TEST_F(FinalizersTest, SettingOneAgainGivesTheOldOneAndNoneTakesItAway) {
  forgotten([] {
    Node* const n = new_node(nullptr);
    Finalizers::Finalizer old;
    ASSERT_EQ(finalizers.set(n, Order::kAny, {note, number(1)}, &old), 0);
    EXPECT_EQ(old.fn, nullptr);
    ASSERT_EQ(finalizers.set(n, Order::kAny, {note, number(2)}, &old), 0);
    EXPECT_EQ(old.fn, note);
    EXPECT_EQ(old.arg, number(1));
    ASSERT_EQ(finalizers.set(n, Order::kAny, {}, &old), 0);
    EXPECT_EQ(old.arg, number(2));
    EXPECT_EQ(finalizers.set(reinterpret_cast<char*>(n) + 8, Order::kAny, {note, nullptr}, nullptr), -EINVAL);
    int local;
    EXPECT_EQ(finalizers.set(&local, Order::kAny, {note, nullptr}, nullptr), -EINVAL);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(finalizers.due(), 0U);
}

TEST_F(FinalizersTest, ABlockThatIsFreedByHandLosesIt) {
  forgotten([] {
    Node* const n = new_node(nullptr);
    ASSERT_EQ(add(n, Order::kAny, 1), 0);
    deallocate(n);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(finalizers.due(), 0U);
}

TEST_F(FinalizersTest, LargeBlocksAndManyOfThemAreFinalized) {
  constexpr uintptr_t kMany = 5000;
  static size_t sum = 0;
  forgotten([] {
    for (uintptr_t i = 1; i <= kMany; ++i) {
      void* const p = allocate_collected(i % 100 == 0 ? 100'000 : 32, i % 2 == 0);
      ASSERT_EQ(finalizers.set(p, Order::kAny,
                               {[](void*, void* arg) { sum += reinterpret_cast<uintptr_t>(arg); }, number(i)}, nullptr),
                0);
    }
  });
  // What a register or an old frame kept goes in a later one.
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(collect_now(), 0);
    run_all();
  }
  EXPECT_GT(sum, kMany * (kMany + 1) / 2 - 5 * kMany);
}

TEST_F(FinalizersTest, AShortLinkIsClearedBeforeTheFinalizerAndALongOneAfterTheBlockIsLostForGood) {
  void** const words = static_cast<void**>(allocate_collected(64, true));
  forgotten([&] {
    Node* const n = new_node(nullptr);
    words[0] = words[1] = n;
    ASSERT_EQ(add(n, Order::kAny, 1), 0);
    EXPECT_EQ(finalizers.link(&words[0], n, Finalizers::kShort), 0);
    EXPECT_EQ(finalizers.link(&words[0], n, Finalizers::kShort), 1);
    EXPECT_EQ(finalizers.link(&words[1], n, Finalizers::kLong), 0);
    root = n;
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_NE(words[0], nullptr);
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(words[0], nullptr);
  EXPECT_NE(words[1], nullptr);
  run_all();
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(words[1], nullptr);
  EXPECT_FALSE(finalizers.unlink(&words[0], Finalizers::kShort));
  EXPECT_FALSE(finalizers.unlink(&words[1], Finalizers::kLong));
}

TEST_F(FinalizersTest, LinksMoveEndAndAreRefusedWhereTheyCannotBe) {
  void** const words = static_cast<void**>(allocate_collected(64, true));
  forgotten([&] {
    Node* const n = new_node(nullptr);
    for (int i = 0; i < 4; ++i) words[i] = n;
    EXPECT_EQ(finalizers.link(&words[0], n, Finalizers::kShort), 0);
    EXPECT_EQ(finalizers.move_link(&words[0], &words[1], Finalizers::kShort), 0);
    EXPECT_EQ(finalizers.move_link(&words[0], &words[2], Finalizers::kShort), -ENOENT);
    EXPECT_EQ(finalizers.link(&words[2], n, Finalizers::kShort), 0);
    EXPECT_EQ(finalizers.move_link(&words[2], &words[1], Finalizers::kShort), -EEXIST);
    EXPECT_EQ(finalizers.link(&words[3], n, Finalizers::kShort), 0);
    EXPECT_TRUE(finalizers.unlink(&words[3], Finalizers::kShort));
    EXPECT_EQ(finalizers.link(reinterpret_cast<void**>(reinterpret_cast<char*>(words) + 1), n, Finalizers::kShort),
              -EINVAL);
    EXPECT_EQ(finalizers.link(&words[3], nullptr, Finalizers::kShort), -EINVAL);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_NE(words[0], nullptr);
  EXPECT_EQ(words[1], nullptr);
  EXPECT_EQ(words[2], nullptr);
  EXPECT_NE(words[3], nullptr);
}

TEST_F(FinalizersTest, ALinkInABlockThatIsLostIsForgotten) {
  Hidden word;
  forgotten([&] {
    root = new_node(nullptr);
    void** const at = static_cast<void**>(allocate_collected(16, true));
    word = Hidden(at);
    *at = root;
    EXPECT_EQ(finalizers.link(at, root, Finalizers::kShort), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(word));
  EXPECT_FALSE(finalizers.unlink(static_cast<void**>(word.get()), Finalizers::kShort));
  root = nullptr;
}

TEST_F(FinalizersTest, MomentsCountTheBeginningAndTheEndOfEachCycle) {
  const uint32_t before = cycle_moments();
  EXPECT_EQ(before % 2, 0U);
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(cycle_moments(), before + 2);
}

}  // namespace
}  // namespace tri::gc

#endif
