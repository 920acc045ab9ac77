// surroundings_test.cc - Processes that lack something: /proc, descriptors, system calls, trust.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

constexpr unsigned kNobody = 65534;

TEST(Surroundings, ASingleThreadedProgramKeepsNoTraceOfTheLibrary) {
  Outcome o = run_probe("quiet", {"traces"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "no traces\n");
  EXPECT_EQ(o.err, "");
}

TEST(Surroundings, AProgramWithoutStandardDescriptorsGetsNoneFromTheLibrary) {
  Command command;
  command.argv = {probe("quiet"), "closed"};
  command.in_child = [] {
    close(0);
    close(1);
    close(2);
  };
  for (const char* options : {"TRI=", "TRI=stats:on", "TRI=unknown:on"}) {
    command.env = {options};
    Outcome o = run(command);
    EXPECT_TRUE(o.exited(0))
        << options
        << ": 12 the library holds a descriptor, 13 and 14 it opened one later: " << o.describe();
  }
}

TEST(Surroundings, AProgramWorksWithoutProc) {
  Command command;
  command.argv = {probe("quiet"), "plain"};
  command.in_child = [] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/proc", "tmpfs", MS_RDONLY, nullptr) != 0 || access("/proc/self", F_OK) == 0)
      _exit(99);
  };
  for (const char* options : {"TRI=", "TRI=stats:on"}) {
    command.env = {options};
    Outcome o = run(command);
    EXPECT_TRUE(o.exited(0)) << "99: needs root: " << o.describe();
    EXPECT_EQ(o.out, "worked\n");
  }
}

TEST(Surroundings, AProgramWorksWithoutProcUnderTheLimitOfSixtyFourMebibytes) {
  Command command;
  command.argv = {"/bin/sh", "-c", "ulimit -v 65536; exec \"$0\" small", probe("limits")};
  command.in_child = [] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/proc", "tmpfs", MS_RDONLY, nullptr) != 0)
      _exit(99);
  };
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << "99: needs root: " << o.describe();
}

TEST(Surroundings, AProgramWorksInAChrootThatHoldsNothingButLibraries) {
  std::string root = TRI_TEST_PROBES "/chroot";
  // The program's libraries, as the loader names them, each at its own path inside the new root.
  std::string script = "set -e; rm -rf " + root + "; mkdir -p " + root + "/lib64\n" +
                       "for f in $(ldd " + probe("quiet") + " " + library() +
                       " | grep -o '/[^ :)]*' | sort -u); do\n" + "  mkdir -p " + root +
                       "$(dirname $f); cp -L $f " + root + "$f; done\n" + "mkdir -p " + root +
                       TRI_TEST_PROBES "; cp " + probe("quiet") + " " + root + probe("quiet") +
                       "\n" + "mkdir -p $(dirname " + root + library() + "); cp -L " + library() +
                       " " + root + library() + "\n";
  Outcome made = run({.argv = {"/bin/sh", "-c", script}, .preload = false});
  ASSERT_TRUE(made.exited(0)) << made.describe();
  Command command;
  command.argv = {probe("quiet"), "plain"};
  command.in_child = [root] {
    if (chroot(root.c_str()) != 0 || chdir("/") != 0) _exit(99);
  };
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << "99: needs root: " << o.describe();
  EXPECT_EQ(o.out, "worked\n");
  EXPECT_EQ(o.err, "");
  Outcome removed = run({.argv = {"/bin/rm", "-rf", root}, .preload = false});
  EXPECT_TRUE(removed.exited(0));
}

TEST(Surroundings, AProgramBehindALeanSystemCallFilterHasAHeap) {
  Outcome o = run_probe("lean");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "worked\n");
  EXPECT_EQ(o.err, "");
}

// A copy of the probe in the build folder (mounted, unlike /tmp perhaps, without nosuid).
class SetUserId : public testing::Test {
 protected:
  void SetUp() override {
    copy_ = probe("secure_copy");
    Outcome copied = run({.argv = {"/bin/cp", probe("secure"), copy_}, .preload = false});
    ASSERT_TRUE(copied.exited(0)) << copied.describe();
  }
  void TearDown() override { unlink(copy_.c_str()); }

  Outcome run_as_nobody(const std::string& options) {
    Command command;
    command.argv = {copy_};
    command.preload = false;  // it is linked: the loader drops LD_PRELOAD in such a program
    command.env = {options};
    command.in_child = [] {
      if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(99);
    };
    return run(command);
  }

  std::string copy_;
};

TEST_F(SetUserId, ProgramIgnoresTheVariable) {
  ASSERT_EQ(chown(copy_.c_str(), 0, 0), 0) << "needs root";
  ASSERT_EQ(chmod(copy_.c_str(), 04755), 0);
  std::string file = std::string(TRI_TEST_PROBES) + "/secure_report";
  for (std::string options :
       {std::string("TRI=stats:on"), std::string("TRI=help"), std::string("TRI=unknown:on"),
        std::string("TRI=verbose:on"), "TRI=stats:on,report:" + file}) {
    Outcome o = run_as_nobody(options);
    EXPECT_TRUE(o.exited(0)) << options << o.describe();
    EXPECT_EQ(o.out, "secure=1 active=1 uid=65534 euid=0\n") << options;
    EXPECT_EQ(o.err, "") << options;
    EXPECT_NE(access(file.c_str(), F_OK), 0)
        << "a set-user-ID program wrote a file that its caller named";
  }
}

TEST_F(SetUserId, TheSameProgramWithoutTheBitObeysTheVariable) {
  // The control: without it the test above would pass with a library that knows no options at all.
  ASSERT_EQ(chmod(copy_.c_str(), 0755), 0);
  Outcome o = run_as_nobody("TRI=stats:on");
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "secure=0 active=1 uid=65534 euid=65534\n");
  EXPECT_NE(o.err.find("tri 0.1.0"), std::string::npos) << o.describe();
}

}  // namespace
}  // namespace tri_test
