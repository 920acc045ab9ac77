// safe_test.cc - Programs that use blocks after they freed them, with TRI=safe and without.
#include <gtest/gtest.h>
#include <signal.h>

#include <regex>
#include <string>

#include "support/process.h"

namespace {

using tri_test::Command;
using tri_test::Outcome;
using tri_test::probe;
using tri_test::run;
using tri_test::run_probe;

class EachWay : public ::testing::TestWithParam<const char*> {};

TEST_P(EachWay, IsHarmlessUnderSafe) {
  const Outcome o = run_probe("dangling", {GetParam()}, {"TRI=safe:on"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

TEST_P(EachWay, HarmsWithoutIt) {
  // The test would else say nothing. The library may see what was done, and end the program.
  const Outcome o = run_probe("dangling", {GetParam()});
  EXPECT_FALSE(o.exited(0)) << o.describe();
}

INSTANTIATE_TEST_SUITE_P(Safe, EachWay,
                         ::testing::Values("read", "write", "stack", "tls", "container", "mapping", "register",
                                           "thread", "chain", "calls"),
                         [](const auto& each) { return std::string(each.param); });

TEST(Safe, ADoubleFreeIsFoundAlthoughTheBlockWasWritten) {
  const Outcome o = run_probe("dangling", {"twice"}, {"TRI=safe:on"});
  EXPECT_TRUE(o.killed_by(SIGABRT)) << o.describe();
  EXPECT_TRUE(
      std::regex_match(o.err, std::regex(R"(tri: double free of 0x[0-9a-f]+ \(size class 208\) in dangling\[\d+\]\n)")))
      << o.err;
}

TEST(Safe, ReallocOfAFreedBlockIsFound) {
  const Outcome o = run_probe("dangling", {"realloc"}, {"TRI=safe:on"});
  EXPECT_TRUE(o.killed_by(SIGABRT)) << o.describe();
  EXPECT_TRUE(std::regex_match(
      o.err, std::regex(R"(tri: realloc of freed block 0x[0-9a-f]+ \(size class 208\) in dangling\[\d+\]\n)")))
      << o.err;
}

/// What is made of threads, forks and signals while there are looks. FORKS=10000 makes as many forks.
Outcome run_long(const char* how, const char* options) {
  Command c;
  c.argv = {probe("dangling"), how};
  c.env = {options};
  c.timeout_seconds = 110;
  return run(c);
}

TEST(Safe, ForksInTheMiddleOfLooks) {
  const Outcome o = run_long("forks", "TRI=safe:on");
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

TEST(Safe, SignalHandlersThatFree) {
  const Outcome o = run_long("signals", "TRI=safe:on");
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

TEST(Safe, LeaksAreFoundBesideHeldBlocks) {
  const Outcome o = run_probe("leaks", {"list"}, {"TRI=safe:on,leaks:on"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_TRUE(std::regex_search(o.err, std::regex(R"(tri: leaks: nothing reaches 8 blocks \(3\.3 KiB\) of)"))) << o.err;
  const Outcome none = run_probe("leaks", {"none"}, {"TRI=safe:on,leaks:fail"});
  EXPECT_TRUE(none.exited(0)) << none.describe();
}

TEST(Safe, TheTraceHasALineForEachLook) {
  const Outcome o = run_probe("dangling", {"read"}, {"TRI=safe:on,trace:safe"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  const std::regex line(
      R"(tri: safe: (?:beside, )?heap [0-9.]+ .?i?B, roots [0-9.]+ .?i?B, returned [0-9.]+ .?i?B in \d+ blocks, held [0-9.]+ .?i?B, stop \d+ us of \d+ us in dangling\[\d+\])");
  ASSERT_FALSE(tri_test::lines(o.err).empty());
  for (const std::string& l : tri_test::lines(o.err)) EXPECT_TRUE(std::regex_match(l, line)) << l;
}

TEST(Safe, TheReportHasALineAboutIt) {
  const Outcome o = run_probe("dangling", {"read"}, {"TRI=safe:on,stats:on"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_TRUE(std::regex_search(
      o.err,
      std::regex(R"(\n  safe      \d+ looks in \d+ ms, longest stop \d+ us; returned .+ in .+ blocks, held .+\n)")))
      << o.err;
  const Outcome off = run_probe("dangling", {"read"}, {"TRI=stats:on"});
  EXPECT_EQ(off.err.find("\n  safe "), std::string::npos);
}

}  // namespace
