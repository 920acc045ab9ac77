// arena_test.cc - Tests of the pagemap in alloc/arena.h.
#include "alloc/arena.h"

#include <sys/resource.h>

#include "tests/alloc/support.h"

namespace tri {
namespace {

char* address(size_t n) { return reinterpret_cast<char*>(n); }

bool prepare(const void* p, size_t bytes) {
  LockGuard guard(heap.lock());
  return pagemap::prepare(p, bytes);
}

/// A slot far from everything that the kernel would map, a new one each time.
char* far_slot() {
  static size_t next = size_t{1} << 44;
  next += 3 * kArenaBytes;
  return address(next);
}

class PagemapTest : public ::testing::Test {
 protected:
  void SetUp() override { test::warm_up(); }
};

TEST_F(PagemapTest, NearWindowIsAroundTheFirstArena) {
  auto* block = static_cast<char*>(allocate(100));
  size_t index = 0;
  EXPECT_TRUE(pagemap::is_near(block, &index));
  EXPECT_LT(index, pagemap::near_pages);
  EXPECT_EQ(pagemap::near_span(index), pagemap::lookup(block));
  EXPECT_TRUE(is_aligned(pagemap::near_base, kArenaBytes));
  EXPECT_EQ(pagemap::near_pages * kPageSize, pagemap::kNearBytes);
  deallocate(block);
}

TEST_F(PagemapTest, LeadsFromEveryByteOfABlockToItsSpan) {
  auto* block = static_cast<char*>(allocate(3000));
  Span* const s = pagemap::lookup(block);
  ASSERT_NE(s, &null_span);
  for (size_t i = 0; i < 3000; ++i) ASSERT_EQ(pagemap::find(block + i), s);
  EXPECT_EQ(pagemap::arena_of(block)->address(pagemap::arena_of(block)->page_of(s->start)), s->start);
  deallocate(block);
}

TEST_F(PagemapTest, LeadsFromOtherAddressesToNone) {
  int on_stack = 0;
  static int in_data = 0;
  for (const void* p :
       {static_cast<const void*>(nullptr), static_cast<const void*>(&on_stack), static_cast<const void*>(&in_data),
        static_cast<const void*>(address(1)), static_cast<const void*>(address(SIZE_MAX)),
        static_cast<const void*>(address(size_t{1} << 47)), static_cast<const void*>(address((size_t{1} << 47) - 1)),
        static_cast<const void*>(address(size_t{1} << 63))}) {
    EXPECT_EQ(pagemap::lookup(p), &null_span) << p;
    EXPECT_EQ(pagemap::find(p), nullptr) << p;
    EXPECT_EQ(pagemap::arena_of(p), nullptr) << p;
  }
}

TEST_F(PagemapTest, AnswersForAnyBitPattern) {
  test::Random random;
  for (size_t i = 0; i < test::rounds(1'000'000); ++i) {
    // All 64 bits, the lower 48, and around the ends of the near window.
    uint64_t n = random.next();
    if (i % 3 == 1) n >>= 16;
    if (i % 3 == 2)
      n = pagemap::near_base + (random.one_in(2) ? pagemap::near_pages * kPageSize : 0) + n % 65536 - 32768;
    Span* const s = pagemap::lookup(address(n));
    ASSERT_NE(s, nullptr);
    ASSERT_TRUE(s == &null_span || s->contains(address(n)));
    if (i % 50 != 0) continue;  // it looks at many pages
    Span* const found = pagemap::find(address(n));
    ASSERT_TRUE(found == nullptr || found->contains(address(n)));
  }
}

TEST_F(PagemapTest, HoldsEntriesForEachPageOfAFarSlot) {
  char* const slot = far_slot();
  std::vector<Span> spans(3);
  ASSERT_TRUE(prepare(slot, kArenaBytes));
  EXPECT_EQ(pagemap::lookup(slot), &null_span);
  for (size_t i = 0; i < kArenaPages; ++i) pagemap::set(slot + i * kPageSize, 1, &spans[i % 3]);
  for (size_t i = 0; i < kArenaPages; ++i) {
    ASSERT_EQ(pagemap::lookup(slot + i * kPageSize), &spans[i % 3]);
    ASSERT_EQ(pagemap::lookup(slot + i * kPageSize + kPageSize - 1), &spans[i % 3]);
  }
  EXPECT_EQ(pagemap::lookup(slot - 1), &null_span);
  EXPECT_EQ(pagemap::lookup(slot + kArenaBytes), &null_span);
  pagemap::clear(slot, kArenaPages);
  for (size_t i = 0; i < kArenaPages; ++i) ASSERT_EQ(pagemap::lookup(slot + i * kPageSize), &null_span);
}

TEST_F(PagemapTest, HoldsEntriesInTheNearWindow) {
  // Address space of our own, so that no arena comes to lie there.
  auto* p = static_cast<char*>(os::reserve(kArenaBytes, kArenaBytes));
  ASSERT_NE(p, nullptr);
  size_t index;
  ASSERT_TRUE(pagemap::is_near(p, &index)) << "the kernel maps just below the last mapping";
  Span span;
  span.kind = SpanKind::kLarge;
  ASSERT_TRUE(prepare(p, kArenaBytes));
  pagemap::set(p, kArenaPages, &span);
  EXPECT_EQ(pagemap::lookup(p), &span);
  EXPECT_EQ(pagemap::lookup(p + kArenaBytes - 1), &span);
  EXPECT_NE(pagemap::lookup(p - 1), &span);
  EXPECT_NE(pagemap::lookup(p + kArenaBytes), &span);
  pagemap::clear(p, kArenaPages);
  EXPECT_EQ(pagemap::lookup(p), &null_span);
  os::unmap(p, kArenaBytes);
}

TEST_F(PagemapTest, KnowsTheArenaOfASlot) {
  char* const slot = far_slot();
  EXPECT_EQ(pagemap::arena_of(slot), nullptr);
  ASSERT_TRUE(prepare(slot + kPageSize, kPageSize));
  EXPECT_EQ(pagemap::arena_of(slot), nullptr);
  static Arena arena;
  arena.base = slot;
  pagemap::set_arena(&arena);
  EXPECT_EQ(pagemap::arena_of(slot), &arena);
  EXPECT_EQ(pagemap::arena_of(slot + kArenaBytes - 1), &arena);
  EXPECT_EQ(pagemap::arena_of(slot + kArenaBytes), nullptr);
  EXPECT_EQ(arena.page_of(slot + 5 * kPageSize + 3), 5U);
}

TEST_F(PagemapTest, RefusesAddressesAboveTheUsersHalf) {
  EXPECT_FALSE(prepare(address(size_t{1} << arch::kAddressBits), kPageSize));
  EXPECT_FALSE(prepare(address(SIZE_MAX - kPageSize + 1), kPageSize));
}

TEST_F(PagemapTest, SurvivesARefusalOfMemory) {
  char* const slot = far_slot();
  for (long n = 0;; ++n) {
    ASSERT_LT(n, 10);
    test::Faults faults(n);
    const bool done = prepare(slot, kArenaBytes);
    EXPECT_EQ(pagemap::lookup(slot), &null_span);
    if (done) break;
  }
  Span span;
  pagemap::set(slot, 1, &span);
  EXPECT_EQ(pagemap::lookup(slot), &span);
  pagemap::clear(slot, 1);
}

TEST_F(PagemapTest, FindsSpansFromPagesWithoutAnEntry) {
  // A span of the largest class: one block is carved, and only the page that it starts in has an entry.
  char* const slot = far_slot();
  ASSERT_TRUE(prepare(slot, kArenaBytes));
  Span s;
  s.start = slot + 16 * kPageSize;
  s.bytes = 32 * kPageSize;
  s.kind = SpanKind::kSmall;
  pagemap::set(s.start, 1, &s);
  for (size_t page = 0; page <= kMaxSmallSize / kPageSize; ++page) {
    EXPECT_EQ(pagemap::find(s.start + page * kPageSize + 7), &s) << page;
  }
  EXPECT_EQ(pagemap::find(s.start - 1), nullptr);
  // Behind its end there is another span's page at most.
  s.bytes = 2 * kPageSize;
  EXPECT_EQ(pagemap::find(s.start + kPageSize), &s);
  EXPECT_EQ(pagemap::find(s.start + 2 * kPageSize), nullptr);
  pagemap::clear(s.start, 1);
}

#if !TRI_TEST_SANITIZED  // A sanitizer takes more address space than the limit.
TEST(Pagemap, FitsIntoALimitedAddressSpace) {
  // In a child of its own, before it has a heap (in a run of one test; else the window is there already).
  constexpr size_t kRoom = size_t{256} << 20;
  const int status = test::in_child([] {
    char text[64];
    CHILD_CHECK(os::read_file("/proc/self/statm", text, sizeof text) > 0);
    const size_t bytes_now = strtoull(text, nullptr, 10) * os::page_size();
    const rlimit limit{bytes_now + kRoom, bytes_now + kRoom};
    CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    std::vector<void*> blocks;
    size_t bytes = 0;
    size_t near = 0;
    while (void* p = allocate(100'000)) {
      size_t index;
      near += pagemap::is_near(p, &index) ? 1U : 0U;
      test::fill(p, 100'000, bytes);
      CHILD_CHECK(pagemap::lookup(p)->start == p);
      blocks.push_back(p);
      bytes += 100'000;
    }
    // Most of it went to blocks.
    CHILD_CHECK(bytes > kRoom / 2);
    // And is where free() is fast: the kernel places later arenas below the first.
    CHILD_CHECK(near > blocks.size() / 2);
    for (size_t i = 0; i < blocks.size(); ++i) {
      CHILD_CHECK(test::holds(blocks[i], 100'000, i * 100'000));
      deallocate(blocks[i]);
    }
    return 0;
  });
  EXPECT_EQ(status, 0);
}
#endif

}  // namespace
}  // namespace tri
