// own_map_test.cc - What the collector has mapped is on the list for as long as it is, whoever maps and unmaps meanwhile.
#include "gc/own_map.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "alloc/os/os.h"

namespace tri::gc {
namespace {

bool is_listed(const void* p, size_t bytes) {
  bool found = false;
  each_own_map([&](const char* start, size_t n) { found = found || (start == p && n == bytes); });
  return found;
}

TEST(OwnMap, IsListedUntilItIsUnmapped) {
  void* const p = map_own(10'000, 1);
  ASSERT_NE(p, nullptr);
  memset(p, 1, 10'000);
  EXPECT_TRUE(is_listed(p, 10'000));
  void* const q = reserve_own(size_t{1} << 30, size_t{2} << 20);
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(q) % (size_t{2} << 20), 0U);
  unmap_own(p, 10'000);
  EXPECT_FALSE(is_listed(p, 10'000));
  EXPECT_TRUE(is_listed(q, size_t{1} << 30));
  unmap_own(q, size_t{1} << 30);
}

TEST(OwnMap, IsNoneWithoutMemory) {
  os::fail_after(0);
  EXPECT_EQ(map_own(10'000, 1), nullptr);
  os::fail_after(-1);
  each_own_map([](const char* start, size_t) { EXPECT_NE(start, nullptr); });
}

TEST(OwnMap, ThreadsMapAndUnmapAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 2000; ++i) {
        void* const p = map_own(4096, 1);
        ASSERT_NE(p, nullptr);
        ASSERT_TRUE(is_listed(p, 4096));
        unmap_own(p, 4096);
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST(OwnMap, WhatIsGivenBackIsGone) {
  const size_t bytes = 4 * os::page_size();
  auto* const p = static_cast<char*>(map_own(bytes, os::page_size()));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(os::is_readable(reinterpret_cast<uintptr_t>(p)));
  unmap_own(p, bytes);
  for (size_t at = 0; at < bytes; at += os::page_size()) {
    EXPECT_FALSE(os::is_readable(reinterpret_cast<uintptr_t>(p + at)));
  }
}

}  // namespace
}  // namespace tri::gc
