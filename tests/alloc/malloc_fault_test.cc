// malloc_fault_test.cc - What alloc/ does when the system refuses memory, at each call in turn.
//
// The rule: a request is fulfilled or answered with null, contents stay as they are, frees never fail, and when there is
// memory again, all sizes work again.
#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;

struct Block {
  void* p;
  size_t n;
  uint64_t tag;
};

/// Random work on blocks of all sizes that goes on whatever is refused. True if all that it got was right.
class Work {
 public:
  explicit Work(uint64_t stream) : random_(stream) {}

  bool run(size_t steps) {
    for (size_t i = 0; i < steps; ++i) {
      switch (random_.below(8)) {
        case 0 ... 3:
          if (!get()) return false;
          break;
        case 4:
          if (!resize()) return false;
          break;
        default:
          if (!give_back()) return false;
      }
    }
    return true;
  }

  bool give_all_back() {
    while (!blocks_.empty()) {
      if (!give_back()) return false;
    }
    return true;
  }

 private:
  size_t some_size() { return random_.one_in(10) ? random_.size_up_to(64 * kMiB) : random_.size_up_to(200'000); }

  bool get() {
    const size_t n = some_size();
    const size_t alignment = random_.one_in(4) ? size_t{1} << random_.below(24) : 1;
    const bool zeroed = alignment == 1 && random_.one_in(3);
    void* const p = alignment > 1 ? allocate_aligned(n, alignment) : zeroed ? allocate_zeroed(n) : allocate(n);
    if (p == nullptr) return true;
    if (!test::aligned_to(p, alignment < 16 ? 16 : alignment)) return false;
    if (usable_size(p) < n || (zeroed && !test::is_zero(p, n))) return false;
    keep(p, n);
    return true;
  }

  bool resize() {
    if (blocks_.empty()) return true;
    Block& block = blocks_[random_.below(blocks_.size())];
    if (!test::holds(block.p, block.n, block.tag)) return false;
    const size_t n = some_size();
    const size_t both = n < block.n ? n : block.n;
    if (random_.one_in(3)) {
      if (!resize_in_place(block.p, n)) return test::holds(block.p, block.n, block.tag);
      if (!test::holds(block.p, both, block.tag, block.n)) return false;
    } else {
      void* const q = reallocate(block.p, n);
      if (q == nullptr) return test::holds(block.p, block.n, block.tag);
      if (!test::holds(q, both, block.tag, block.n)) return false;
      block.p = q;
    }
    block.n = n;
    test::fill(block.p, n, block.tag);
    return true;
  }

  bool give_back() {
    if (blocks_.empty()) return true;
    const size_t i = random_.below(blocks_.size());
    const Block block = blocks_[i];
    blocks_[i] = blocks_.back();
    blocks_.pop_back();
    if (!test::holds(block.p, block.n, block.tag)) return false;
    deallocate(block.p);
    return true;
  }

  void keep(void* p, size_t n) {
    blocks_.push_back({p, n, random_.next()});
    test::fill(p, n, blocks_.back().tag);
  }

  test::Random random_;
  std::vector<Block> blocks_;
};

/// True if blocks of all sizes can be had, hold their contents, and can be given back.
bool all_sizes_work() {
  std::vector<Block> blocks;
  bool good = true;
  for (size_t n = 1; n <= 100 * kMiB; n += n / 2 + 1) {
    void* const p = allocate(n);
    if (p == nullptr) return false;
    test::fill(p, n, n);
    blocks.push_back({p, n, n});
  }
  for (const Block& block : blocks) {
    good = good && test::holds(block.p, block.n, block.tag);
    deallocate(block.p);
  }
  return good;
}

TEST(MallocFault, EachCallOfAFreshProcessMayBeTheLast) {
  // In children, so that each starts with no heap at all (in a run of this test alone).
  const long most = test::kSanitized ? 40 : 120;
  for (long n = 0; n < most; ++n) {
    const int status = test::in_child([n] {
      Work work(static_cast<uint64_t>(n));
      os::fail_after(n);
      CHILD_CHECK(work.run(120));
      os::fail_after(-1);
      CHILD_CHECK(all_sizes_work());
      CHILD_CHECK(work.run(120));
      CHILD_CHECK(work.give_all_back());
      heap.verify();
      return 0;
    });
    ASSERT_EQ(status, 0) << "after " << n << " calls; TRI_SEED=" << test::seed();
  }
}

TEST(MallocFault, EachCallOfARunningProcessMayBeTheLast) {
  test::warm_up();
  const uint64_t used = test::used_bytes();
  for (long n = 0; n < static_cast<long>(test::rounds(200)); ++n) {
    Work work(1000 + static_cast<uint64_t>(n));
    ASSERT_TRUE(work.run(50));
    {
      test::Faults faults(n);
      ASSERT_TRUE(work.run(100));
    }
    ASSERT_TRUE(work.run(50));
    ASSERT_TRUE(work.give_all_back());
    test::drop_caches();
    heap.verify();
    current_mcache()->verify();
  }
  EXPECT_TRUE(all_sizes_work());
  test::drop_caches();
  // A current span of each class at most.
  EXPECT_LE(test::used_bytes() - used, kSizeClasses * size_t{256} * 1024);
  EXPECT_EQ(counters->huge_bytes.load(), 0U);
}

TEST(MallocFault, FailuresComeAndGo) {
  test::warm_up();
  test::Random random(77);
  Work work(78);
  for (size_t round = 0; round < test::rounds(400); ++round) {
    os::fail_after(random.one_in(2) ? -1 : static_cast<long>(random.below(6)));
    ASSERT_TRUE(work.run(40));
  }
  os::fail_after(-1);
  ASSERT_TRUE(all_sizes_work());
  ASSERT_TRUE(work.give_all_back());
  heap.verify();
}

TEST(MallocFault, ThreadsMayFailToo) {
  for (long n = 0; n < static_cast<long>(test::rounds(40)); ++n) {
    os::fail_after(n);
    test::in_threads(3, [n](size_t t) {
      Work work(static_cast<uint64_t>(n) * 3 + t);
      if (!work.run(200)) ADD_FAILURE() << "with memory refused";
      if (!work.give_all_back()) ADD_FAILURE() << "when all was freed";
    });
    os::fail_after(-1);
    test::in_threads(2, [](size_t) {
      if (!all_sizes_work()) ADD_FAILURE() << "when there was memory again";
    });
  }
  heap.verify();
}

TEST(MallocFault, QuestionsNeedNoMemory) {
  test::warm_up();
  void* const small = allocate(100);
  void* const huge = allocate(40 * kMiB);
  test::Faults faults(0);
  EXPECT_EQ(usable_size(small), 112U);
  EXPECT_EQ(block_start(test::at(huge, kMiB)), huge);
  EXPECT_EQ(usable_size(huge), 40 * kMiB);
  EXPECT_TRUE(resize_in_place(huge, 20 * kMiB));  // to shrink is always possible
  EXPECT_EQ(reallocate(huge, 10 * kMiB), huge);
  EXPECT_EQ(reallocate(small, 105), small);
  deallocate(huge);
  deallocate(small);
}

TEST(MallocFault, CachesAreGivenUpBeforeTheAnswerIsNull) {
  // All memory of the arenas is free, but kept by this thread for blocks of another size.
  test::warm_up();
  std::vector<void*> blocks;
  {
    test::Faults faults(0);
    while (void* p = allocate(1000)) blocks.push_back(p);
    for (void* p : blocks) deallocate(p);
    void* const large = allocate(300'000);
    EXPECT_TRUE(large != nullptr || blocks.size() < 1000);
    deallocate(large);
  }
}

}  // namespace
}  // namespace tri
