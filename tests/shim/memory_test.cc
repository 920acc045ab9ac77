// memory_test.cc - Resident memory: what is not used is not touched, and what was freed goes back.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

struct Idle {
  long base = 0, peak = 0, left = 0;
  int answer = 0;
};

Idle idle(const std::string& how) {
  Outcome o = run_probe("idle", {how});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  Idle i;
  EXPECT_EQ(sscanf(o.out.c_str(), "%ld %ld %ld %d", &i.base, &i.peak, &i.left, &i.answer), 4)
      << o.out;
  printf("base %ld, peak %ld, left %ld KiB\n", i.base, i.peak, i.left);
  EXPECT_GT(i.peak - i.base, 180 * 1024);
  return i;
}

TEST(Memory, AnIdleProcessGivesNinetyPercentBackWithinFiveSecondsWithoutAnyCall) {
  Idle i = idle("sleep");
  EXPECT_LE(i.left - i.base, (i.peak - i.base) / 10);
}

TEST(Memory, MallocTrimGivesItBackAtOnce) {
  Idle i = idle("trim");
  EXPECT_EQ(i.answer, 1);
  EXPECT_LE(i.left - i.base, (i.peak - i.base) / 10);
}

TEST(Memory, LockedMemoryDoesNotFillArenas) {
  Outcome o = run_probe("locked");
  ASSERT_TRUE(o.exited(0)) << o.describe();
  printf("growth %s", o.out.c_str());
  EXPECT_LT(atol(o.out.c_str()), 60 * 1024);
}

TEST(Memory, AFreshGibibyteFromCallocIsNotTouched) {
  Outcome o = run_probe("large", {"calloc"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
}

TEST(Memory, AGrowingBlockIsMovedByTheKernelAndNotCopied) {
  Outcome o = run_probe("large", {"grow"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
}

TEST(Memory, ABlockThatShrinksGivesItsTailBack) {
  Outcome o = run_probe("large", {"shrink"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

TEST(Memory, LargeBlocksThatComeAndGoDoNotPileUp) {
  Outcome o = run_probe("large", {"churn"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

TEST(Memory, AHelloWorldStaysSmall) {
  Outcome o = run_probe("large", {"nothing"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
}

}  // namespace
}  // namespace tri_test
