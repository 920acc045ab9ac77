// remote_free_test.cc - Tests of alloc/remote_free.h: blocks that other threads free come back.
#include "alloc/remote_free.h"

#include <algorithm>
#include <set>

#include "tests/alloc/support.h"

namespace tri {
namespace {

class RemoteFree : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
  }
  int64_t used() const { return static_cast<int64_t>(test::used_bytes() - used_); }

 private:
  uint64_t used_ = 0;
};

std::vector<void*> allocate_many(size_t count, size_t size) {
  std::vector<void*> blocks(count);
  for (size_t i = 0; i < count; ++i) {
    blocks[i] = allocate(size);
    test::fill(blocks[i], size, i);
  }
  return blocks;
}

void free_all(const std::vector<void*>& blocks) {
  for (void* p : blocks) deallocate(p);
}

TEST_F(RemoteFree, OwnerGetsAllBlocksBack) {
  for (const size_t size : {size_t{16}, size_t{200}, size_t{1024}, size_t{5000}, kMaxSmallSize}) {
    SCOPED_TRACE(size);
    test::drop_caches();
    const size_t count = 4 * 1024 * 1024 / (size + 1000);
    std::vector<void*> blocks = allocate_many(count, size);
    const int64_t full = used();
    test::in_thread([&] { free_all(blocks); });  // ends, so its batches are posted
    // None is lost: the same number of blocks needs no more memory.
    std::vector<void*> again = allocate_many(count, size);
    EXPECT_LE(used(), full);
    std::sort(blocks.begin(), blocks.end());
    std::sort(again.begin(), again.end());
    EXPECT_EQ(std::adjacent_find(again.begin(), again.end()), again.end());
    free_all(again);
    test::drop_caches();
    EXPECT_LE(used(), 16 * 1024 * 1024);
  }
}

TEST_F(RemoteFree, MemoryGoesBackToTheHeapThroughItsOwner) {
  const std::vector<void*> blocks = allocate_many(50'000, 100);
  EXPECT_GT(used(), 5'000'000);
  test::in_thread([&] { free_all(blocks); });
  test::drop_caches();
  EXPECT_LE(used(), 256 * 1024);
  current_mcache()->verify();
}

TEST_F(RemoteFree, BlocksOfAnEndedOwnerGoBackToTheHeap) {
  std::vector<void*> blocks;
  test::in_thread([&] { blocks = allocate_many(50'000, 100); });
  EXPECT_GT(used(), 5'000'000);
  for (size_t i = 0; i < blocks.size(); ++i) ASSERT_TRUE(test::holds(blocks[i], 100, i));
  free_all(blocks);
  test::drop_caches();
  EXPECT_LE(used(), 64 * 1024);
}

TEST_F(RemoteFree, OwnerMayEndBetweenTheFreesOfABatch) {
  for (int round = 0; round < 20; ++round) {
    std::vector<void*> blocks;
    test::Barrier half_freed(2);
    std::thread owner([&] {
      blocks = allocate_many(1000, 48);
      half_freed.wait();
      half_freed.wait();
    });
    half_freed.wait();
    for (size_t i = 0; i < 500; ++i) deallocate(blocks[i]);  // some posted, some in a batch
    half_freed.wait();
    owner.join();
    for (size_t i = 500; i < 1000; ++i) deallocate(blocks[i]);
    test::drop_caches();
    ASSERT_LE(used(), 64 * 1024);
  }
}

TEST_F(RemoteFree, AFreedBlockMayTurnOutToBeOfASpanOfOnesOwn) {
  // Freed into a batch while the span was another thread's, which ended; the batch is posted when its holder ends.
  std::vector<void*> blocks;
  test::Barrier step(2);
  std::thread owner([&] {
    blocks = allocate_many(2, 700);
    step.wait();
    step.wait();
  });
  step.wait();
  test::Barrier owner_ended(2);
  test::Barrier freed(2);
  std::thread heir([&] {
    deallocate(blocks[0]);
    freed.wait();
    owner_ended.wait();
    void* const p = allocate(700);
    EXPECT_EQ(pagemap::lookup(p), pagemap::lookup(blocks[1])) << "the span that was left";
    deallocate(p);
    deallocate(blocks[1]);
  });
  freed.wait();
  step.wait();
  owner.join();
  owner_ended.wait();
  heir.join();
  EXPECT_EQ(used(), 0);
}

TEST_F(RemoteFree, AnIdleOwnerFindsItsBlocksWhenItWakes) {
  std::vector<void*> blocks;
  test::Barrier step(2);
  std::thread owner([&] {
    blocks = allocate_many(20'000, 64);
    step.wait();  // idle while the other frees
    step.wait();
    const uint64_t before = test::used_bytes();
    const std::vector<void*> again = allocate_many(20'000, 64);
    EXPECT_LE(test::used_bytes(), before + 65536);
    free_all(again);
  });
  step.wait();
  free_all(blocks);
  test::drop_caches();  // posts the last batches
  step.wait();
  owner.join();
  test::drop_caches();
  EXPECT_LE(used(), 64 * 1024);
}

TEST_F(RemoteFree, BlocksMayBeFreedInAnyOrderByManyThreads) {
  constexpr size_t kThreads = 4;
  test::Random random;
  std::vector<void*> blocks = allocate_many(40'000, 80);
  for (size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[random.below(i)]);
  test::in_threads(kThreads, [&](size_t t) {
    for (size_t i = t; i < blocks.size(); i += kThreads) deallocate(blocks[i]);
  });
  test::drop_caches();
  EXPECT_LE(used(), 128 * 1024);
  current_mcache()->verify();
}

TEST_F(RemoteFree, OwnerAndOthersMayFreeTheSameSpanAtOnce) {
  for (size_t round = 0; round < test::rounds(50); ++round) {
    std::vector<void*> blocks = allocate_many(5000, 32);
    test::Barrier start(2);
    std::thread other([&] {
      start.wait();
      for (size_t i = 0; i < blocks.size(); i += 2) deallocate(blocks[i]);
    });
    start.wait();
    for (size_t i = 1; i < blocks.size(); i += 2) deallocate(blocks[i]);
    other.join();
    current_mcache()->verify();
  }
  test::drop_caches();
  EXPECT_LE(used(), 128 * 1024);
}

TEST_F(RemoteFree, LargeBlocksMayBeFreedByAnyThread) {
  std::vector<void*> blocks;
  for (const size_t n : {size_t{40'000}, size_t{500'000}, size_t{5'000'000}, size_t{40} << 20}) {
    void* const p = allocate(n);
    test::fill(p, n, n);
    blocks.push_back(p);
  }
  test::in_thread([&] { free_all(blocks); });
  EXPECT_LE(used(), 0);
}

TEST_F(RemoteFree, AProducerAndAConsumerUseNoMoreThanTheirQueue) {
  constexpr size_t kQueue = 256;
  const size_t count = test::rounds(200'000);
  std::atomic<uint64_t*> queue[kQueue] = {};
  std::thread consumer([&] {
    for (size_t i = 0; i < count; ++i) {
      uint64_t* p;
      while ((p = queue[i % kQueue].exchange(nullptr, std::memory_order_acquire)) == nullptr) sched_yield();
      if (*p != i) ADD_FAILURE() << "block " << i << " holds " << *p;
      deallocate(p);
    }
  });
  int64_t most = 0;
  for (size_t i = 0; i < count; ++i) {
    while (queue[i % kQueue].load(std::memory_order_relaxed) != nullptr) sched_yield();
    auto* p = static_cast<uint64_t*>(allocate(120));
    *p = i;
    queue[i % kQueue].store(p, std::memory_order_release);
    most = std::max(most, used());
  }
  consumer.join();
  EXPECT_LE(most, 1024 * 1024);
  test::drop_caches();
  EXPECT_LE(used(), 128 * 1024);
}

}  // namespace
}  // namespace tri
