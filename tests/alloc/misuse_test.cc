// misuse_test.cc - What alloc/misuse.h says, word for word, when a program misuses the heap.
#include "alloc/misuse.h"

#include <sys/mman.h>

#include <cerrno>
#include <memory>
#include <string>

#include "tests/alloc/support.h"

namespace tri {
namespace {

/// A pattern for "before POINTER after in PROGRAM[PID]" and nothing else.
std::string message(const std::string& before, const void* p, const std::string& after) {
  char address[32];
  snprintf(address, sizeof address, "%p", p);
  std::string out = "^";
  for (const char c : before + address + after + " in " + program_invocation_short_name) {
    if (strchr("()[].*+?", c) != nullptr) out += '\\';
    out += c;
  }
  return out + "\\[[0-9]+\\]\n";
}

#define EXPECT_ABORT(statement, before, p, after) \
  EXPECT_EXIT(statement, ::testing::KilledBySignal(SIGABRT), message(before, p, after))

class MisuseDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(kChecks) << "this build has no checks that could be tested";
    test::warm_up();
  }
};

// ---- freed twice ------------------------------------------------------------------------------

TEST_F(MisuseDeathTest, DoubleFreeOfASmallBlock) {
  for (const size_t n : {size_t{16}, size_t{64}, size_t{1000}, kMaxSmallSize}) {
    void* const p = allocate(n);
    void* const other = allocate(n);
    const std::string size_class = " (size class " + std::to_string(usable_size(p)) + ")";
    deallocate(p);
    EXPECT_ABORT(deallocate(p), "tri: double free of ", p, size_class);
    deallocate(other);
    EXPECT_ABORT(deallocate(p), "tri: double free of ", p, size_class);
    EXPECT_ABORT(deallocate_sized(p, n), "tri: double free of ", p, size_class);
    EXPECT_ABORT((void)reallocate(p, 5000), "tri: realloc of freed block ", p, size_class);
  }
}

TEST_F(MisuseDeathTest, DoubleFreeOfTheLastBlockOfAList) {
  // Its link is 0: no block follows.
  void* const p = allocate(64);
  Span* const s = pagemap::lookup(p);
  std::vector<void*> blocks;
  while (s->has_free()) blocks.push_back(allocate(64));
  deallocate(p);
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (size class 64)");
  for (void* block : blocks) deallocate(block);
}

TEST_F(MisuseDeathTest, DoubleFreeOfAnotherThreadsBlock) {
  std::vector<void*> blocks;
  test::Barrier step(2);
  std::thread owner([&] {
    for (int i = 0; i < 3; ++i) blocks.push_back(allocate(64));
    step.wait();
    step.wait();
  });
  step.wait();
  for (void* p : blocks) deallocate(p);
  ::testing::FLAGS_gtest_death_test_style = "fast";
  for (void* p : blocks) EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (size class 64)");
  step.wait();
  owner.join();
}

TEST_F(MisuseDeathTest, DoubleFreeAfterTheSpanWentBack) {
  void* const p = allocate(768);
  Span* const s = pagemap::lookup(p);
  // Another span becomes the current one, so that this one can go.
  std::vector<void*> blocks;
  while (s->place == SpanPlace::kCurrent) blocks.push_back(allocate(768));
  for (void* block : blocks) deallocate(block);
  deallocate(p);
  test::drop_caches();
  ASSERT_EQ(pagemap::lookup(p), &null_span);
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (size class 768)");
  EXPECT_ABORT((void)reallocate(p, 10), "tri: realloc of freed block ", p, " (size class 768)");
}

TEST_F(MisuseDeathTest, DoubleFreeOfAHugeBlock) {
  deallocate(allocate(kMinHugeSize));
  void* const p = allocate(kMinHugeSize);
  deallocate(p);  // kept by the heap, since it was asked for again
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (large block)");
  EXPECT_ABORT((void)reallocate(p, 200'000), "tri: realloc of freed block ", p, " (large block)");
  scavenger::purge_all();
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (large block)");
}

TEST_F(MisuseDeathTest, DoubleFreeOfALargeBlock) {
  void* const p = allocate(100'000);
  deallocate(p);  // kept by this thread
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (large block)");
  EXPECT_ABORT((void)reallocate(p, 200'000), "tri: realloc of freed block ", p, " (large block)");
  test::drop_caches();  // back in the heap
  EXPECT_ABORT(deallocate(p), "tri: double free of ", p, " (large block)");
  EXPECT_ABORT((void)reallocate(p, 200'000), "tri: realloc of freed block ", p, " (large block)");
}

// ---- not a block ------------------------------------------------------------------------------

TEST_F(MisuseDeathTest, PointerIntoASmallBlock) {
  char* const p = static_cast<char*>(allocate(100));  // class of 112
  EXPECT_ABORT(deallocate(p + 16), "tri: free of interior pointer ", p + 16,
               " (16 bytes into a block of size class 112)");
  EXPECT_ABORT(deallocate(p + 96), "tri: free of interior pointer ", p + 96,
               " (96 bytes into a block of size class 112)");
  EXPECT_ABORT(deallocate(p + 1), "tri: free of misaligned pointer ", p + 1,
               " (1 bytes into a block of size class 112)");
  EXPECT_ABORT((void)reallocate(p + 32, 1), "tri: realloc of interior pointer ", p + 32,
               " (32 bytes into a block of size class 112)");
  deallocate(p);
}

TEST_F(MisuseDeathTest, PointerIntoABlockLargerThanAPage) {
  // Its later pages have no entry of their own.
  char* const p = static_cast<char*>(allocate(kMaxSmallSize));
  for (const size_t into : {size_t{16}, size_t{9000}, size_t{32000}}) {
    const std::string kind = into % 16 == 0 ? "interior" : "misaligned";
    EXPECT_ABORT(deallocate(p + into), "tri: free of " + kind + " pointer ", p + into,
                 " (" + std::to_string(into) + " bytes into a block of size class 32768)");
  }
  deallocate(p);
}

TEST_F(MisuseDeathTest, PointerIntoALargeBlock) {
  char* const p = static_cast<char*>(allocate(100'000));  // 13 pages
  for (const size_t into : {size_t{16}, size_t{8192}, size_t{102'384}}) {
    EXPECT_ABORT(deallocate(p + into), "tri: free of interior pointer ", p + into,
                 " (" + std::to_string(into) + " bytes into a large block of 102400 bytes)");
  }
  EXPECT_ABORT((void)reallocate(p + 7, 1), "tri: realloc of misaligned pointer ", p + 7,
               " (7 bytes into a large block of 102400 bytes)");
  deallocate(p);
}

TEST_F(MisuseDeathTest, PointerIntoAHugeBlock) {
  constexpr size_t kBytes = size_t{40} << 20;
  char* const p = static_cast<char*>(allocate(kBytes));
  for (const size_t into : {size_t{16}, size_t{1} << 20, kBytes - 16}) {
    EXPECT_ABORT(deallocate(p + into), "tri: free of interior pointer ", p + into,
                 " (" + std::to_string(into) + " bytes into a large block of 41943040 bytes)");
  }
  deallocate(p);
}

TEST_F(MisuseDeathTest, PointerInFrontOfTheFirstBlockOfASpan) {
  // 16,384 is no multiple of 48: 16 bytes are left at the start.
  void* const p = allocate(48);
  char* const start = pagemap::lookup(p)->start;
  EXPECT_ABORT(deallocate(start), "tri: free of ", start, " which was never allocated (size class 48)");
  deallocate(p);
}

TEST_F(MisuseDeathTest, BlockThatWasNotHandedOutYet) {
  void* const p = allocate(kMaxSmallSize);
  Span* const s = pagemap::lookup(p);
  std::vector<void*> blocks;
  while (s->fully_carved() && blocks.size() < 100) blocks.push_back(allocate(kMaxSmallSize));
  Span* const t = blocks.empty() ? s : pagemap::lookup(blocks.back());
  ASSERT_FALSE(t->fully_carved());
  void* const next = t->block_at((uint64_t{t->carved} + 1) * t->size);
  EXPECT_ABORT(deallocate(next), "tri: free of ", next, " which was never allocated (size class 32768)");
  EXPECT_ABORT((void)reallocate(next, 1), "tri: realloc of ", next, " which was never allocated (size class 32768)");
  for (void* block : blocks) deallocate(block);
  deallocate(p);
}

TEST_F(MisuseDeathTest, PageOfAnArenaThatHoldsNoSpan) {
  void* const p = allocate(100);
  Arena* const arena = pagemap::arena_of(p);
  size_t page = kArenaPages;
  size_t size;
  while (page != 0 && (pagemap::find(arena->address(page - 1)) != nullptr ||
                       heap.was_freed_lately(arena->address(page - 1), &size))) {
    --page;
  }
  ASSERT_NE(page, 0U) << "the arena is full";
  char* const nothing = arena->address(page - 1);
  EXPECT_ABORT(deallocate(nothing), "tri: free of ", nothing, " which was never allocated");
  deallocate(p);
}

// ---- wrong size -------------------------------------------------------------------------------

TEST_F(MisuseDeathTest, SizeOfAnotherClass) {
  void* const p = allocate(100);
  EXPECT_ABORT(deallocate_sized(p, 113), "tri: free of ", p, " with wrong size 113 (size class 112)");
  EXPECT_ABORT(deallocate_sized(p, 96), "tri: free of ", p, " with wrong size 96 (size class 112)");
  EXPECT_ABORT(deallocate_sized(p, 0), "tri: free of ", p, " with wrong size 0 (size class 112)");
  EXPECT_ABORT(deallocate_sized(p, SIZE_MAX), "tri: free of ", p,
               " with wrong size 18446744073709551615 (size class 112)");
  EXPECT_ABORT(deallocate_aligned_sized(p, 100, 256), "tri: free of ", p, " with wrong size 100 (size class 112)");
  deallocate_sized(p, 97);
}

TEST_F(MisuseDeathTest, SizeOfALargeBlock) {
  void* const p = allocate(100'000);
  EXPECT_ABORT(deallocate_sized(p, 200'000), "tri: free of ", p, " with wrong size 200000 (large block)");
  EXPECT_ABORT(deallocate_sized(p, 100), "tri: free of ", p, " with wrong size 100 (large block)");
  deallocate_sized(p, 100'000);
}

// ---- written after it was freed ---------------------------------------------------------------

TEST_F(MisuseDeathTest, WriteAfterFree) {
  auto* const p = static_cast<uint64_t*>(allocate(64));
  deallocate(p);
  EXPECT_ABORT(
      {
        *p = 0x4141414141414141;
        (void)allocate(64);
      },
      "tri: block ", p, " was written after it was freed (size class 64)");
}

TEST_F(MisuseDeathTest, SmallChangeOfALinkAfterFree) {
  for (const uint64_t change : {uint64_t{1}, uint64_t{8}, uint64_t{64}, uint64_t{1} << 40, uint64_t{1} << 63}) {
    auto* const p = static_cast<uint64_t*>(allocate(64));
    void* const q = allocate(64);
    deallocate(q);
    deallocate(p);
    EXPECT_EXIT(
        {
          *p ^= change;
          (void)allocate(64);
        },
        ::testing::KilledBySignal(SIGABRT),
        "^tri: block 0x[0-9a-f]+ was written after it was freed \\(size class 64\\) in ");
  }
}

// ---- of other memory --------------------------------------------------------------------------

TEST_F(MisuseDeathTest, StackPointer) {
  alignas(16) int on_stack[4] = {};
  EXPECT_ABORT(deallocate(on_stack), "tri: free of stack pointer ", on_stack, "");
  EXPECT_ABORT((void)reallocate(on_stack, 5), "tri: realloc of stack pointer ", on_stack, "");
}

int in_data = 1;
int in_bss;

TEST_F(MisuseDeathTest, StaticPointer) {
  const std::string in_here = std::string(" (in ") + program_invocation_short_name + ")";
  EXPECT_ABORT(deallocate(&in_data), "tri: free of static pointer ", &in_data, in_here);
  if (!test::kSanitized) {
    EXPECT_ABORT(deallocate(&in_bss), "tri: free of static pointer ", &in_bss, in_here);
  }
}

TEST_F(MisuseDeathTest, WildPointer) {
  void* const unmapped = os::map(kArenaBytes, kArenaBytes);
  ASSERT_NE(unmapped, nullptr);
  os::unmap(unmapped, kArenaBytes);
  for (void* p : {reinterpret_cast<void*>(16), unmapped, reinterpret_cast<void*>(~uintptr_t{15})}) {
    EXPECT_ABORT(deallocate(p), "tri: free of wild pointer ", p, " (nothing is mapped there)");
  }
}

/// Memory that another allocator could own.
struct Foreign {
  explicit Foreign(size_t bytes = 4096)
      : n(bytes), p(mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  ~Foreign() { munmap(p, n); }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  size_t n;
  void* p;
};

TEST_F(MisuseDeathTest, ForeignPointerIsLeftAloneAndReportedOnce) {
  const Foreign first;
  const Foreign second;
  const std::string once = message("tri: free of foreign pointer ", first.p, " (left alone)");
  EXPECT_EXIT(
      {
        deallocate(first.p);
        deallocate(second.p);
        deallocate(first.p);
        _exit(0);
      },
      ::testing::ExitedWithCode(0), once + "$");
}

TEST_F(MisuseDeathTest, ForeignPointerInTheHoleOfAnArenaIsForeign) {
  void* const block = allocate(100);
  heap.release_free_addresses(0);
  // The kernel puts new mappings where they fit.
  std::vector<std::unique_ptr<Foreign>> pages;
  do {
    pages.push_back(std::make_unique<Foreign>(kArenaBytes / 4));
  } while (pagemap::arena_of(pages.back()->p) == nullptr && pages.size() < 100);
  void* const p = pages.back()->p;
  size_t size;
  ASSERT_NE(pagemap::arena_of(p), nullptr) << "the kernel went elsewhere";
  ASSERT_FALSE(heap.was_freed_lately(p, &size));
  EXPECT_EXIT(
      {
        deallocate(p);
        _exit(0);
      },
      ::testing::ExitedWithCode(0), message("tri: free of foreign pointer ", p, " (left alone)"));
  deallocate(block);
}

int passed_on = 0;
NextAllocator next_allocator() {
  return {[](void*) { ++passed_on; },
          [](void* p, size_t n) -> void* {
            ++passed_on;
            return n == 77 ? p : nullptr;
          },
          nullptr};
}

TEST_F(MisuseDeathTest, ForeignPointerGoesToTheNextAllocatorIfThatChecks) {
  const Foreign foreign;
  EXPECT_EXIT(
      {
        set_next_allocator(&next_allocator);
        misuse::set_next_allocator_probe([] { return true; });
        deallocate(foreign.p);
        deallocate(foreign.p);
        void* const moved = reallocate(foreign.p, 77);
        _exit(passed_on * 10 + (moved == foreign.p ? 1 : 0));
      },
      ::testing::ExitedWithCode(31),
      message("tri: free of foreign pointer ", foreign.p, " (passed on to the next allocator)"));
  EXPECT_EXIT(
      {
        set_next_allocator(&next_allocator);
        misuse::set_next_allocator_probe([] { return false; });
        CHILD_CHECK(reallocate(foreign.p, 77) == nullptr);
        _exit(passed_on);
      },
      ::testing::ExitedWithCode(0), message("tri: realloc of foreign pointer ", foreign.p, " (left alone)"));
}

TEST_F(MisuseDeathTest, MemoryAboveTheBreakGoesToTheNextAllocator) {
  void* const p = sbrk(4096);
  ASSERT_NE(p, reinterpret_cast<void*>(-1)) << "the break cannot be moved here";
  EXPECT_EXIT(
      {
        set_next_allocator(&next_allocator);
        deallocate(p);
        _exit(passed_on);
      },
      ::testing::ExitedWithCode(1), message("tri: free of foreign pointer ", p, " (passed on to the next allocator)"));
}

// ---- switched off -----------------------------------------------------------------------------

TEST_F(MisuseDeathTest, SwitchedOffItDropsTheOperationAndSaysNothing) {
  EXPECT_EXIT(
      {
        misuse::set_enabled(false);
        CHILD_CHECK(!misuse::enabled());
        char* const p = static_cast<char*>(allocate(64));
        char* const large = static_cast<char*>(allocate(100'000));
        test::fill(p, 64, 1);
        test::fill(large, 100'000, 2);
        deallocate(p + 16);
        deallocate(large + 16);
        CHILD_CHECK(reallocate(p + 16, 100) == nullptr);
        CHILD_CHECK(reallocate(large + 16, 200'000) == nullptr);
        CHILD_CHECK(test::holds(p, 64, 1));
        CHILD_CHECK(test::holds(large, 100'000, 2));
        deallocate(p);
        deallocate(p);
        deallocate(large);
        deallocate(large);
        deallocate(reinterpret_cast<void*>(0x8000));
        int on_stack = 0;
        deallocate(&on_stack);
        // Freed twice, handed out once.
        void* const a = allocate(64);
        void* const b = allocate(64);
        CHILD_CHECK(a != b);
        void* const c = allocate(100'000);
        void* const d = allocate(100'000);
        CHILD_CHECK(c != d);
        deallocate_sized(a, 5000);
        // A broken list ends where it is broken.
        *static_cast<uint64_t*>(a) = 0x4141414141414141;
        for (int i = 0; i < 3000; ++i) CHILD_CHECK(allocate(64) != b);
        _exit(0);
      },
      ::testing::ExitedWithCode(0), "^$");
}

TEST_F(MisuseDeathTest, NullIsNoMisuse) {
  deallocate(nullptr);
  deallocate_sized(nullptr, 100);
  deallocate_aligned_sized(nullptr, 100, 64);
  EXPECT_EQ(usable_size(nullptr), 0U);
}

}  // namespace
}  // namespace tri
