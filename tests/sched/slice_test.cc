// slice_test.cc - Slices one rule at a time.
#include "sched/slice.h"

#include <cerrno>
#include <numeric>

#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

Slice ints() { return Slice{nullptr, 0, 0, sizeof(int), false}; }
int* begin(const Slice& s) { return static_cast<int*>(s.data); }
std::vector<int> contents(const Slice& s) { return std::vector<int>(begin(s), begin(s) + s.len); }
Slice counting(size_t n) {
  Slice s = ints();
  std::vector<int> values(n);
  std::iota(values.begin(), values.end(), 0);
  EXPECT_EQ(slice_append(&s, values.data(), n), 0);
  return s;
}

TEST(Slice, CapacityFollowsGosRule) {
  // What Go 1.18 to 1.26 compute before they round up to a size class.
  EXPECT_EQ(grown_capacity(0, 1), 1U);
  EXPECT_EQ(grown_capacity(0, 5), 5U);
  EXPECT_EQ(grown_capacity(4, 5), 8U);
  EXPECT_EQ(grown_capacity(4, 9), 9U);
  EXPECT_EQ(grown_capacity(255, 256), 510U);
  EXPECT_EQ(grown_capacity(256, 257), 512U);
  EXPECT_EQ(grown_capacity(512, 513), 832U);
  EXPECT_EQ(grown_capacity(1024, 1025), 1472U);
  EXPECT_EQ(grown_capacity(1 << 20, (1 << 20) + 1), 1310912U);
  EXPECT_EQ(grown_capacity(1000, 1999), 2684U);  // by 1442 and 1994
}

TEST(Slice, CapacityUsesAllThatTheAllocatorRoundsUpTo) {
  for (const size_t size : {1U, 3U, 4U, 8U, 12U, 24U, 40U, 100U, 1000U, 5000U}) {
    Slice s{nullptr, 0, 0, size, false};
    std::vector<char> element(size, 'x');
    for (size_t i = 0; i < 3000; ++i) {
      ASSERT_EQ(slice_append(&s, element.data(), 1), 0);
      ASSERT_EQ(s.cap, usable_size(s.data) / size);
    }
    slice_free(&s);
  }
}

TEST(Slice, FreshOnesHaveNoMemoryAndCanBeFreed) {
  Slice s = ints();
  slice_free(&s);
  EXPECT_EQ(s.data, nullptr);
  EXPECT_EQ(slice_append(&s, nullptr, 0), 0);
  EXPECT_EQ(s.data, nullptr);
  EXPECT_EQ(slice_erase(&s, 0, 0), 0);
  EXPECT_EQ(slice_clip(&s), 0);
}

TEST(Slice, AppendsItselfToItself) {
  Slice s = counting(5);
  for (int round = 0; round < 6; ++round) {
    std::vector<int> twice = contents(s);
    const std::vector<int> once = twice;
    twice.insert(twice.end(), once.begin(), once.end());
    ASSERT_EQ(slice_append(&s, s.data, s.len), 0);
    ASSERT_EQ(contents(s), twice);
  }
  slice_free(&s);
}

TEST(Slice, InsertsItsOwnElementsAcrossTheGap) {
  for (size_t at = 0; at <= 10; ++at) {
    for (size_t from = 0; from < 10; ++from) {
      for (size_t n = 0; n <= 10 - from; ++n) {
        Slice s = counting(10);
        std::vector<int> expected = contents(s);
        const std::vector<int> part(expected.begin() + static_cast<long>(from),
                                    expected.begin() + static_cast<long>(from + n));
        expected.insert(expected.begin() + static_cast<long>(at), part.begin(), part.end());
        ASSERT_EQ(slice_insert(&s, at, begin(s) + from, n), 0);
        ASSERT_EQ(contents(s), expected) << at << " " << from << " " << n;
        slice_free(&s);
      }
    }
  }
}

TEST(Slice, RangesAreChecked) {
  Slice s = counting(3);
  Slice view;
  EXPECT_EQ(slice_insert(&s, 4, nullptr, 1), -ERANGE);
  EXPECT_EQ(slice_erase(&s, 2, 2), -ERANGE);
  EXPECT_EQ(slice_erase(&s, 4, 0), -ERANGE);
  EXPECT_EQ(slice_erase(&s, 1, SIZE_MAX), -ERANGE);
  EXPECT_EQ(slice_view(&s, 2, 1, 3, &view), -ERANGE);
  EXPECT_EQ(slice_view(&s, 0, 1, s.cap + 1, &view), -ERANGE);
  EXPECT_EQ(slice_view(&s, 0, 4, 3, &view), -ERANGE);
  EXPECT_EQ(contents(s), (std::vector<int>{0, 1, 2}));
  slice_free(&s);
}

TEST(Slice, MoreThanCanBeIsRefusedAndChangesNothing) {
  Slice s = counting(3);
  const Slice before = s;
  EXPECT_EQ(slice_reserve(&s, SIZE_MAX), -ENOMEM);
  EXPECT_EQ(slice_reserve(&s, SIZE_MAX / 4), -ENOMEM);
  EXPECT_EQ(slice_reserve(&s, SIZE_MAX / 8), -ENOMEM);
  EXPECT_EQ(slice_resize(&s, SIZE_MAX / 2), -ENOMEM);
  EXPECT_EQ(slice_append(&s, nullptr, SIZE_MAX - 1), -ENOMEM);
  EXPECT_EQ(memcmp(&s, &before, sizeof s), 0);
  EXPECT_EQ(contents(s), (std::vector<int>{0, 1, 2}));
  slice_free(&s);
}

TEST(Slice, AViewWritesIntoSharedMemoryAndMovesAwayWhenItMustGrow) {
  Slice s = counting(8);
  Slice view;
  ASSERT_EQ(slice_view(&s, 2, 4, 5, &view), 0);
  EXPECT_EQ(contents(view), (std::vector<int>{2, 3}));
  const int a = 100;
  ASSERT_EQ(slice_append(&view, &a, 1), 0);
  EXPECT_EQ(begin(s)[4], 100) << "there was room, so it went into the shared memory, as in Go";
  EXPECT_TRUE(view.borrowed);
  ASSERT_EQ(slice_append(&view, &a, 1), 0);
  EXPECT_FALSE(view.borrowed);
  EXPECT_EQ(contents(view), (std::vector<int>{2, 3, 100, 100}));
  begin(view)[0] = 77;
  EXPECT_EQ(contents(s), (std::vector<int>{0, 1, 2, 3, 100, 5, 6, 7}));
  slice_free(&view);
  slice_free(&s);
}

TEST(Slice, FreeingAViewLeavesTheMemoryAlone) {
  Slice s = counting(8);
  Slice view;
  ASSERT_EQ(slice_view(&s, 0, 8, 8, &view), 0);
  slice_free(&view);
  EXPECT_EQ(contents(s).size(), 8U);
  EXPECT_EQ(begin(s)[7], 7);
  slice_free(&s);
}

TEST(Slice, ElementsOfNoSizeAreOnlyCounted) {
  Slice s{nullptr, 0, 0, 0, false};
  EXPECT_EQ(slice_append(&s, nullptr, 10), 0);
  EXPECT_EQ(slice_append(&s, &s, 1000), 0);
  EXPECT_EQ(s.len, 1010U);
  EXPECT_GE(s.cap, 1010U);
  EXPECT_EQ(slice_erase(&s, 5, 1000), 0);
  EXPECT_EQ(slice_insert(&s, 3, nullptr, 2), 0);
  EXPECT_EQ(s.len, 12U);
  EXPECT_EQ(slice_reserve(&s, SIZE_MAX), -ENOMEM);
  EXPECT_EQ(slice_reserve(&s, SIZE_MAX - 12), 0);
  Slice copy;
  EXPECT_EQ(slice_clone(&s, &copy), 0);
  EXPECT_EQ(copy.len, 12U);
  EXPECT_EQ(slice_clip(&s), 0);
  EXPECT_EQ(s.cap, 12U);
  slice_free(&copy);
  slice_free(&s);
}

TEST(Slice, CloneAndClipKeepNoMoreThanTheClassRoundsUpTo) {
  Slice s = counting(1000);
  ASSERT_EQ(slice_reserve(&s, 100'000), 0);
  Slice copy;
  ASSERT_EQ(slice_clone(&s, &copy), 0);
  EXPECT_EQ(contents(copy), contents(s));
  EXPECT_EQ(copy.cap, good_size(1000 * sizeof(int)) / sizeof(int));
  ASSERT_EQ(slice_clip(&s), 0);
  EXPECT_EQ(s.cap, copy.cap);
  EXPECT_EQ(contents(copy), contents(s));
  slice_free(&copy);
  slice_free(&s);
}

TEST(Slice, ALargeSliceGrowsWhereItStandsWhenThePagesBehindItAreFree) {
  Slice s{nullptr, 0, 0, 1, false};
  ASSERT_EQ(slice_reserve(&s, 1 << 20), 0);
  // Of a few dozen steps at least one finds room behind it; a malloc and memcpy at each step would never stay.
  size_t stayed = 0;
  for (int i = 0; i < 12; ++i) {
    const void* const before = s.data;
    s.len = s.cap;
    ASSERT_EQ(slice_reserve(&s, 1), 0);
    stayed += s.data == before;
  }
  EXPECT_GT(stayed, 0U);
  slice_free(&s);
}

TEST(Slice, CopyStopsAtTheShorterOneAndMayOverlap) {
  Slice s = counting(8);
  Slice tail;
  ASSERT_EQ(slice_view(&s, 3, 8, 8, &tail), 0);
  EXPECT_EQ(slice_copy(&tail, &s), 5U);
  EXPECT_EQ(contents(s), (std::vector<int>{0, 1, 2, 0, 1, 2, 3, 4}));
  slice_free(&s);
}

TEST(SliceDeath, AnIndexOutOfRangeEndsInOneLine) {
  EXPECT_DEATH(slice_out_of_range(7, 3), test::in_one_line("index 7 out of range of a slice of length 3"));
}

TEST(Slice, WithoutMemoryItStaysAsItWas) {
  test::warm_up();
  Slice s = counting(1000);
  const std::vector<int> before = contents(s);
  const Slice header = s;
  size_t failures = 0;
  for (long n = 0; n < 3; ++n) {
    // More than the heap has: each attempt asks the system.
    const test::Faults faults(n);
    if (slice_reserve(&s, size_t{1} << 28) == 0) {
      slice_free(&s);
      s = counting(1000);
      continue;
    }
    ++failures;
    EXPECT_EQ(s.data, header.data);
    EXPECT_EQ(s.cap, header.cap);
    EXPECT_EQ(contents(s), before);
    if (test::kSanitized) break;
  }
  EXPECT_GT(failures, 0U);
  EXPECT_EQ(contents(s), before);
  slice_free(&s);
}

}  // namespace
}  // namespace tri::sched
