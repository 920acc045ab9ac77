// print_test.cc - Tests of alloc/base/print.h and check.h.
#include "alloc/base/print.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "alloc/base/check.h"

namespace tri {
namespace {

template <class Fn>
std::string line(Fn&& fn) {
  Line out;
  fn(out);
  return {out.data(), out.size()};
}

std::string bytes(uint64_t n) {
  return line([&](Line& l) { l.bytes(n); });
}
std::string count(uint64_t n) {
  return line([&](Line& l) { l.count(n); });
}

TEST(Print, WritesNumbers) {
  EXPECT_EQ(line([](Line& l) { l.number(uint64_t{0}); }), "0");
  EXPECT_EQ(line([](Line& l) { l.number(UINT64_MAX); }), "18446744073709551615");
  EXPECT_EQ(line([](Line& l) { l.number(int64_t{-1}); }), "-1");
  EXPECT_EQ(line([](Line& l) { l.number(int64_t{42}); }), "42");
  EXPECT_EQ(line([](Line& l) { l.number(INT64_MIN); }), "-9223372036854775808");
  EXPECT_EQ(line([](Line& l) { l.number(INT64_MAX); }), "9223372036854775807");
  uint64_t n = 1;
  for (int i = 0; i < 20; ++i, n *= 7) EXPECT_EQ(line([&](Line& l) { l.number(n); }), std::to_string(n));
}

TEST(Print, WritesAddresses) {
  EXPECT_EQ(line([](Line& l) { l.hex(0); }), "0x0");
  EXPECT_EQ(line([](Line& l) { l.hex(0x7f12abcdef90); }), "0x7f12abcdef90");
  EXPECT_EQ(line([](Line& l) { l.hex(UINT64_MAX); }), "0xffffffffffffffff");
  EXPECT_EQ(line([](Line& l) { l.pointer(reinterpret_cast<void*>(0x10)); }), "0x10");
}

TEST(Print, WritesSizesShortly) {
  EXPECT_EQ(bytes(0), "0 B");
  EXPECT_EQ(bytes(17), "17 B");
  EXPECT_EQ(bytes(1023), "1023 B");
  EXPECT_EQ(bytes(1024), "1.0 KiB");
  EXPECT_EQ(bytes(1536), "1.5 KiB");
  EXPECT_EQ(bytes(10 * 1024), "10 KiB");
  EXPECT_EQ(bytes(412ULL << 20), "412 MiB");
  EXPECT_EQ(bytes(5ULL << 29), "2.5 GiB");
  EXPECT_EQ(bytes(100ULL << 40), "100 TiB");
  EXPECT_EQ(bytes(5000ULL << 40), "5000 TiB");
}

TEST(Print, RoundsWholeSizesToTheNearest) {
  EXPECT_EQ(bytes(10 * 1024 + 511), "10 KiB");
  EXPECT_EQ(bytes(10 * 1024 + 512), "11 KiB");
}

TEST(Print, StaysWithinATenthAndAHalf) {
  for (uint64_t n = 1024; n < 10 * 1024; ++n) {
    const std::string text = bytes(n);
    const double shown = std::stod(text);
    ASSERT_EQ(text.substr(text.find(' ')), " KiB");
    ASSERT_LE(shown, static_cast<double>(n) / 1024);
    ASSERT_GT(shown, static_cast<double>(n) / 1024 - 0.17);
  }
}

TEST(Print, WritesCountsShortly) {
  EXPECT_EQ(count(0), "0");
  EXPECT_EQ(count(999), "999");
  EXPECT_EQ(count(1000), "1.0 k");
  EXPECT_EQ(count(9999), "9.9 k");
  EXPECT_EQ(count(10'000), "10 k");
  EXPECT_EQ(count(41'499), "41 k");
  EXPECT_EQ(count(3'100'000), "3.1 M");
  EXPECT_EQ(count(12'000'000'000), "12 G");
}

TEST(Print, WritesTenths) {
  EXPECT_EQ(line([](Line& l) { l.tenths(0); }), "0.0");
  EXPECT_EQ(line([](Line& l) { l.tenths(127); }), "12.7");
}

TEST(Print, CutsWhatDoesNotFit) {
  Line out;
  const std::string long_text(700, 'a');
  out.text(long_text.c_str());
  EXPECT_EQ(out.size(), 700U);
  out.text(long_text.c_str()).number(uint64_t{1}).hex(2);
  const size_t full = out.size();
  EXPECT_GE(full, 900U);
  EXPECT_LT(full, 1400U);
  EXPECT_EQ(std::string(out.data(), full), std::string(full, 'a'));
  out.text("b").number(int64_t{-5});
  EXPECT_EQ(out.size(), full);
  out.clear();
  EXPECT_EQ(out.size(), 0U);
  out.text("b");
  EXPECT_EQ(std::string(out.data(), out.size()), "b");
}

TEST(Print, WritesPartsOfAText) {
  EXPECT_EQ(line([](Line& l) { l.text("abcdef", 3).text("", 0).text("g"); }), "abcg");
}

TEST(Print, NamesProgramAndProcess) {
  const std::string want = std::string(" in ") + program_invocation_short_name + "[" + std::to_string(getpid()) + "]\n";
  EXPECT_EQ(line([](Line& l) { l.in_program(); }), want);
}

TEST(Print, WritesToADescriptorAndLeavesErrnoAlone) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Line out;
  out.text("one line\n");
  errno = 77;
  out.write_to(ends[1]);
  out.write_to(-1);  // refused; nobody to tell
  EXPECT_EQ(errno, 77);
  char buffer[64];
  EXPECT_EQ(read(ends[0], buffer, sizeof buffer), 9);
  EXPECT_EQ(std::string(buffer, 9), "one line\n");
  close(ends[0]);
  close(ends[1]);
}

TEST(CheckDeathTest, SaysWhatWhereAndInWhichProgram) {
  const int one = 1;
  EXPECT_DEATH(TRI_CHECK(one == 2), "^tri: check failed: one == 2 at .*print_test\\.cc:[0-9]+ in .*\\[[0-9]+\\]\n");
  TRI_CHECK(one == 1);
}

TEST(CheckDeathTest, AssertsInDebugBuildsOnly) {
  const int one = 1;
  if (kDebug) {
    EXPECT_DEATH(TRI_ASSERT(one == 2), "tri: check failed: one == 2");
  } else {
    TRI_ASSERT(one == 2);
  }
}

}  // namespace
}  // namespace tri
