// list_test.cc - Tests of alloc/base/list.h.
#include "alloc/base/list.h"

#include <gtest/gtest.h>

#include <vector>

namespace tri {
namespace {

struct Node {
  Node* next = nullptr;
  Node* prev = nullptr;
};

std::vector<Node*> elements(const List<Node>& list) {
  std::vector<Node*> out;
  list.each([&](Node* n) { out.push_back(n); });
  return out;
}

TEST(List, IsEmptyAtFirst) {
  List<Node> list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  EXPECT_EQ(list.back(), nullptr);
  EXPECT_EQ(list.pop_front(), nullptr);
  EXPECT_TRUE(elements(list).empty());
}

TEST(List, KeepsTheOrderOfPushes) {
  Node n[4];
  List<Node> list;
  list.push_back(&n[1]);
  list.push_back(&n[2]);
  list.push_front(&n[0]);
  list.push_back(&n[3]);
  EXPECT_EQ(elements(list), (std::vector<Node*>{&n[0], &n[1], &n[2], &n[3]}));
  EXPECT_EQ(list.front(), &n[0]);
  EXPECT_EQ(list.back(), &n[3]);
}

TEST(List, RemovesFirstMiddleLastAndOnly) {
  Node n[4];
  List<Node> list;
  for (Node& node : n) list.push_back(&node);
  list.remove(&n[0]);
  EXPECT_EQ(elements(list), (std::vector<Node*>{&n[1], &n[2], &n[3]}));
  list.remove(&n[2]);
  EXPECT_EQ(elements(list), (std::vector<Node*>{&n[1], &n[3]}));
  list.remove(&n[3]);
  EXPECT_EQ(list.back(), &n[1]);
  list.remove(&n[1]);
  EXPECT_TRUE(list.empty());
}

TEST(List, LeavesNoLinksInWhatItRemoved) {
  Node n[2];
  List<Node> list;
  list.push_back(&n[0]);
  list.push_back(&n[1]);
  list.remove(&n[0]);
  EXPECT_EQ(n[0].next, nullptr);
  EXPECT_EQ(n[0].prev, nullptr);
  EXPECT_EQ(list.pop_front(), &n[1]);
  EXPECT_EQ(n[1].next, nullptr);
  EXPECT_EQ(n[1].prev, nullptr);
}

TEST(List, AbandonsWithoutTouching) {
  Node n[2];
  List<Node> list;
  list.push_back(&n[0]);
  list.push_back(&n[1]);
  list.abandon();
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(n[0].next, &n[1]);
  EXPECT_EQ(n[1].next, &n[0]);
}

#if TRI_DEBUG  // without assertions there is nothing to notice
TEST(ListDeathTest, NoticesAnElementThatIsOnAListAlready) {
  Node n[2];
  List<Node> list;
  list.push_back(&n[0]);
  list.push_back(&n[1]);
  EXPECT_DEATH(list.push_back(&n[0]), "tri: check failed: t->next == nullptr");
}
#endif

}  // namespace
}  // namespace tri
