// os_test.cc - Tests of alloc/os/os.h on the system at hand.
#include "alloc/os/os.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr size_t kMiB = 1024 * 1024;

bool is_mapped(const void* p) {
  unsigned char in_core = 0;
  return mincore(const_cast<void*>(p), 1, &in_core) == 0;
}

TEST(Os, KnowsThePageSize) { EXPECT_EQ(os::page_size(), static_cast<size_t>(sysconf(_SC_PAGESIZE))); }

TEST(Os, MapsZeroedMemoryAtAnyAlignment) {
  for (size_t alignment = os::page_size(); alignment <= 64 * kMiB; alignment *= 2) {
    auto* p = static_cast<char*>(os::map(3 * os::page_size(), alignment));
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(test::aligned_to(p, alignment));
    EXPECT_TRUE(test::is_zero(p, 3 * os::page_size()));
    p[0] = p[3 * os::page_size() - 1] = 1;
    os::unmap(p, 3 * os::page_size());
    EXPECT_FALSE(is_mapped(p));
  }
}

TEST(Os, KeepsNothingOfTheSlackOfAnAlignedMapping) {
  const size_t bytes = os::page_size();
  for (int i = 0; i < 8; ++i) {
    auto* p = static_cast<char*>(os::map(bytes, 32 * kMiB));
    ASSERT_NE(p, nullptr);
    os::unmap(p, bytes);
    EXPECT_FALSE(is_mapped(p + bytes) && is_mapped(p + 2 * bytes) && is_mapped(p + 16 * kMiB));
  }
}

TEST(Os, CommitsAndReadsWhatIsReserved) {
  auto* p = static_cast<char*>(os::reserve(kMiB, kMiB));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(test::aligned_to(p, kMiB));
  ASSERT_TRUE(os::commit(p, 8192));
  p[8191] = 1;
  ASSERT_TRUE(os::make_readable(p + 8192, 8192));
  EXPECT_TRUE(test::is_zero(p + 8192, 8192));
  ASSERT_TRUE(os::commit(p + 8192, 8192));
  p[8192] = 1;
  os::unmap(p, kMiB);
}

#if !TRI_TEST_SANITIZED  // A sanitizer reports the signal its own way.
TEST(OsDeathTest, ReservedPagesAreOutOfReach) {
  auto* p = static_cast<char*>(os::reserve(kMiB, os::page_size()));
  ASSERT_NE(p, nullptr);
  EXPECT_EXIT(static_cast<volatile char*>(p)[0] = 1, ::testing::KilledBySignal(SIGSEGV), "");
  ASSERT_TRUE(os::make_readable(p, kMiB));
  EXPECT_EXIT(static_cast<volatile char*>(p)[0] = 1, ::testing::KilledBySignal(SIGSEGV), "");
  os::unmap(p, kMiB);
}
#endif

TEST(Os, PurgedPagesReadAsZero) {
  auto* p = static_cast<char*>(os::map(kMiB, os::page_size()));
  ASSERT_NE(p, nullptr);
  memset(p, 0xff, kMiB);
  EXPECT_TRUE(os::purge(p, kMiB));
  EXPECT_TRUE(test::is_zero(p, kMiB));
  os::unmap(p, kMiB);
}

#if !TRI_TEST_SANITIZED  // A sanitizer does not let pages be locked.
TEST(Os, LockedPagesAreNotPurged) {
  auto* p = static_cast<char*>(os::map(os::page_size(), os::page_size()));
  ASSERT_NE(p, nullptr);
  p[0] = 7;
  ASSERT_EQ(mlock(p, os::page_size()), 0);
  EXPECT_FALSE(os::purge(p, os::page_size()));
  EXPECT_EQ(p[0], 7);
  munlock(p, os::page_size());
  os::unmap(p, os::page_size());
}
#endif

TEST(Os, ResizesInPlaceWhereThereIsRoom) {
  auto* p = static_cast<char*>(os::reserve(4 * kMiB, os::page_size()));
  ASSERT_NE(p, nullptr);
  os::unmap(p + kMiB, 2 * kMiB);  // room of 2 MiB between two mappings
  ASSERT_TRUE(os::commit(p, kMiB));
  p[kMiB - 1] = 5;
  EXPECT_TRUE(os::resize(p, kMiB, 2 * kMiB));
  EXPECT_EQ(p[kMiB - 1], 5);
  p[2 * kMiB - 1] = 6;
  EXPECT_FALSE(os::resize(p, 2 * kMiB, 4 * kMiB));
  EXPECT_EQ(p[2 * kMiB - 1], 6);
  EXPECT_TRUE(os::resize(p, 2 * kMiB, kMiB));
  EXPECT_FALSE(is_mapped(p + kMiB));
  os::unmap(p, kMiB);
  os::unmap(p + 3 * kMiB, kMiB);
}

TEST(Os, MovesPagesWithTheirContents) {
  auto* p = static_cast<char*>(os::map(kMiB, os::page_size()));
  auto* place = static_cast<char*>(os::reserve(2 * kMiB, kMiB));
  ASSERT_NE(p, nullptr);
  ASSERT_NE(place, nullptr);
  test::fill(p, kMiB, 9);
  ASSERT_TRUE(os::move(p, kMiB, place, 2 * kMiB));
  EXPECT_FALSE(is_mapped(p));
  EXPECT_TRUE(test::holds(place, kMiB, 9));
  EXPECT_TRUE(test::is_zero(place + kMiB, kMiB));
  os::unmap(place, 2 * kMiB);
}

TEST(Os, RefusesWhatNobodyHas) {
  errno = 77;
  EXPECT_EQ(os::map(size_t{1} << 62, os::page_size()), nullptr);
  EXPECT_EQ(os::reserve(size_t{1} << 50, os::page_size()), nullptr);
  EXPECT_EQ(os::map(os::page_size(), size_t{1} << 62), nullptr);
  EXPECT_EQ(os::map(SIZE_MAX & ~(os::page_size() - 1), size_t{1} << 40), nullptr);
  EXPECT_EQ(errno, 77);
}

TEST(Os, FailsFromTheNthCallOn) {
  const size_t n = os::page_size();
  test::Faults faults(2);
  void* const a = os::map(n, n);
  void* const b = os::reserve(n, n);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(os::map(n, n), nullptr);
  EXPECT_EQ(os::reserve(n, n), nullptr);
  EXPECT_FALSE(os::commit(b, n));
  EXPECT_FALSE(os::make_readable(b, n));
  EXPECT_FALSE(os::resize(a, n, 2 * n));
  EXPECT_FALSE(os::move(a, n, b, n));
  os::fail_after(-1);
  EXPECT_TRUE(os::commit(b, n));
  EXPECT_EQ(*static_cast<char*>(a), 0);
  os::unmap(a, n);
  os::unmap(b, n);
}

TEST(Os, TellsTheTimeForward) {
  int64_t last = os::now_ns();
  EXPECT_GT(last, 0);
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = os::now_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Os, LetsATestSetTheClock) {
  os::set_clock([] { return int64_t{123}; });
  EXPECT_EQ(os::now_ns(), 123);
  os::set_clock(nullptr);
  EXPECT_GT(os::now_ns(), 123);
}

TEST(Os, RandomNumbersDiffer) {
  const uint64_t a = os::random64();
  const uint64_t b = os::random64();
  EXPECT_NE(a, b);
}

TEST(Os, ReadsSmallFiles) {
  char buffer[64];
  const long n = os::read_file("/proc/self/comm", buffer, sizeof buffer);
  ASSERT_GT(n, 1);
  EXPECT_EQ(buffer[n], 0);
  // The kernel keeps the first 15 bytes of the name.
  EXPECT_EQ(std::string(buffer), std::string(program_invocation_short_name).substr(0, 15) + "\n");
  char tiny[4];
  EXPECT_EQ(os::read_file("/proc/self/comm", tiny, sizeof tiny), 3);
  EXPECT_EQ(tiny[3], 0);
  EXPECT_EQ(os::read_file("/nowhere/nothing", buffer, sizeof buffer), -1);
}

TEST(Os, KnowsItsResidentMemory) {
  constexpr size_t kBytes = 32 * kMiB;
  const size_t before = os::resident_bytes();
  ASSERT_GT(before, 0U);
  void* const p = os::map(kBytes, os::page_size());
  ASSERT_NE(p, nullptr);
  memset(p, 1, kBytes);
  EXPECT_GT(os::resident_bytes(), before + kBytes / 2);
  os::unmap(p, kBytes);
}

int in_data = 1;

TEST(Os, KnowsWhatAnAddressBelongsTo) {
  char name[64] = "";
  int on_stack = 0;
  EXPECT_EQ(os::what_is_mapped_at(&on_stack, name, sizeof name), os::Mapping::kStack);
  EXPECT_EQ(os::what_is_mapped_at(&in_data, name, sizeof name), os::Mapping::kFile);
  EXPECT_EQ(std::string(name), program_invocation_short_name);
  char cut[5] = "";
  EXPECT_EQ(os::what_is_mapped_at(&in_data, cut, sizeof cut), os::Mapping::kFile);
  EXPECT_EQ(std::string(cut), std::string(program_invocation_short_name).substr(0, 4));
  EXPECT_EQ(os::what_is_mapped_at(reinterpret_cast<void*>(16), name, sizeof name), os::Mapping::kNone);
  void* const p = os::map(os::page_size(), os::page_size());
  EXPECT_EQ(os::what_is_mapped_at(p, name, sizeof name), os::Mapping::kAnonymous);
  os::unmap(p, os::page_size());
  EXPECT_EQ(os::what_is_mapped_at(p, name, sizeof name), os::Mapping::kNone);
  test::in_thread([&] {
    int on_its_stack = 0;
    EXPECT_EQ(os::what_is_mapped_at(&on_its_stack, name, sizeof name), os::Mapping::kStack);
  });
}

}  // namespace
}  // namespace tri
