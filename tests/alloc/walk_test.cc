// walk_test.cc - Tests of alloc/walk.h: it visits the blocks in use, and those alone.
#include "alloc/walk.h"

#include <cerrno>
#include <map>

#include "tests/alloc/support.h"

namespace tri {
namespace {

using Blocks = std::map<void*, size_t>;

Blocks walk() {
  Blocks found;
  const int result = walk_blocks(
      [](void* p, size_t n, void* arg) {
        EXPECT_TRUE(static_cast<Blocks*>(arg)->emplace(p, n).second) << "twice: " << p;
        return 0;
      },
      &found);
  EXPECT_EQ(result, 0);
  return found;
}

class WalkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    expected_ = walk();
  }
  void add(void* p) { expected_[p] = usable_size(p); }
  void check() const { EXPECT_EQ(walk(), expected_); }

  Blocks expected_;
};

TEST_F(WalkTest, VisitsBlocksOfEachKind) {
  std::vector<void*> blocks;
  for (const size_t n : {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, kMaxSmallSize, size_t{100'000},
                         size_t{3} << 20, size_t{40} << 20}) {
    void* const p = allocate(n);
    memset(p, 0xff, n);
    add(p);
    blocks.push_back(p);
  }
  check();
  for (void* p : blocks) {
    expected_.erase(p);
    deallocate(p);
    check();
  }
}

TEST_F(WalkTest, EqualsAModelDuringRandomWork) {
  test::Random random;
  std::vector<void*> blocks;
  for (size_t step = 0; step < test::rounds(20'000); ++step) {
    if (blocks.size() > 1000 || (!blocks.empty() && random.one_in(2))) {
      const size_t i = random.below(blocks.size());
      expected_.erase(blocks[i]);
      deallocate(blocks[i]);
      blocks[i] = blocks.back();
      blocks.pop_back();
    } else {
      const size_t n = random.size_up_to(1'000'000);
      void* const p = random.one_in(10) ? allocate_aligned(n, size_t{1} << random.below(15)) : allocate(n);
      ASSERT_NE(p, nullptr);
      memset(p, static_cast<int>(random.below(256)), n < 64 ? n : 64);
      blocks.push_back(p);
      add(p);
    }
    if (step % 500 == 0) check();
  }
  for (void* p : blocks) deallocate(p);
}

TEST_F(WalkTest, LeavesOutWhatOtherThreadsFreed) {
  std::vector<void*> blocks;
  for (int i = 0; i < 500; ++i) blocks.push_back(allocate(200));
  test::Barrier step(2);
  std::thread other([&] {
    for (size_t i = 0; i < 400; ++i) deallocate(blocks[i]);  // some posted, some in a batch
    step.wait();
    step.wait();
  });
  step.wait();
  for (size_t i = 400; i < 500; ++i) add(blocks[i]);
  check();
  step.wait();
  other.join();
  check();
  for (size_t i = 400; i < 500; ++i) deallocate(blocks[i]);
}

TEST_F(WalkTest, FindsBlocksOfEndedThreads) {
  std::vector<void*> blocks;
  test::in_thread([&] {
    for (int i = 0; i < 500; ++i) blocks.push_back(allocate(100));
    blocks.push_back(allocate(500'000));
  });
  for (void* p : blocks) add(p);
  check();
  for (void* p : blocks) deallocate(p);
}

TEST_F(WalkTest, EndsWhenToldTo) {
  std::vector<void*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(allocate(100));
  size_t left = 5;
  const auto stop_at_fifth = [](void*, size_t, void* arg) { return --*static_cast<size_t*>(arg) == 0 ? 42 : 0; };
  EXPECT_EQ(walk_blocks(stop_at_fifth, &left), 42);
  EXPECT_EQ(left, 0U);
  for (void* p : blocks) deallocate(p);
}

TEST_F(WalkTest, MayAllocateMeanwhile) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(allocate(64));
  const auto work = [](void*, size_t, void*) {
    for (const size_t n : {size_t{64}, size_t{9000}, size_t{200'000}}) deallocate(allocate(n));
    return 0;
  };
  EXPECT_EQ(walk_blocks(work, nullptr), 0);
  for (void* p : blocks) deallocate(p);
}

TEST_F(WalkTest, SaysSoWhenThereIsNoMemory) {
  test::Faults faults(0);
  EXPECT_EQ(walk_blocks([](void*, size_t, void*) { return 0; }, nullptr), -ENOMEM);
}

}  // namespace
}  // namespace tri
