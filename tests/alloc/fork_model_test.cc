// fork_model_test.cc - fork() while other threads allocate and free: the child's heap is sound whatever they were doing.
#include <map>

#include "tests/alloc/fork_support.h"

namespace tri {
namespace {

struct Block {
  char* p;
  size_t n;
  uint64_t tag;
};

std::vector<Block> make_blocks(test::Random& random, size_t count, size_t most) {
  std::vector<Block> out;
  for (size_t i = 0; i < count; ++i) {
    const size_t n = random.size_up_to(most);
    out.push_back({static_cast<char*>(allocate(n)), n, random.next()});
    test::fill(out.back().p, n, out.back().tag);
  }
  return out;
}

/// In a child: `kept` are blocks that nobody frees. New blocks must overlap neither them nor each other.
int work_in_child(const std::vector<Block>& kept, uint64_t stream) {
  test::Random random(stream);
  for (const Block& block : kept) CHILD_CHECK(test::holds(block.p, block.n, block.tag));
  std::map<char*, size_t> taken;
  for (const Block& block : kept) taken[block.p] = usable_size(block.p);
  std::vector<Block> mine = make_blocks(random, 3000, 20'000);
  for (const Block& block : mine) {
    const size_t n = usable_size(block.p);
    CHILD_CHECK(n >= block.n);
    const auto next = taken.lower_bound(block.p);
    CHILD_CHECK(next == taken.end() || block.p + n <= next->first);
    CHILD_CHECK(next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= block.p);
    taken[block.p] = n;
  }
  for (const Block& block : mine) CHILD_CHECK(test::holds(block.p, block.n, block.tag));
  for (const Block& block : kept) CHILD_CHECK(test::holds(block.p, block.n, block.tag));
  // Both are freed, and all works once more.
  for (const Block& block : kept) deallocate(block.p);
  for (const Block& block : mine) deallocate(block.p);
  mine = make_blocks(random, 1000, 100'000);
  for (const Block& block : mine) {
    CHILD_CHECK(test::holds(block.p, block.n, block.tag));
    deallocate(block.p);
  }
  test::drop_caches();
  heap.verify();
  current_mcache()->verify();
  return 0;
}

TEST(ForkModel, ThreadsAtRest) {
  test::Random random;
  for (size_t round = 0; round < test::rounds(20); ++round) {
    std::vector<Block> kept = make_blocks(random, 500, 50'000);
    test::Barrier ready(2);
    test::Barrier done(2);
    std::thread other([&] {
      test::Random own(round + 1);
      const std::vector<Block> theirs = make_blocks(own, 500, 50'000);
      kept.insert(kept.end(), theirs.begin(), theirs.end());
      const std::vector<Block> freed = make_blocks(own, 500, 5000);
      for (const Block& block : freed) deallocate(block.p);
      ready.wait();
      done.wait();
    });
    ready.wait();
    ASSERT_EQ(test::in_forked_child([&] { return work_in_child(kept, round); }), 0) << "TRI_SEED=" << test::seed();
    done.wait();
    other.join();
    for (const Block& block : kept) {
      ASSERT_TRUE(test::holds(block.p, block.n, block.tag));
      deallocate(block.p);
    }
  }
}

#if !defined __SANITIZE_THREAD__  // The child reads what threads of its parent were writing.
TEST(ForkModel, ThreadsAtWork) {
  test::Random random;
  const std::vector<Block> kept = make_blocks(random, 500, 50'000);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::atomic<void*> slots[64] = {};
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      // Own blocks, and blocks that others free.
      test::Random own(100 + t);
      std::vector<void*> blocks(200);
      while (!stop.load(std::memory_order_relaxed)) {
        void*& p = blocks[own.below(blocks.size())];
        deallocate(p);
        p = allocate(own.size_up_to(own.one_in(20) ? 200'000 : 2000));
        deallocate(slots[own.below(64)].exchange(allocate(own.size_up_to(500)), std::memory_order_acq_rel));
      }
      for (void* p : blocks) deallocate(p);
    });
  }
  for (size_t round = 0; round < test::rounds(60); ++round) {
    const int status = test::in_forked_child([&] { return work_in_child(kept, 1000 + round); });
    EXPECT_EQ(status, 0) << "round " << round << ", TRI_SEED=" << test::seed();
    if (status != 0) break;
  }
  stop.store(true);
  for (std::thread& t : threads) t.join();
  for (auto& slot : slots) deallocate(slot.load());
  for (const Block& block : kept) {
    EXPECT_TRUE(test::holds(block.p, block.n, block.tag));
    deallocate(block.p);
  }
  test::drop_caches();
  heap.verify();
}
#endif

}  // namespace
}  // namespace tri
