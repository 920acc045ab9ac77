// free_blocks_test.cc - Of spans with any lists, each free block is found, and no other.
#include "gc/free_blocks.h"

#include <map>
#include <set>
#include <vector>

#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri::gc {
namespace {

using test::Random;

TEST(FreeBlocks, AreThoseThatWereFreedAndThoseNeverHandedOut) {
  Random random;
  for (size_t round = 0; round < test::rounds(20); ++round) {
    std::vector<char*> blocks;
    std::set<const Span*> spans;
    for (size_t i = 0; i < 5000; ++i) {
      blocks.push_back(static_cast<char*>(allocate(random.size_up_to(random.one_in(10) ? 30'000 : 300))));
      spans.insert(pagemap::lookup(blocks.back()));
    }
    // Some by another thread, so that they are on the other list.
    std::set<char*> used(blocks.begin(), blocks.end());
    std::vector<char*> by_other;
    const size_t one_in = random.between(1, 6);
    for (char* const p : blocks) {
      if (!random.one_in(one_in)) continue;
      used.erase(p);
      if (random.one_in(3)) {
        by_other.push_back(p);
      } else {
        deallocate(p);
      }
    }
    test::in_thread([&] {
      for (char* const p : by_other) deallocate(p);
      test::drop_caches();  // its batches are posted
    });
    std::map<const Span*, size_t> found;
    size_t wrong = 0;
    const auto check = [&](const Span* s, const FreeBlocks* free) {
      for (uint32_t i = 0; i < s->capacity(); ++i) {
        char* const p = s->block_at(uint64_t{i + 1} * s->size);
        wrong += free->test(i) == (used.count(p) != 0);
      }
      ++found[s];
    };
    size_t small = 0;
    {
      FreeFinder finder(check);
      for (const Span* const s : spans) {
        // Those that became empty may have gone to the heap.
        if (s->kind != SpanKind::kSmall || pagemap::lookup(s->end() - 1) != s) continue;
        finder.add(s);
        ++small;
      }
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(found.size(), small);
    for (const auto& [s, times] : found) EXPECT_EQ(times, 1U);
    for (char* const p : used) deallocate(p);
  }
}

TEST(FreeBlocks, AListThatWasBrokenOffEnds) {
  // As a thread leaves it that was stopped in the middle of a change: the head names a block that holds no link.
  auto* const p = static_cast<uint64_t*>(allocate(48));
  auto* const q = allocate(48);
  deallocate(q);
  Span* const s = pagemap::lookup(p);
  const uint64_t before = s->free;
  const size_t others = s->remote.load().count;
  *p = 0x123456789abcdef;
  s->free = s->offset_of(p);
  size_t free = 0;
  const auto count = [&](const Span* span, const FreeBlocks* blocks) { free = blocks->count(0, span->carved); };
  FreeFinder(count).add(s);
  EXPECT_EQ(free, others + 1U);
  // And one that leads to itself has an end as well.
  s->store_link(p, s->offset_of(p));
  FreeFinder(count).add(s);
  EXPECT_EQ(free, others + 1U);
  s->free = before;
  *p = 0;
  deallocate(p);
}

}  // namespace
}  // namespace tri::gc
