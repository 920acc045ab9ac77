// loading_test.cc - The library among others: opened at run time, beside interposers, under plug-ins bound deeply.
#include <gtest/gtest.h>

#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

Outcome load(const std::string& what, const std::string& lib, bool preload = true) {
  Command command;
  command.argv = {probe("loader"), what, lib};
  command.preload = preload;
  return run(command);
}

void expect_worked(const Outcome& o) {
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
  EXPECT_EQ(o.err, "");
}

TEST(Loading, BlocksCrossTheBorderToALibraryOpenedWithDeepbind) {
  expect_worked(load("deepbind", probe("libdeep.so")));
}

TEST(Loading, ALibraryOpenedWithDeepbindWorksByItself) {
  expect_worked(load("deepalone", probe("libdeep.so")));
}

TEST(Loading, DlopenHonoursTheRunpathOfItsCaller) {
  expect_worked(load("runpath", probe("libouter.so")));
}

TEST(Loading, DlopenAndDlerrorFailAsBefore) { expect_worked(load("names", "-")); }

TEST(Loading, ACxxLibraryInACProgramThrowsItsOwnBadAlloc) {
  expect_worked(load("throwing", probe("libthrowing.so")));
}

TEST(Loading, OpenedAtRunTimeTheLibraryServesItsOwnNamesAndLeavesMallocAlone) {
  expect_worked(load("library", library(), false));
}

Outcome beside(const std::string& before, const std::string& after,
               const std::string& program = "churn") {
  Command command;
  command.argv = {probe(program)};
  command.preload_before = before;
  command.preload_after = after;
  return run(command);
}

TEST(Loading, AnInterposerAheadOfTheLibraryForwardsToIt) {
  Outcome o = beside(probe("libcounting.so"), "");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\ncounted many\n");
  EXPECT_EQ(o.err, "");
}

TEST(Loading, AnInterposerBehindTheLibraryIsNotNeeded) {
  Outcome o = beside("", probe("libcounting.so"));
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\ncounted few\n");
  EXPECT_EQ(o.err, "");
}

TEST(Loading, ADlsymThatAllocatesIsServed) {
  expect_worked(beside(probe("libdlsym_wrapper.so"), ""));
  expect_worked(beside("", probe("libdlsym_wrapper.so")));
}

TEST(Loading, AClockThatAllocatesDoesNotRecurse) {
  expect_worked(beside(probe("libclock.so"), ""));
  expect_worked(beside("", probe("libclock.so")));
  Outcome with_report = run(
      {.argv = {probe("churn")}, .preload_before = probe("libclock.so"), .env = {"TRI=stats:on"}});
  EXPECT_TRUE(with_report.exited(0)) << with_report.describe();
}

TEST(Loading, ValgrindsMemcheckWorksOnTop) {
  Command command;
  command.argv = {"/usr/bin/valgrind", "-q", "--error-exitcode=9", probe("churn")};
  command.timeout_seconds = 120;
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
}

TEST(Loading, ValgrindWithoutItsOwnMallocRunsTheLibrarys) {
  Command command;
  command.argv = {"/usr/bin/valgrind", "-q", "--tool=none", probe("churn")};
  command.timeout_seconds = 120;
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
}

TEST(Loading, MemcheckStillFindsLeaksAndOverflowsWithTheLibraryPreloaded) {
  Command command;
  command.timeout_seconds = 60;
  for (const char* fault : {"leak", "overflow", "use_after_free"}) {
    command.argv = {"/usr/bin/valgrind", "-q", "--leak-check=full", "--error-exitcode=9",
                    probe("faulty"),     fault};
    Outcome o = run(command);
    EXPECT_TRUE(o.exited(9)) << fault << o.describe();
  }
}

}  // namespace
}  // namespace tri_test
