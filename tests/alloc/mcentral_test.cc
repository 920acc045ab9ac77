// mcentral_test.cc - Tests of alloc/mcentral.h, on lists of their own.
#include "alloc/mcentral.h"

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr unsigned kClass = 20;

class MCentralTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
  }
  void TearDown() override {
    heap.flush(cache_);
    EXPECT_EQ(central_.spans(), 0U);
    EXPECT_EQ(test::used_bytes(), used_);
    heap.verify();
  }

  /// A span all of whose blocks are carved, `in_use` of them taken; the taken ones to *blocks.
  Span* span_with(uint32_t in_use, std::vector<char*>* blocks) {
    Span* const s = heap.alloc_small(kClass, cache_);
    EXPECT_NE(s, nullptr);
    for (uint32_t n = 0; n < in_use; ++n) {
      char* block = static_cast<char*>(pop(s));
      if (block == nullptr) {
        EXPECT_TRUE(s->carve());
        block = static_cast<char*>(pop(s));
      }
      blocks->push_back(block);
    }
    return s;
  }

  /// Chains blocks as a thread that frees them would.
  static RemoteChain chain_of(Span* s, const std::vector<char*>& blocks) {
    uint64_t head = kNil;
    for (char* block : blocks) {
      s->store_link(block, head);
      head = s->offset_of(block);
    }
    return RemoteChain::make(head, s->offset_of(blocks.front()), blocks.size());
  }

  MCentral central_;
  MCache owner_;
  PageCache cache_;
  uint64_t used_ = 0;
};

TEST_F(MCentralTest, HasNothingAtFirst) { EXPECT_EQ(central_.take(&owner_, 1), nullptr); }

TEST_F(MCentralTest, GivesASpanWithRoomToItsNextOwner) {
  std::vector<char*> blocks;
  Span* const s = span_with(3, &blocks);
  s->owner.store(&owner_);
  s->owner_tp.store(77);
  central_.put(s, 3);
  EXPECT_EQ(central_.spans(), 1U);
  EXPECT_EQ(s->owner.load(), nullptr);
  EXPECT_EQ(s->owner_tp.load(), 0U);
  EXPECT_EQ(s->place, SpanPlace::kPartial);
  EXPECT_EQ(central_.take(&owner_, 78), s);
  EXPECT_EQ(s->owner.load(), &owner_);
  EXPECT_EQ(s->owner_tp.load(), 78U);
  EXPECT_EQ(central_.spans(), 0U);
  EXPECT_EQ(central_.take(&owner_, 78), nullptr);
  // It has an owner now, so blocks are not its mcentral's to free.
  EXPECT_FALSE(central_.free_chain(s, chain_of(s, blocks)));
  EXPECT_FALSE(central_.collect_remote(s));
  s->owner.store(nullptr);
  s->owner_tp.store(0);
  heap.free(s);
}

TEST_F(MCentralTest, KeepsAFullSpanUntilABlockComesBack) {
  std::vector<char*> blocks;
  Span* const s = span_with(class_capacity(kClass), &blocks);
  central_.put(s, s->capacity());
  EXPECT_EQ(s->place, SpanPlace::kFull);
  EXPECT_EQ(central_.spans(), 1U);
  EXPECT_EQ(central_.take(&owner_, 1), nullptr);
  char* const last = blocks.back();
  blocks.pop_back();
  EXPECT_TRUE(central_.free_chain(s, chain_of(s, {last})));
  EXPECT_EQ(s->place, SpanPlace::kPartial);
  EXPECT_EQ(s->countdown, static_cast<int32_t>(blocks.size()));
  s->verify();
  // The rest: it goes to the heap with its last block.
  char* const start = s->start;
  EXPECT_TRUE(central_.free_chain(s, chain_of(s, blocks)));
  EXPECT_EQ(central_.spans(), 0U);
  EXPECT_EQ(pagemap::lookup(start), &null_span);
}

TEST_F(MCentralTest, AFullSpanWhoseBlocksAllComeBackAtOnceGoesToTheHeap) {
  std::vector<char*> blocks;
  Span* const s = span_with(class_capacity(kClass), &blocks);
  central_.put(s, s->capacity());
  EXPECT_TRUE(central_.free_chain(s, chain_of(s, blocks)));
}

TEST_F(MCentralTest, CollectsWhatOthersFreedBefore) {
  std::vector<char*> blocks;
  Span* const s = span_with(10, &blocks);
  const std::vector<char*> some(blocks.begin(), blocks.begin() + 4);
  const std::vector<char*> rest(blocks.begin() + 4, blocks.end());
  s->remote.store(chain_of(s, some));
  central_.put(s, 10);
  EXPECT_TRUE(central_.collect_remote(s));
  EXPECT_EQ(s->countdown, 6);
  EXPECT_EQ(s->remote.load().count, 0U);
  s->verify();
  EXPECT_TRUE(central_.collect_remote(s));  // nothing there
  EXPECT_EQ(s->countdown, 6);
  s->remote.store(chain_of(s, rest));
  EXPECT_TRUE(central_.collect_remote(s));
}

TEST_F(MCentralTest, TheFirstLeftIsTheFirstTaken) {
  std::vector<char*> blocks[3];
  Span* spans[3];
  for (int i = 0; i < 3; ++i) {
    spans[i] = span_with(1, &blocks[i]);
    central_.put(spans[i], 1);
  }
  EXPECT_EQ(central_.spans(), 3U);
  // The middle one goes while it is on the list.
  EXPECT_TRUE(central_.free_chain(spans[1], chain_of(spans[1], blocks[1])));
  EXPECT_EQ(central_.take(&owner_, 1), spans[0]);
  EXPECT_EQ(central_.take(&owner_, 1), spans[2]);
  EXPECT_EQ(central_.take(&owner_, 1), nullptr);
  for (Span* s : {spans[0], spans[2]}) {
    s->owner.store(nullptr);
    s->owner_tp.store(0);
    heap.free(s);
  }
}

TEST_F(MCentralTest, ThreadsTakeEachSpanOnce) {
  constexpr size_t kSpans = 64;
  std::vector<char*> blocks;
  for (size_t i = 0; i < kSpans; ++i) central_.put(span_with(1, &blocks), 1);
  std::vector<Span*> taken[4];
  test::in_threads(4, [&](size_t t) {
    size_t left_again = 1000;
    while (Span* s = central_.take(&owner_, t + 1)) {
      if (s->owner_tp.load() != t + 1) ADD_FAILURE() << "another thread's span";
      if (left_again != 0) {
        --left_again;
        central_.put(s, 1);
      } else {
        taken[t].push_back(s);
      }
    }
  });
  size_t count = 0;
  for (auto& list : taken) {
    for (Span* s : list) {
      ++count;
      s->owner.store(nullptr);
      s->owner_tp.store(0);
      heap.free(s);
    }
  }
  EXPECT_EQ(count, kSpans);
}

}  // namespace
}  // namespace tri
