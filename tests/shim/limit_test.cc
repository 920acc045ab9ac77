// limit_test.cc - Address-space limits are answered by ENOMEM, and left again.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/process.h"

namespace tri_test {
namespace {

Outcome under_limit(const std::string& what, rlim_t kib) {
  Command command;
  command.argv = {probe("limits"), what};
  command.timeout_seconds = 60;
  command.in_child = [kib] {
    rlimit limit{kib * 1024, kib * 1024};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(99);
  };
  return run(command);
}

TEST(Limit, AProgramWorksUnderUlimitV300000) {
  Outcome o = under_limit("small", 300000);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
  EXPECT_EQ(o.err, "");
}

TEST(Limit, AProgramWorksUnderUlimitV65536) {
  Outcome o = under_limit("small", 65536);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
  EXPECT_EQ(o.err, "");
}

TEST(Limit, EverySizeRecoversAfterTheLimitWasReached) {
  Outcome o = run_probe("limits", {"exhaust"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "recovered\n");
  EXPECT_EQ(o.err, "");
}

TEST(Limit, AllFunctionsInManyThreadsLiveAtTheLimit) {
  Outcome o = run_probe("limits", {"threads"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.err, "");
}

TEST(Limit, ANewThreadsFirstCallAtTheLimitIsAnswered) {
  Outcome o = run_probe("limits", {"first_malloc"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "survived\n");
  EXPECT_EQ(o.err, "");
}

}  // namespace
}  // namespace tri_test
