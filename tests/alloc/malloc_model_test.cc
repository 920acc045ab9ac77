// malloc_model_test.cc - The allocator against a model that knows every block: random work of one thread.
#include <map>

#include "alloc/stats.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;

class MallocModel : public ::testing::Test {
 protected:
  struct Limits {
    size_t size;    // of a block
    size_t blocks;  // at once
    size_t bytes;   // at once
  };

  void run(uint64_t stream, size_t steps, const Limits& limits) {
    random_ = test::Random(stream);
    limits_ = limits;
    test::warm_up();
    const Stats before = take_stats();
    for (size_t step = 0; step < steps; ++step) {
      one_step();
      if (HasFatalFailure()) return;
      if (step % 5000 == 0) check_everything();
      if (random_.one_in(3000)) test::drop_caches();
      if (random_.one_in(3000)) heap.purge(random_.size_up_to(4096));
    }
    check_everything();
    while (!blocks_.empty()) free();
    const Stats after = take_stats();
    EXPECT_EQ(after.live_blocks, before.live_blocks);
    EXPECT_EQ(after.live_bytes, before.live_bytes);
    test::drop_caches();
    heap.verify();
    current_mcache()->verify();
  }

 private:
  struct Block {
    size_t n;  // as asked for
    size_t filled;
    size_t alignment;  // as asked for
    uint64_t tag;
  };
  using Blocks = std::map<char*, Block>;

  size_t some_size() { return random_.one_in(30) ? 0 : random_.size_up_to(limits_.size); }

  Blocks::iterator some_block() {
    // Around a random place, as maps have no order but that of addresses.
    if (blocks_.empty()) return blocks_.end();
    char* const from = order_[random_.below(order_.size())];
    return blocks_.find(from);
  }

  void add(void* memory, size_t n, size_t alignment) {
    auto* p = static_cast<char*>(memory);
    ASSERT_TRUE(test::aligned_to(p, alignment < 16 ? 16 : alignment)) << n << " at " << alignment;
    const size_t usable = usable_size(p);
    ASSERT_GE(usable, n);
    ASSERT_EQ(block_start(p + random_.below(usable)), p);
    // No overlap with the next, nor with the one before.
    const auto next = blocks_.lower_bound(p);
    if (next != blocks_.end()) {
      ASSERT_LE(p + usable, next->first);
    }
    if (next != blocks_.begin()) {
      const auto before = std::prev(next);
      ASSERT_LE(before->first + usable_size(before->first), p);
    }
    blocks_[p] = {n, usable, alignment, random_.next()};
    order_.push_back(p);
    bytes_ += usable;
    // All that may be used is.
    test::fill(p, usable, blocks_[p].tag);
  }

  void remove(Blocks::iterator it) {
    bytes_ -= it->second.filled;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (order_[i] != it->first) continue;
      order_[i] = order_.back();
      order_.pop_back();
      break;
    }
    blocks_.erase(it);
  }

  void one_step() {
    if (blocks_.size() >= limits_.blocks || bytes_ >= limits_.bytes) return free();
    switch (random_.below(16)) {
      case 0 ... 4:
        return allocate_one();
      case 5:
        return allocate_a_zeroed_one();
      case 6:
        return allocate_an_aligned_one();
      case 7 ... 8:
        return reallocate_one();
      case 9:
        return resize_one();
      default:
        return free();
    }
  }

  void allocate_one() {
    const size_t n = some_size();
    void* const p = allocate(n);
    ASSERT_NE(p, nullptr);
    if (n <= kMaxSmallSize) {
      ASSERT_EQ(usable_size(p), good_size(n));
    }
    add(p, n, 1);
  }

  void allocate_a_zeroed_one() {
    const size_t n = some_size();
    void* const p = allocate_zeroed(n);
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(test::is_zero(p, n));
    add(p, n, 1);
  }

  void allocate_an_aligned_one() {
    const size_t n = some_size();
    const size_t alignment = size_t{1} << (random_.one_in(20) ? random_.below(28) : random_.below(14));
    void* const p = allocate_aligned(n, alignment);
    ASSERT_NE(p, nullptr);
    add(p, n, alignment);
  }

  void reallocate_one() {
    const auto it = some_block();
    if (it == blocks_.end()) return;
    const Block block = it->second;
    // Half the time by a little, as a vector grows.
    const size_t n = random_.one_in(2) ? some_size() : block.n + block.n / 2 + 1;
    ASSERT_TRUE(test::holds(it->first, block.filled, block.tag));
    char* const old = it->first;
    void* const q = reallocate(old, n);
    ASSERT_NE(q, nullptr);
    const size_t both = block.filled < n ? block.filled : n;
    ASSERT_TRUE(test::holds(q, both, block.tag, block.filled)) << block.n << " to " << n;
    remove(it);
    add(q, n, 1);
  }

  void resize_one() {
    const auto it = some_block();
    if (it == blocks_.end()) return;
    const Block block = it->second;
    const size_t n = random_.one_in(2) ? random_.below(2 * block.n + 1) : block.n + random_.size_up_to(kMiB);
    char* const p = it->first;
    if (!resize_in_place(p, n)) {
      ASSERT_EQ(usable_size(p), block.filled);
      return;
    }
    ASSERT_GE(usable_size(p), n);
    const size_t both = block.filled < usable_size(p) ? block.filled : usable_size(p);
    ASSERT_TRUE(test::holds(p, both, block.tag, block.filled));
    remove(it);
    add(p, n, block.alignment);
  }

  void free() {
    const auto it = some_block();
    if (it == blocks_.end()) return;
    char* const p = it->first;
    const Block block = it->second;
    ASSERT_TRUE(test::holds(p, block.filled, block.tag)) << block.n;
    ASSERT_EQ(usable_size(p), block.filled);
    remove(it);
    deallocate(p);
  }

  void check_everything() {
    for (const auto& [p, block] : blocks_) {
      ASSERT_TRUE(test::holds(p, block.filled, block.tag));
      ASSERT_EQ(usable_size(p), block.filled);
    }
    heap.verify();
    current_mcache()->verify();
  }

  test::Random random_;
  Limits limits_{};
  Blocks blocks_;
  std::vector<char*> order_;
  size_t bytes_ = 0;
};

TEST_F(MallocModel, TinyBlocks) { run(1, test::rounds(400'000), {128, 5000, 64 * kMiB}); }
TEST_F(MallocModel, SmallBlocks) { run(2, test::rounds(200'000), {kMaxSmallSize, 3000, 64 * kMiB}); }
TEST_F(MallocModel, LargeBlocks) { run(3, test::rounds(40'000), {2 * kMiB, 300, 256 * kMiB}); }
TEST_F(MallocModel, BlocksOfAllSizes) { run(4, test::rounds(12'000), {64 * kMiB, 1000, 1024 * kMiB}); }
TEST_F(MallocModel, AFewBlocksOfAllSizes) { run(5, test::rounds(12'000), {64 * kMiB, 12, 512 * kMiB}); }

}  // namespace
}  // namespace tri
