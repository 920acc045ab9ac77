// list_model_test.cc - alloc/base/list.h against std::list.
#include "alloc/base/list.h"

#include <algorithm>
#include <list>

#include "tests/alloc/support.h"

namespace tri {
namespace {

struct Node {
  Node* next = nullptr;
  Node* prev = nullptr;
};

TEST(ListModel, DoesWhatStdListDoes) {
  test::Random random;
  Node nodes[40];
  std::vector<Node*> outside;
  for (Node& n : nodes) outside.push_back(&n);
  List<Node> list;
  std::list<Node*> model;
  const auto take_outside = [&] {
    const size_t i = random.below(outside.size());
    Node* const n = outside[i];
    outside.erase(outside.begin() + static_cast<ptrdiff_t>(i));
    return n;
  };

  for (size_t step = 0; step < test::rounds(200'000); ++step) {
    switch (random.below(4)) {
      case 0:
        if (outside.empty()) break;
        model.push_back(take_outside());
        list.push_back(model.back());
        break;
      case 1:
        if (outside.empty()) break;
        model.push_front(take_outside());
        list.push_front(model.front());
        break;
      case 2: {
        Node* const n = list.pop_front();
        ASSERT_EQ(n, model.empty() ? nullptr : model.front());
        if (n == nullptr) break;
        model.pop_front();
        outside.push_back(n);
        break;
      }
      default: {
        if (model.empty()) break;
        const auto it = std::next(model.begin(), static_cast<ptrdiff_t>(random.below(model.size())));
        list.remove(*it);
        outside.push_back(*it);
        model.erase(it);
      }
    }
    ASSERT_EQ(list.empty(), model.empty());
    ASSERT_EQ(list.front(), model.empty() ? nullptr : model.front());
    ASSERT_EQ(list.back(), model.empty() ? nullptr : model.back());
    auto it = model.begin();
    list.each([&](Node* n) {
      ASSERT_NE(it, model.end());
      ASSERT_EQ(n, *it++);
    });
    ASSERT_EQ(it, model.end());
  }
}

}  // namespace
}  // namespace tri
