// lfstack_test.cc - Tests of alloc/base/lfstack.h.
#include "alloc/base/lfstack.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

struct Node {
  Node* link = nullptr;
  int value = 0;  // written by the pusher before, read by the taker after
  int taken = 0;
};
using Stack = LfStack<Node, &Node::link>;

TEST(LfStack, GivesTheLastPushedFirst) {
  Node n[3];
  Stack stack;
  EXPECT_TRUE(stack.empty());
  for (Node& node : n) stack.push(&node);
  EXPECT_FALSE(stack.empty());
  Node* taken = stack.take_all();
  ASSERT_EQ(taken, &n[2]);
  ASSERT_EQ(taken->link, &n[1]);
  ASSERT_EQ(taken->link->link, &n[0]);
  ASSERT_EQ(taken->link->link->link, nullptr);
  EXPECT_TRUE(stack.empty());
  EXPECT_EQ(stack.take_all(), nullptr);
}

TEST(LfStack, ForgetsWhatIsAbandoned) {
  Node n;
  Stack stack;
  stack.push(&n);
  stack.abandon();
  EXPECT_TRUE(stack.empty());
  EXPECT_EQ(stack.take_all(), nullptr);
}

TEST(LfStack, HandsEachElementToExactlyOneTaker) {
  constexpr size_t kPushers = 3;
  constexpr size_t kTakers = 2;
  const size_t count = test::rounds(100'000);
  std::vector<Node> nodes(kPushers * count);
  Stack stack;
  std::atomic<size_t> taken{0};
  test::in_threads(kPushers + kTakers, [&](size_t thread) {
    if (thread < kPushers) {
      for (size_t i = 0; i < count; ++i) {
        Node& n = nodes[thread * count + i];
        n.value = static_cast<int>(i);
        stack.push(&n);
      }
      return;
    }
    while (taken.load(std::memory_order_relaxed) < nodes.size()) {
      for (Node* n = stack.take_all(); n != nullptr;) {
        Node* const next = n->link;
        if (n->value == static_cast<int>(static_cast<size_t>(n - nodes.data()) % count)) ++n->taken;
        taken.fetch_add(1, std::memory_order_relaxed);
        n = next;
      }
    }
  });
  for (const Node& n : nodes) ASSERT_EQ(n.taken, 1);
}

TEST(LfStack, KeepsTheOrderOfEachPusher) {
  const size_t count = test::rounds(20'000);
  std::vector<Node> nodes(2 * count);
  Stack stack;
  test::in_threads(2, [&](size_t thread) {
    for (size_t i = 0; i < count; ++i) {
      nodes[thread * count + i].value = static_cast<int>(i);
      stack.push(&nodes[thread * count + i]);
    }
  });
  int last[2] = {static_cast<int>(count), static_cast<int>(count)};
  size_t found = 0;
  for (Node* n = stack.take_all(); n != nullptr; n = n->link) {
    int& before = last[static_cast<size_t>(n - nodes.data()) / count];
    ASSERT_LT(n->value, before);
    before = n->value;
    ++found;
  }
  EXPECT_EQ(found, nodes.size());
}

}  // namespace
}  // namespace tri
