// shadow_test.cc - Every word is led to the block that it points into, and to no other.
#include "gc/shadow.h"

#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "gtest/gtest.h"

namespace tri::gc {
namespace {

class ShadowTest : public ::testing::Test {
 protected:
  ~ShadowTest() override {
    shadow.end();
    for (char* p : blocks) deallocate(p);
  }
  char* make(size_t n) {
    auto* const p = static_cast<char*>(allocate(n));
    memset(p, 0, n);
    blocks.push_back(p);
    return p;
  }
  void begin() { ASSERT_EQ(shadow.begin(), 0); }
  bool find(const void* p, Ref* out) { return shadow.find(reinterpret_cast<uintptr_t>(p), out); }

  std::vector<char*> blocks;
  Shadow shadow;
};

TEST_F(ShadowTest, EveryByteOfABlockLeadsToIt) {
  // Every class, every second block of a span left free.
  std::vector<char*> kept;
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    for (int i = 0; i < 5; ++i) {
      kept.push_back(make(class_size(c)));
      deallocate(allocate(class_size(c)));
    }
  }
  begin();
  for (char* const p : kept) {
    const size_t bytes = usable_size(p);
    const size_t step = bytes <= 1024 ? 1 : 61;
    for (size_t at = 0; at < bytes; at += step) {
      Ref r;
      ASSERT_TRUE(find(p + at, &r));
      ASSERT_EQ(r.start, p);
      ASSERT_EQ(r.bytes, bytes);
      ASSERT_FALSE(r.is_marked());
    }
    Ref last;
    ASSERT_TRUE(find(p + bytes - 1, &last));
    ASSERT_EQ(last.start, p);
  }
}

TEST_F(ShadowTest, LargeAndHugeBlocksAreFoundFromTheirMiddle) {
  for (const size_t n : {size_t{40'000}, size_t{1} << 20, size_t{10} << 20, size_t{70} << 20}) {
    char* const p = static_cast<char*>(allocate(n));
    blocks.push_back(p);
  }
  begin();
  for (char* const p : blocks) {
    const size_t bytes = usable_size(p);
    for (size_t at = 0; at < bytes; at += bytes / 97) {
      Ref r;
      ASSERT_TRUE(find(p + at, &r));
      ASSERT_EQ(r.start, p);
      ASSERT_EQ(r.bytes, bytes);
    }
    Ref r;
    ASSERT_TRUE(find(p + bytes - 1, &r));
    ASSERT_EQ(r.start, p);
    ASSERT_TRUE(r.mark());
    ASSERT_FALSE(r.mark());
  }
}

TEST_F(ShadowTest, WordsThatAreNoPointersLeadNowhere) {
  make(100);
  int local = 0;
  begin();
  Ref r;
  for (const uintptr_t word : {uintptr_t{0}, uintptr_t{1}, uintptr_t{4096}, ~uintptr_t{0}, uintptr_t{1} << 63,
                               reinterpret_cast<uintptr_t>(&local), reinterpret_cast<uintptr_t>(&shadow)}) {
    EXPECT_FALSE(shadow.find(word, &r)) << word;
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) (void)shadow.find(random() >> (random() % 40), &r);
}

TEST_F(ShadowTest, FreeBlocksAreMarkedAndOthersAreNot) {
  std::vector<char*> freed, used;
  for (const size_t n : {16, 48, 200, 1000, 5000}) {
    for (int i = 0; i < 200; ++i) {
      auto* const p = static_cast<char*>(allocate(n));
      (i % 3 == 0 ? freed : used).push_back(p);
    }
  }
  for (char* const p : freed) deallocate(p);
  for (char* const p : used) blocks.push_back(p);
  begin();
  Ref r;
  for (char* const p : used) {
    ASSERT_TRUE(find(p, &r));
    EXPECT_FALSE(r.is_marked());
  }
  for (char* const p : freed) {
    const bool found = find(p, &r);  // else its span is gone
    EXPECT_TRUE(!found || r.is_marked());
  }
}

TEST_F(ShadowTest, UnmarkedBlocksAreThoseInUse) {
  std::map<char*, size_t> made;
  std::mt19937_64 random(2);
  for (int i = 0; i < 3000; ++i) {
    char* const p = make(i % 100 == 0 ? 40'000 + random() % 100'000 : 1 + random() % 3000);
    made[p] = usable_size(p);
  }
  std::map<char*, size_t> found;
  // What the test's own containers are made of does not come from our allocator.
  begin();
  shadow.each_unmarked([&](const Ref& r) { found[r.start] = r.bytes; });
  EXPECT_EQ(shadow.blocks(), found.size());
  for (const auto& [p, bytes] : made) {
    ASSERT_TRUE(found.count(p));
    EXPECT_EQ(found[p], bytes);
  }
  Ref r;
  for (const auto& [p, bytes] : made) {
    ASSERT_TRUE(find(p, &r));
    EXPECT_TRUE(r.mark());
  }
  size_t left = 0;
  shadow.each_unmarked([&](const Ref&) { ++left; });
  EXPECT_EQ(left, found.size() - made.size());
}

TEST(ShadowLayout, TheReciprocalIsExactForEveryOffset) {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    const uint64_t size = class_size(c);
    const uint64_t reciprocal = static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size);
    for (uint64_t offset = 0; offset < class_capacity(c) * size; ++offset) {
      ASSERT_EQ(offset * reciprocal >> 32, offset / size) << size << " " << offset;
    }
  }
}

TEST_F(ShadowTest, PreparedItIsTheSame) {
  for (int i = 0; i < 2000; ++i) make(static_cast<size_t>(1 + i * 7));
  ASSERT_EQ(shadow.prepare(), 0);
  os::fail_after(0);  // the memory is there
  const int error = shadow.begin();
  os::fail_after(-1);
  ASSERT_EQ(error, 0);
  shadow.end();
  ASSERT_EQ(shadow.prepare(), 0);
  for (int i = 0; i < 100; ++i) make(size_t{1} << 20);  // what was not there yet
  begin();
  for (char* const p : blocks) {
    Ref r;
    ASSERT_TRUE(find(p + 1, &r));
    EXPECT_EQ(r.start, p);
    EXPECT_FALSE(r.is_marked());
  }
}

TEST_F(ShadowTest, OnlyCurrentSpansAreBlackFromTheStart) {
  // Full spans and then one that is current; a block of each is free.
  std::vector<char*> all;
  for (size_t i = 0; i < 3 * class_capacity(size_class(64)); ++i) all.push_back(static_cast<char*>(allocate(64)));
  const auto place = [](const char* p) { return pagemap::lookup(p)->place; };
  char* in_full = nullptr;
  char* in_current = nullptr;
  for (char*& p : all) {
    char*& freed = place(p) == SpanPlace::kCurrent ? in_current : in_full;
    if (freed == nullptr) {
      freed = p;
    } else {
      blocks.push_back(p);
    }
  }
  ASSERT_TRUE(in_full != nullptr && in_current != nullptr);
  deallocate(in_full);
  deallocate(in_current);
  ASSERT_EQ(place(in_current), SpanPlace::kCurrent);
  ASSERT_EQ(place(in_full), SpanPlace::kPartial);
  auto* const large = make(100'000);
  ASSERT_EQ(shadow.begin(Shadow::Free::kCurrent), 0);
  const auto is_black = [&](char* p) {
    Ref r;
    EXPECT_TRUE(find(p, &r));
    return r.is_marked();
  };
  EXPECT_TRUE(is_black(in_current));
  EXPECT_FALSE(is_black(in_full));
  EXPECT_FALSE(is_black(large));
  shadow.blacken(pagemap::lookup(in_full));
  shadow.blacken(pagemap::lookup(large));
  EXPECT_TRUE(is_black(in_full));
  EXPECT_TRUE(is_black(large));
  for (char* const p : blocks) EXPECT_EQ(is_black(p), p == large);
  shadow.blacken(pagemap::lookup(make(10 << 20)));  // new: in no table
}

TEST_F(ShadowTest, BuiltBesideTheProgramItHasTheSameBlocks) {
  for (size_t n : {16, 100, 5000, 30'000, 1'000'000, 40'000'000}) make(n);
  ASSERT_EQ(shadow.prepare(), 0);
  ASSERT_EQ(shadow.build(), 0);
  for (char* const p : blocks) {
    Ref r;
    ASSERT_TRUE(find(p + usable_size(p) / 2, &r));
    EXPECT_EQ(r.start, p);
    EXPECT_EQ(r.bytes, usable_size(p));
    EXPECT_FALSE(r.is_marked());
  }
}

TEST_F(ShadowTest, WhatIsForgottenIsFoundNoMore) {
  for (size_t n : {16, 30'000, 1'000'000, 40'000'000}) make(n);
  ASSERT_EQ(shadow.prepare(), 0);
  ASSERT_EQ(shadow.build(), 0);
  for (char* const p : blocks) {
    const Span* const s = pagemap::find(p);
    Ref r;
    ASSERT_TRUE(find(p, &r));
    shadow.forget(s->start, s->bytes);
    EXPECT_FALSE(find(p, &r));
    EXPECT_FALSE(find(p + usable_size(p) - 1, &r));
  }
}

TEST_F(ShadowTest, ALargeBlockThatGrowsIsFoundToItsNewEnd) {
  char* const p = make(100'000);
  ASSERT_EQ(shadow.prepare(), 0);
  ASSERT_EQ(shadow.build(), 0);
  size_t bytes = usable_size(p);
  while (resize_in_place(p, bytes + 1)) bytes = usable_size(p);
  ASSERT_GT(bytes, 110'000U) << "there was no room behind it";
  Ref r;
  EXPECT_FALSE(find(p + bytes - 1, &r));
  shadow.grow(pagemap::lookup(p));
  ASSERT_TRUE(find(p + bytes - 1, &r));
  EXPECT_EQ(r.start, p);
  EXPECT_EQ(r.bytes, bytes);
  EXPECT_FALSE(shadow.is_incomplete());
}

TEST_F(ShadowTest, PartsOfMemoryAreWhatTheirBlocksAre) {
  char* const small = make(48);
  char* const large = make(1'000'000);
  char* const plain = make(100'000);
  char* const huge = make(40'000'000);
  pagemap::lookup(plain)->pointer_free = true;
  begin();
  const auto part = [&](const void* p, size_t bytes, uintptr_t* end) {
    const auto at = reinterpret_cast<uintptr_t>(p);
    *end = at + bytes;
    return shadow.part_at(at, end);
  };
  uintptr_t end;
  Shadow::Slot slot;
  // One byte of a block, and three blocks.
  ASSERT_TRUE(shadow.find_slot(reinterpret_cast<uintptr_t>(small), &slot));
  Shadow::Part of = part(small + 47, 1, &end);
  EXPECT_EQ(of.kind, Shadow::Part::kSmall);
  EXPECT_EQ(of.first, slot);
  EXPECT_EQ(of.last, slot);
  EXPECT_EQ(part(large, 1'000'000, &end).kind, Shadow::Part::kLarge);
  EXPECT_LE(end - reinterpret_cast<uintptr_t>(large), kPageSize) << "page by page";
  EXPECT_EQ(part(plain, 100, &end).kind, Shadow::Part::kPointerFree);
  of = part(huge + 20'000'000, 30'000'000, &end);
  EXPECT_EQ(of.kind, Shadow::Part::kLarge);
  EXPECT_LE(end, reinterpret_cast<uintptr_t>(huge) + usable_size(huge)) << "to its end, if not page by page";
  ASSERT_TRUE(shadow.find_slot(reinterpret_cast<uintptr_t>(huge), &slot));
  EXPECT_EQ(of.first, slot);
  const Span* const s = pagemap::lookup(large);
  shadow.forget(s->start, s->bytes);
  EXPECT_EQ(part(large, 100, &end).kind, Shadow::Part::kNone);
}

TEST_F(ShadowTest, WithoutMemoryItSaysSo) {
  make(100);
  for (long n = 0; n < 4; ++n) {
    os::fail_after(n);
    EXPECT_EQ(shadow.begin(), -ENOMEM) << n;
    os::fail_after(-1);
  }
  begin();
}

}  // namespace
}  // namespace tri::gc
