// mcache_test.cc - Tests of alloc/mcache.h through the calling thread's own.
#include "alloc/mcache.h"

#include <algorithm>
#include <map>

#include "tests/alloc/support.h"

namespace tri {
namespace {

class MCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
  }
  void TearDown() override {
    test::drop_caches();
    current_mcache()->verify();
    heap.verify();
  }
  /// Spans in use beyond those at the start.
  int64_t used() const { return static_cast<int64_t>(test::used_bytes() - used_); }
  static Span* span_of(const void* p) { return pagemap::lookup(p); }

 private:
  uint64_t used_ = 0;
};

/// All blocks of some span of the class, which is the current one.
std::vector<void*> fill_a_span(size_t size) {
  std::map<Span*, std::vector<void*>> by_span;
  for (;;) {
    void* const p = allocate(size);
    Span* const s = pagemap::lookup(p);
    std::vector<void*>& blocks = by_span[s];
    blocks.push_back(p);
    if (blocks.size() != s->capacity()) continue;
    for (const auto& [other, theirs] : by_span) {
      if (other == s) continue;
      for (void* q : theirs) deallocate(q);
    }
    return blocks;
  }
}

TEST_F(MCacheTest, AllClassesHaveTheEmptySpanAtFirst) {
  const MCache fresh;
  for (const Span* s : fresh.direct) EXPECT_EQ(s, &empty_span);
  for (const Span* s : fresh.current) EXPECT_EQ(s, &empty_span);
}

TEST_F(MCacheTest, DirectTableLeadsToTheCurrentSpanOfEachSize) {
  for (size_t n = 0; n <= kMaxDirectSize; ++n) deallocate(allocate(n));
  const MCache* const mine = current_mcache();
  for (size_t n = 0; n <= kMaxDirectSize; ++n) {
    ASSERT_EQ(mine->direct[direct_index(n)], mine->current[size_class(n)]) << n;
    ASSERT_NE(mine->direct[direct_index(n)], &empty_span);
  }
}

TEST_F(MCacheTest, BlockFreedLastIsAllocatedFirst) {
  for (const size_t n : {size_t{1}, size_t{100}, size_t{1024}, size_t{5000}, kMaxSmallSize}) {
    void* const a = allocate(n);
    void* const b = allocate(n);
    EXPECT_NE(a, b);
    deallocate(a);
    deallocate(b);
    EXPECT_EQ(allocate(n), b);
    EXPECT_EQ(allocate(n), a);
    deallocate(a);
    deallocate(b);
  }
}

TEST_F(MCacheTest, ASpanGoesFromCurrentToFullToPartialAndBack) {
  const std::vector<void*> blocks = fill_a_span(1000);
  Span* const s = span_of(blocks[0]);
  EXPECT_EQ(s->place, SpanPlace::kCurrent);
  EXPECT_EQ(s->free, kNil);
  void* const next = allocate(1000);
  ASSERT_NE(span_of(next), s);
  EXPECT_EQ(s->place, SpanPlace::kFull);
  deallocate(blocks[0]);
  EXPECT_EQ(s->place, SpanPlace::kPartial);
  EXPECT_EQ(s->countdown, static_cast<int32_t>(blocks.size() - 1));
  deallocate(blocks[1]);
  EXPECT_EQ(s->countdown, static_cast<int32_t>(blocks.size() - 2));
  s->verify();
  // When the new span is used up, the old one with room comes first, or another that had room before.
  std::vector<void*> more;
  while (s->place != SpanPlace::kCurrent) {
    more.push_back(allocate(1000));
    ASSERT_LT(more.size(), 100'000U);
  }
  for (size_t i = 2; i < blocks.size(); ++i) deallocate(blocks[i]);
  for (void* p : more) deallocate(p);
  deallocate(next);
}

TEST_F(MCacheTest, EmptySpansAreKeptToABoundAndThenGoBack) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100'000; ++i) blocks.push_back(allocate(256));  // 25 MiB
  EXPECT_GE(used(), 25'000'000);
  for (void* p : blocks) deallocate(p);
  EXPECT_LE(used(), 2 * 1024 * 1024);
  EXPECT_LE(current_mcache()->empty_bytes, size_t{128} * 1024);
  test::drop_caches();
  EXPECT_EQ(current_mcache()->empty_bytes, 0U);
  EXPECT_LE(used(), 64 * 1024);  // the current one
}

TEST_F(MCacheTest, ReleaseReturnsEmptySpansAndKeepsTheOthers) {
  // A span here and there keeps one block.
  std::vector<void*> blocks;
  for (int i = 0; i < 20'000; ++i) blocks.push_back(allocate(512));
  std::vector<void*> kept;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (i % 1000 == 0) {
      test::fill(blocks[i], 512, i);
      kept.push_back(blocks[i]);
    } else {
      deallocate(blocks[i]);
    }
  }
  test::drop_caches();
  std::vector<Span*> spans;
  for (void* p : kept) spans.push_back(span_of(p));
  std::sort(spans.begin(), spans.end());
  spans.erase(std::unique(spans.begin(), spans.end()), spans.end());
  const size_t bytes = class_span_pages(size_class(512)) * kPageSize;
  EXPECT_LE(used(), static_cast<int64_t>((spans.size() + 1) * bytes));
  EXPECT_GE(used(), static_cast<int64_t>((spans.size() - 1) * bytes));
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(test::holds(kept[i], 512, i * 1000));
    deallocate(kept[i]);
  }
}

TEST_F(MCacheTest, EachClassUsesAllOfASpanBeforeTheNext) {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    const std::vector<void*> blocks = fill_a_span(class_size(c));
    ASSERT_EQ(blocks.size(), class_capacity(c));
    for (void* p : blocks) {
      ASSERT_EQ(span_of(p), span_of(blocks[0]));
      deallocate(p);
    }
    test::drop_caches();
  }
}

TEST_F(MCacheTest, TheShareOfEachThreadShrinksWithTheirNumber) {
  EXPECT_EQ(fair_share(1000, 10), 10U);
  const size_t alone = fair_share(1'000'000, SIZE_MAX);
  EXPECT_LE(alone, 1'000'000U);
  test::Barrier ready(4);
  test::Barrier done(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      deallocate(allocate(100));
      ready.wait();
      done.wait();
    });
  }
  ready.wait();
  const size_t shared = fair_share(1'000'000, SIZE_MAX);
  EXPECT_LT(shared, alone / 2);
  EXPECT_GE(shared, alone / 8);
  done.wait();
  for (std::thread& t : threads) t.join();
}

TEST_F(MCacheTest, VerifyingFindsNothingAfterRandomWork) {
  test::Random random;
  std::vector<void*> blocks;
  for (size_t step = 0; step < test::rounds(100'000); ++step) {
    if (blocks.size() > 3000 || (!blocks.empty() && random.one_in(2))) {
      const size_t i = random.below(blocks.size());
      deallocate(blocks[i]);
      blocks[i] = blocks.back();
      blocks.pop_back();
    } else {
      blocks.push_back(allocate(random.size_up_to(kMaxSmallSize)));
    }
    if (step % 1000 == 0) current_mcache()->verify();
  }
  for (void* p : blocks) deallocate(p);
  current_mcache()->verify();
}

}  // namespace
}  // namespace tri
