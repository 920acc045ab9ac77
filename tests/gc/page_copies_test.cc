// page_copies_test.cc - Each page has its copy, the same one every time.
#include "gc/page_copies.h"

#include <gtest/gtest.h>

#include <map>

#include "alloc/os/os.h"

namespace tri::gc {
namespace {

constexpr uintptr_t kFar = uintptr_t{1} << 46;

TEST(PageCopies, HaveOneForEachPageThatBeginsAsZeros) {
  PageCopies copies;
  ASSERT_TRUE(copies.reserve(1000));
  const size_t page = os::page_size();
  std::map<uintptr_t, uintptr_t*> mine;
  for (uintptr_t i = 0; i < 1000; ++i) {
    const uintptr_t at = (i % 2 == 0 ? i : kFar + i * 977) * page;
    if (at == 0) continue;
    uintptr_t* const copy = copies.of(at);
    ASSERT_NE(copy, nullptr);
    for (size_t w = 0; w < page / sizeof *copy; ++w) {
      ASSERT_EQ(copy[w], 0U);
      copy[w] = at + w;
    }
    mine[at] = copy;
  }
  for (const auto& [at, copy] : mine) {
    EXPECT_EQ(copies.of(at), copy);
    EXPECT_EQ(copies.find(at), copy);
    EXPECT_EQ(copy[0], at);
    EXPECT_EQ(copy[page / sizeof *copy - 1], at + page / sizeof *copy - 1);
  }
}

TEST(PageCopies, AreNoMoreThanThereIsRoomFor) {
  PageCopies copies;
  ASSERT_TRUE(copies.reserve(10));
  for (uintptr_t i = 1; i <= 10; ++i) EXPECT_NE(copies.of(i * os::page_size()), nullptr);
  EXPECT_EQ(copies.of(11 * os::page_size()), nullptr);
  EXPECT_EQ(copies.find(11 * os::page_size()), nullptr);
  EXPECT_NE(copies.of(10 * os::page_size()), nullptr);
}

TEST(PageCopies, AreNoneWithoutMemory) {
  for (long n = 0; n < 3; ++n) {
    PageCopies copies;
    os::fail_after(n);
    EXPECT_FALSE(copies.reserve(10));
    os::fail_after(-1);
    EXPECT_EQ(copies.of(os::page_size()), nullptr);
    EXPECT_EQ(copies.find(os::page_size()), nullptr);
  }
  PageCopies copies;
  ASSERT_TRUE(copies.reserve(10));
  os::fail_after(0);
  EXPECT_EQ(copies.of(os::page_size()), nullptr);
  os::fail_after(-1);
  EXPECT_NE(copies.of(os::page_size()), nullptr);
}

}  // namespace
}  // namespace tri::gc
