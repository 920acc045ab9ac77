// remote_free_test.cc - Tests of alloc/remote_free.h: blocks that other threads free come back.
#include "alloc/remote_free.h"

#include <algorithm>
#include <set>

#include "alloc/mcentral.h"
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
    const uint64_t before = test::used_bytes();
    step.wait();  // idle while the other frees
    step.wait();
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

// ---- hollow spans (see span.h)

/// Blocks of another thread, which sleeps until it is released, freed by this one. `then` runs in the owner when it wakes.
template <class Then>
void free_while_owner_sleeps(size_t count, size_t size, int64_t most_left, Then&& then) {
  const uint64_t before = test::used_bytes();
  std::vector<void*> blocks;
  test::Barrier step(2);
  std::thread owner([&] {
    blocks = allocate_many(count, size);
    step.wait();
    step.wait();
    then();
  });
  step.wait();
  for (size_t i = 0; i < count; ++i) EXPECT_TRUE(test::holds(blocks[i], size, i));
  free_all(blocks);
  test::drop_caches();  // posts the last batches
  EXPECT_LE(static_cast<int64_t>(test::used_bytes() - before), most_left);
  step.wait();
  owner.join();
}

// What a sleeping owner may keep: what it has not collected, the span that is current, and spans that were on their way.
constexpr int64_t kMostUncollected = 512 * 1024;

TEST_F(RemoteFree, MemoryOfASleepingOwnerGoesBack) {
  for (const size_t size : {size_t{16}, size_t{100}, size_t{1000}, size_t{3000}, kMaxSmallSize}) {
    SCOPED_TRACE(size);
    free_while_owner_sleeps(8'000'000 / size, size, kMostUncollected, [&] {
      for (int round = 0; round < 3; ++round) {
        const std::vector<void*> again = allocate_many(8'000'000 / size, size);
        for (size_t i = 0; i < again.size(); ++i) ASSERT_TRUE(test::holds(again[i], size, i));
        free_all(again);
        current_mcache()->verify();
      }
    });
  }
  test::drop_caches();
  EXPECT_LE(used(), 64 * 1024);
}

TEST_F(RemoteFree, ASleepingOwnerMayEndWithoutALook) {
  for (size_t round = 0; round < 10; ++round) free_while_owner_sleeps(40'000, 100, kMostUncollected, [] {});
  EXPECT_EQ(used(), 0);
  for (const MCentral& central : mcentral) EXPECT_EQ(central.spans(), 0U);
}

TEST_F(RemoteFree, TheCurrentSpanMayBecomeHollow) {
  const size_t in_a_span = class_capacity(size_class(1000));
  free_while_owner_sleeps(in_a_span * 100, 1000, kMostUncollected, [&] {
    void* const p = allocate(1000);
    EXPECT_NE(p, nullptr);
    deallocate(p);
    current_mcache()->verify();
  });
  EXPECT_LE(used(), 64 * 1024);
}

TEST_F(RemoteFree, OwnersWakeWhileOthersHollowTheirSpansOut) {
  constexpr size_t kOwners = 3;
  constexpr size_t kBatch = 3000;
  std::atomic<void**> handed[kOwners] = {};
  std::atomic<size_t> at_work{kOwners};
  std::thread freer([&] {
    while (at_work != 0) {
      for (std::atomic<void**>& slot : handed) {
        void** const blocks = slot.exchange(nullptr, std::memory_order_acquire);
        if (blocks == nullptr) continue;
        for (size_t i = 0; i < kBatch; ++i) {
          if (!test::holds(blocks[i], 200, i)) ADD_FAILURE() << "block " << i;
          deallocate(blocks[i]);
        }
        deallocate(blocks);
      }
      sched_yield();
    }
  });
  test::in_threads(kOwners, [&](size_t t) {
    test::Random random;
    for (size_t round = 0; round < test::rounds(400); ++round) {
      auto** const blocks = static_cast<void**>(allocate(kBatch * sizeof(void*)));
      for (size_t i = 0; i < kBatch; ++i) test::fill(blocks[i] = allocate(200), 200, i);
      void** none = nullptr;
      while (!handed[t].compare_exchange_weak(none, blocks, std::memory_order_release)) {
        none = nullptr;
        sched_yield();
      }
      if (random.below(4) == 0) usleep(300);  // the other is faster then
    }
    current_mcache()->verify();
    --at_work;
  });
  freer.join();
  for (std::atomic<void**>& slot : handed) {
    void** const blocks = slot.load();
    if (blocks == nullptr) continue;
    for (size_t i = 0; i < kBatch; ++i) deallocate(blocks[i]);
    deallocate(blocks);
  }
  test::drop_caches();
  EXPECT_LE(used(), 128 * 1024);
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
