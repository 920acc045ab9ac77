// span_test.cc - Tests of alloc/span.h, for each size class.
#include "alloc/span.h"

#include <algorithm>
#include <set>

#include "tests/alloc/support.h"

namespace tri {
namespace {

/// A small span fresh from the heap, and back.
class FreshSpan {
 public:
  explicit FreshSpan(unsigned size_class) : span_(heap.alloc_small(size_class, cache_)) {}
  ~FreshSpan() {
    if (span_ != nullptr) heap.free(span_);
    heap.flush(cache_);
  }
  FreshSpan(const FreshSpan&) = delete;
  FreshSpan& operator=(const FreshSpan&) = delete;
  Span* operator->() const { return span_; }
  Span& operator*() const { return *span_; }
  Span* get() const { return span_; }

 private:
  PageCache cache_;
  Span* span_;
};

class SpanTest : public ::testing::Test {
 protected:
  void SetUp() override { test::warm_up(); }

  /// Calls fn with a fresh span of each class in turn.
  template <class Fn>
  static void each_class(Fn&& fn) {
    for (unsigned c = 0; c < kSizeClasses; ++c) {
      SCOPED_TRACE("class of " + std::to_string(class_size(c)));
      FreshSpan s(c);
      ASSERT_NE(s.get(), nullptr);
      fn(s, class_size(c));
      if (HasFatalFailure()) return;
    }
  }
};

TEST_F(SpanTest, BeginsWithNothingCarved) {
  each_class([](FreshSpan& s, size_t size) {
    EXPECT_EQ(s->kind, SpanKind::kSmall);
    EXPECT_EQ(s->size, size);
    EXPECT_EQ(s->capacity(), class_capacity(s->size_class));
    EXPECT_EQ(s->free, kNil);
    EXPECT_EQ(s->free_length(), 0U);
    EXPECT_FALSE(s->fully_carved());
    EXPECT_EQ(pagemap::lookup(s->start), &null_span);
    EXPECT_TRUE(test::aligned_to(s->start, kPageSize));
    s->verify();
  });
}

TEST_F(SpanTest, CarvesAllBlocksAlignedDisjointAndInBounds) {
  each_class([](FreshSpan& s, size_t size) {
    size_t carved = 0;
    while (s->carve()) {
      // More each time, in order of address, and no page further than needed is in the pagemap.
      ASSERT_GT(s->carved, carved);
      ASSERT_EQ(s->free_length(), s->carved - carved);
      ASSERT_EQ(pagemap::lookup(s->block_at(s->free)), s.get());
      char* const last = s->block_at(uint64_t{s->carved} * size);
      ASSERT_EQ(pagemap::lookup(last), s.get());
      ASSERT_EQ(static_cast<size_t>(last - s->start) / kPageSize + 1, s->mapped_pages);
      s->verify();
      char* before = nullptr;
      while (char* block = static_cast<char*>(pop(s.get()))) {
        ASSERT_GE(block, s->start);
        ASSERT_LE(block + size, s->end());
        ASSERT_EQ(static_cast<size_t>(block - s->origin), ++carved * size);
        ASSERT_TRUE(test::aligned_to(block, std::min(size & (~size + 1), kPageSize)));
        ASSERT_TRUE(before == nullptr || block == before + size);
        before = block;
      }
    }
    EXPECT_EQ(carved, s->capacity());
    EXPECT_TRUE(s->fully_carved());
    EXPECT_EQ(s->block_at(s->limit()) + size, s->end());
    s->verify();
  });
}

TEST_F(SpanTest, KnowsItsBlocksFromOtherOffsets) {
  each_class([](FreshSpan& s, size_t size) {
    for (uint64_t offset = 0; offset <= s->limit() + 2 * size; ++offset) {
      ASSERT_EQ(s->is_block(offset), offset != 0 && offset % size == 0 && offset <= s->limit()) << offset;
    }
    // And what pointers in front of the origin, and any word, decode to.
    test::Random random(s->size_class);
    for (int i = 0; i < 100'000; ++i) {
      const uint64_t offset = i < 50'000 ? ~static_cast<uint64_t>(i) : random.next();
      ASSERT_EQ(s->is_block(offset), offset != 0 && offset % size == 0 && offset <= s->limit()) << offset;
    }
  });
}

TEST_F(SpanTest, SplicesChainsInFrontOfTheFreeList) {
  each_class([](FreshSpan& s, size_t size) {
    while (s->carve()) {
    }
    // All blocks are taken off; every third comes back in one chain, then the rest one by one.
    std::vector<char*> blocks;
    for (uint64_t i = 1; i <= s->capacity(); ++i) blocks.push_back(s->block_at(i * size));
    s->free = kNil;
    uint64_t head = kNil;
    uint64_t tail = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < blocks.size(); i += 3) {
      const uint64_t offset = s->offset_of(blocks[i]);
      s->store_link(blocks[i], head);
      if (head == kNil) tail = offset;
      head = offset;
      ++count;
    }
    s->splice(RemoteChain::make(head, tail, count));
    EXPECT_EQ(s->free_length(), count);
    s->verify();
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (i % 3 == 0) continue;
      const uint64_t offset = s->offset_of(blocks[i]);
      s->splice(RemoteChain::make(offset, offset, 1));
    }
    EXPECT_EQ(s->free_length(), s->capacity());
    s->verify();
    std::set<void*> seen;
    while (void* p = pop(s.get())) ASSERT_TRUE(seen.insert(p).second);
    EXPECT_EQ(seen.size(), s->capacity());
  });
}

TEST_F(SpanTest, RemoteChainsHoldEveryOffset) {
  each_class([](FreshSpan& s, size_t size) {
    for (uint64_t i = 1; i <= s->capacity(); ++i) {
      const RemoteChain chain = RemoteChain::make(i * size, (s->capacity() + 1 - i) * size, i);
      ASSERT_EQ(chain.head(), i * size);
      ASSERT_EQ(chain.tail(), (s->capacity() + 1 - i) * size);
      ASSERT_EQ(chain.count, i);
    }
  });
}

TEST_F(SpanTest, PopsInTheReverseOrderOfPushes) {
  each_class([](FreshSpan& s, size_t size) {
    ASSERT_TRUE(s->carve());
    void* const a = pop(s.get());
    // A word that looks like a link is cleared on the way out.
    EXPECT_EQ(*static_cast<uint64_t*>(a), 0U);
    test::fill(a, size, 1);
    s->store_link(a, s->free);
    s->free = s->offset_of(a);
    EXPECT_EQ(pop(s.get()), a);
    EXPECT_EQ(*static_cast<uint64_t*>(a), 0U);
  });
}

TEST_F(SpanTest, StopsAtALinkThatIsNone) {
  each_class([](FreshSpan& s, size_t) {
    while (s->carve()) {
    }
    const uint64_t all = s->free_length();
    char* const first = s->block_at(s->free);
    const uint64_t saved = s->load_link(first);
    *reinterpret_cast<uint64_t*>(first) = 0x4141414141414141;
    EXPECT_LE(s->free_length(), 1U);
    EXPECT_EQ(pop(s.get()), nullptr);
    s->store_link(first, saved);
    EXPECT_EQ(s->free_length(), all);
  });
}

TEST(Span, KeysDiffer) {
  FreshSpan a(0);
  FreshSpan b(0);
  EXPECT_NE(a->key, b->key);
  EXPECT_NE(a->key >> 32, b->key >> 32);
  // A freed block does not tell where its neighbours are.
  ASSERT_TRUE(a->carve());
  const uint64_t word = *reinterpret_cast<uint64_t*>(a->block_at(a->free));
  EXPECT_GT(word, a->limit());
}

TEST(Span, EmptyAndNullSpanSendEverybodyToTheSlowPath) {
  EXPECT_EQ(pop(&empty_span), nullptr);
  EXPECT_EQ(null_span.kind, SpanKind::kNone);
  EXPECT_NE(null_span.owner_tp.load(), arch::thread_pointer());
  EXPECT_FALSE(null_span.is_block(0));
  EXPECT_FALSE(null_span.is_block(16));
}

TEST(SpanDeathTest, VerifyNoticesABrokenList) {
  FreshSpan s(3);
  ASSERT_TRUE(s->carve());
  s->verify();
  const uint64_t first = s->free;
  s->store_link(s->block_at(first), first);  // a circle
  EXPECT_DEATH(s->verify(), "tri: check failed: n < carved");
  s->store_link(s->block_at(first), first + 1);
  EXPECT_DEATH(s->verify(), "tri: check failed: is_block\\(offset\\)");
  s->store_link(s->block_at(first), s->limit());
  EXPECT_DEATH(s->verify(), "tri: check failed: offset <= ");
  s->free = kNil;
}

}  // namespace
}  // namespace tri
