// malloc_threads_model_test.cc - Threads that exchange blocks: each frees, moves and checks what others allocated.
#include <array>
#include <mutex>

#include "alloc/stats.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;

struct Block {
  void* p = nullptr;
  size_t n = 0;
  uint64_t tag = 0;
};

/// Slots that all threads put blocks into and take blocks from.
class Exchange {
 public:
  Block swap(size_t i, const Block& block) {
    Slot& slot = slots_[i];
    const std::lock_guard<std::mutex> guard(slot.mutex);
    const Block old = slot.block;
    slot.block = block;
    return old;
  }
  static constexpr size_t kSlots = 500;

 private:
  struct Slot {
    std::mutex mutex;
    Block block;
  };
  std::array<Slot, kSlots> slots_;
};

class Worker {
 public:
  Worker(Exchange& exchange, uint64_t stream, size_t most) : exchange_(exchange), random_(stream), most_(most) {}

  void run(size_t steps) {
    for (size_t i = 0; i < steps && good_; ++i) {
      const size_t slot = random_.below(Exchange::kSlots);
      if (random_.one_in(3)) {
        check_and_free(exchange_.swap(slot, {}));
      } else if (random_.one_in(6)) {
        check_and_free(exchange_.swap(slot, move(exchange_.swap(slot, {}))));
      } else {
        check_and_free(exchange_.swap(slot, make()));
      }
      // Some are the thread's own business.
      if (random_.one_in(4)) {
        const Block block = make();
        check_and_free(block);
      }
    }
    if (!good_) ADD_FAILURE() << "a block was not as it was left";
  }

 private:
  Block make() {
    const size_t n = random_.size_up_to(random_.one_in(50) ? most_ : 4096);
    Block block{nullptr, n, random_.next()};
    if (random_.one_in(5)) {
      block.p = allocate_zeroed(n);
      good_ = good_ && block.p != nullptr && test::is_zero(block.p, n);
    } else if (random_.one_in(8)) {
      const size_t alignment = size_t{1} << random_.below(14);
      block.p = allocate_aligned(n, alignment);
      good_ = good_ && block.p != nullptr && test::aligned_to(block.p, alignment);
    } else {
      block.p = allocate(n);
    }
    good_ = good_ && block.p != nullptr && usable_size(block.p) >= n;
    if (good_) test::fill(block.p, n, block.tag);
    return block;
  }

  Block move(Block block) {
    if (block.p == nullptr) return block;
    const size_t n = random_.size_up_to(most_);
    void* const q = reallocate(block.p, n);
    good_ = good_ && q != nullptr && test::holds(q, n < block.n ? n : block.n, block.tag, block.n);
    if (!good_) return {};
    block.p = q;
    block.n = n;
    test::fill(q, n, block.tag);
    return block;
  }

  void check_and_free(const Block& block) {
    if (block.p == nullptr) return;
    good_ = good_ && test::holds(block.p, block.n, block.tag);
    deallocate(block.p);
  }

  Exchange& exchange_;
  test::Random random_;
  size_t most_;
  bool good_ = true;
};

class ThreadsModel : public ::testing::Test {
 protected:
  void run(size_t threads, size_t rounds, size_t steps, size_t most) {
    test::warm_up();
    const Stats before = take_stats();
    static Exchange exchange;
    uint64_t stream = 0;
    for (size_t round = 0; round < rounds; ++round) {
      // New threads each time: blocks outlive who allocated them.
      const uint64_t first = stream;
      stream += threads;
      test::in_threads(threads, [&](size_t t) { Worker(exchange, first + t, most).run(steps); });
      if (HasFailure()) return;
      heap.verify();
    }
    for (size_t i = 0; i < Exchange::kSlots; ++i) {
      const Block block = exchange.swap(i, {});
      if (block.p == nullptr) continue;
      EXPECT_TRUE(test::holds(block.p, block.n, block.tag));
      deallocate(block.p);
    }
    test::drop_caches();
    const Stats after = take_stats();
    EXPECT_EQ(after.live_blocks, before.live_blocks);
    EXPECT_EQ(after.live_bytes, before.live_bytes);
    EXPECT_EQ(after.huge_bytes, before.huge_bytes);
    heap.verify();
    current_mcache()->verify();
  }
};

TEST_F(ThreadsModel, TwoThreadsOnSmallBlocks) { run(2, 4, test::rounds(50'000), 2048); }
TEST_F(ThreadsModel, FourThreadsOnAllSizes) { run(4, 4, test::rounds(10'000), 16 * kMiB); }
TEST_F(ThreadsModel, ManyShortThreads) { run(4, test::rounds(100), 200, 100'000); }

TEST_F(ThreadsModel, WithTheScavengerAtWork) {
  // Purging at once where there is no background thread to be had.
  scavenger::set_half_life(test::kSanitized ? scavenger::kPurgeNow : 10'000'000);
  run(4, 4, test::rounds(10'000), 2 * kMiB);
  scavenger::set_half_life(scavenger::kPurgeNever);
}

TEST_F(ThreadsModel, LiveMemoryDoesNotGrowFromRoundToRound) {
  test::warm_up();
  static Exchange exchange;
  uint64_t most = 0;
  for (size_t round = 0; round < 12; ++round) {
    test::in_threads(4, [&](size_t t) { Worker(exchange, 100 + round * 4 + t, 8192).run(test::rounds(5000)); });
    if (round == 5) most = test::arena_bytes();
  }
  EXPECT_LE(test::arena_bytes(), most);
  for (size_t i = 0; i < Exchange::kSlots; ++i) deallocate(exchange.swap(i, {}).p);
  test::drop_caches();
}

}  // namespace
}  // namespace tri
