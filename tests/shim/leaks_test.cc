// leaks_test.cc - Programs that lose blocks, and those that do not, with TRI=leaks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "support/process.h"

namespace {

using tri_test::Outcome;
using tri_test::run_probe;

Outcome run_leaks(const std::string& what, const std::string& option, std::vector<std::string> more = {}) {
  more.insert(more.begin(), what);
  return run_probe("leaks", more, {"TRI=" + option});
}

void expect_match(const std::string& text, const std::string& pattern) {
  EXPECT_TRUE(std::regex_search(text, std::regex(pattern))) << text << "\ndoes not have\n" << pattern;
}

TEST(LeaksAtExit, NoneAreReportedWhereThereAreNone) {
  const Outcome o = run_leaks("none", "leaks:fail");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  expect_match(o.err, R"(^tri: no leaks: all of \d+ blocks \(.+\) are reached in leaks\[\d+\]\n$)");
}

TEST(LeaksAtExit, ListsCountWithTheirHeads) {
  const Outcome o = run_leaks("list", "leaks:on");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "buffered, and written at the end");
  expect_match(o.err, R"(^tri: leaks: nothing reaches 8 blocks \(3\.3 KiB\) of \d+ \(.+\) in leaks\[\d+\]\n)");
  expect_match(o.err,
               R"(\n  3\.0 KiB: 3 blocks of 1\.0 KiB; the first at 0x[0-9a-f]+, allocated in\n    \S*lose_one\S*\+0x)");
  expect_match(
      o.err,
      R"(\n  320 B: 1 block of 64 B, with 4 \(256 B\) that hang on it; at 0x[0-9a-f]+, allocated in\n    \S*make_node\S*\+0x)");
}

TEST(LeaksAtExit, ACircleIsOneLeak) {
  const Outcome o = run_leaks("circle", "leaks:on");
  expect_match(o.err, R"(\n  192 B: 1 block of 64 B, with 2 \(128 B\) that hang on it; at 0x)");
}

TEST(LeaksAtExit, LargeBlocksAreFound) {
  const Outcome o = run_leaks("large", "leaks:on");
  expect_match(o.err, R"(nothing reaches 1 block \(4[78] MiB\) of)");
}

TEST(LeaksAtExit, ManySizesOfOneSiteAreOneGroup) {
  const Outcome o = run_leaks("sizes", "leaks:on");
  expect_match(o.err, "nothing reaches 400 blocks");
  expect_match(
      o.err, R"(\n  .*: 400 blocks of various sizes; the first at 0x[0-9a-f]+, allocated in\n    \S*lose_one\S*\+0x)");
}

// ---- sites

TEST(LeaksSites, TheWholeStackIsThereWithFunctionsAndFiles) {
  const Outcome o = run_leaks("list", "leaks:on");
  expect_match(
      o.err,
      R"(\n    \S*lose_one\S*\+0x[0-9a-f]+ \(/\S*/leaks\+0x[0-9a-f]+\)\n    \S*lose\S*\+0x\S+ \(/\S*/leaks\+\S+\)\n)"
      R"(    main\+0x\S+ \(/\S*/leaks\+\S+\)\n(.*\n)*    _start\+0x\S+ \(/\S*/leaks\+\S+\)\n)");
  // None of the library's own.
  EXPECT_EQ(o.err.find("libtri"), std::string::npos) << o.err;
}

TEST(LeaksSites, CodeThatWasUnloadedIsStillNamed) {
  const Outcome o = run_leaks("unloaded", "leaks:on");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  expect_match(o.err, R"(: 3 blocks of 1\.0 KiB; .*\n    probe_lose\+0x\S+ \(/\S*/libloser\.so\+\S+\)\n    main\+)");
}

TEST(LeaksSites, OfALongRunASampleAndThatIsSaid) {
  const Outcome o = run_leaks("many", "leaks:on");
  expect_match(o.err, R"(nothing reaches 100000 blocks)");
  expect_match(
      o.err,
      R"(\n  where they were allocated is known of \d+ of 100000 direct leaks: a sample, whose shares are not those of all\n)");
  // All are counted, whether their site is known or not.
  const std::regex group(R"(\n  [0-9.]+ .?i?B: (\d+) blocks? of )");
  size_t blocks = 0;
  for (std::sregex_iterator i(o.err.begin(), o.err.end(), group), end; i != end; ++i) blocks += std::stoul((*i)[1]);
  EXPECT_EQ(blocks, 100000U);
}

// ---- suppressions

class Suppressions : public testing::Test {
 protected:
  ~Suppressions() override { unlink(file_.c_str()); }
  Outcome run(const std::string& text, const std::string& what = "list") {
    std::ofstream(file_) << text;
    return run_leaks(what, "leaks:fail,suppress:" + file_);
  }
  std::string file_ = testing::TempDir() + "suppressions_" + std::to_string(getpid());
};

TEST_F(Suppressions, HideWhatTheyMatchAndAreCounted) {
  Outcome o = run("# known\n\n leak:lose_one \n");
  EXPECT_TRUE(o.exited(23)) << o.describe();
  expect_match(o.err, R"(nothing reaches 5 blocks \(320 B\))");
  expect_match(o.err, R"(\n  suppressed: 3 blocks \(3\.0 KiB\)\n)");
  EXPECT_EQ(o.err.find("lose_one"), std::string::npos) << o.err;
  // What hangs on a leak goes with it; without an end of line as well.
  o = run("leak:make*node");
  expect_match(o.err, R"(nothing reaches 3 blocks \(3\.0 KiB\))");
  expect_match(o.err, R"(\n  suppressed: 5 blocks \(320 B\)\n)");
}

TEST_F(Suppressions, AllOfThemMakeNoFailure) {
  for (const char* text : {"leak:^main$", "leak:/leaks$", "leak:lose_one\nleak:make_node\n", "leak:*"}) {
    const Outcome o = run(text);
    EXPECT_TRUE(o.exited(0)) << text << o.describe();
    expect_match(o.err, "^tri: no leaks: all of .* are reached, or suppressed in leaks");
    expect_match(o.err, R"(\n  suppressed: 8 blocks \(3\.3 KiB\)\n)");
  }
  for (const char* text : {"leak:^ain$", "leak:^mai$", "leak:nowhere", "leak:/lea$"}) {
    EXPECT_TRUE(run(text).exited(23)) << text;
  }
}

TEST_F(Suppressions, ABadFileIsNamedWithItsLine) {
  Outcome o = run("leak:lose_one\nrace:x\n");
  expect_match(o.err, "^tri: suppressions " + file_ + ":2: not 'leak:PATTERN'\ntri: option 'suppress' does not take '");
  o = run_leaks("none", "leaks:on,suppress:/nowhere/at/all");
  expect_match(o.err, "^tri: suppressions /nowhere/at/all: ENOENT\n");
}

TEST(LeaksAtExit, FailSetsTheExitStatusAndLosesNoOutput) {
  for (const char* status : {"0", "7"}) {
    const Outcome o = run_leaks("list", "leaks:fail", {status});
    EXPECT_TRUE(o.exited(23)) << o.describe();
    EXPECT_EQ(o.out, "buffered, and written at the end");
  }
  EXPECT_TRUE(run_leaks("list", "leaks:on", {"7"}).exited(7));
  EXPECT_TRUE(run_leaks("none", "leaks:fail", {"7"}).exited(7));
}

TEST(LeaksAtExit, OffIsTheDefaultAndSilent) {
  const Outcome o = run_probe("leaks", {"list"});
  EXPECT_TRUE(o.exited(0));
  EXPECT_EQ(o.err, "");
}

TEST(LeaksAtExit, OnlyNamesThePrograms) {
  EXPECT_EQ(run_leaks("list", "leaks:fail,only:other*").err, "");
  EXPECT_NE(run_leaks("list", "leaks:on,only:leak*").err, "");
}

TEST(LeaksAtExit, TheReportOptionSaysWhere) {
  const std::string file = testing::TempDir() + "leaks_report_" + std::to_string(getpid());
  const Outcome o = run_leaks("list", "leaks:on,report:" + file);
  EXPECT_EQ(o.err, "");
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  unlink(file.c_str());
  expect_match(text.str(), "nothing reaches 8 blocks");
}

TEST(LeaksAtExit, AProgramThatClosedItsStderrIsReportedOn) {
  expect_match(run_leaks("closed", "leaks:on").err, "nothing reaches 8 blocks");
}

TEST(LeaksAtExit, BesideTheOtherReport) {
  const Outcome o = run_leaks("list", "leaks:on,stats:on");
  expect_match(o.err, "nothing reaches 8 blocks");
  expect_match(o.err, "^tri \\d.*  exit 0  ");
}

TEST(LeaksOnRequest, TheSignalsReportHasThem) {
  const Outcome o = run_leaks("signal", "leaks:on,signal:USR2");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  // And so has the one at the end. A register of the interrupted code may still hold what was lost last.
  expect_match(o.err, "nothing reaches [78] blocks[^]*nothing reaches [78] blocks");
}

TEST(LeaksOnRequest, ASmallSignalStackIsNotOverrun) {
  const Outcome o = run_leaks("small_stack", "leaks:on,signal:USR2");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  expect_match(o.err, "tri: cannot look for leaks: the signal came on a stack of less than 32 KiB in leaks\\[");
  expect_match(o.err, "nothing reaches [78] blocks");
}

TEST(LeaksOnRequest, UnknownValuesAreNamed) {
  expect_match(run_leaks("none", "leaks:maybe").err, "tri: option 'leaks' does not take 'maybe' \\(off, on, fail\\)");
}

}  // namespace
