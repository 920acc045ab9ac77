// launcher_test.cc - `tri run` starts a program under the library, passes its end on, and reports on any death.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

std::string launcher() { return TRI_TEST_LAUNCHER; }

Outcome launch(std::vector<std::string> program, std::vector<std::string> env = {}) {
  Command command;
  command.argv = {launcher(), "run", "--"};
  for (auto& p : program) command.argv.push_back(std::move(p));
  command.env = std::move(env);
  command.preload = false;
  return run(command);
}

// The process number that the probe told.
std::string told_pid(const Outcome& o) {
  size_t at = o.out.find("hello ");
  return at == std::string::npos ? "?" : o.out.substr(at + 6, o.out.find('\n', at) - at - 6);
}

void expect_report(const Outcome& o) {
  std::string head = "tri 0.1.0  hello[" + told_pid(o) + "]  ";
  size_t at = o.err.find(head);
  ASSERT_NE(at, std::string::npos) << o.describe();
  EXPECT_TRUE(at == 0 || o.err[at - 1] == '\n') << o.describe();
  EXPECT_EQ(o.err.find(head, at + 1), std::string::npos) << "two reports\n" << o.describe();
  EXPECT_NE(o.err.find("live", at), std::string::npos) << o.describe();
}

struct Scratch {
  Scratch() {
    char name[] = "/tmp/tri-launcher-XXXXXX";
    folder = mkdtemp(name);
  }
  ~Scratch() { std::ignore = system(("rm -rf " + folder).c_str()); }
  std::string file(const std::string& name, const std::string& content, mode_t mode) const {
    std::string path = folder + "/" + name;
    std::ofstream(path) << content;
    chmod(path.c_str(), mode);
    return path;
  }
  std::string folder;
};

TEST(Launcher, RunsTheProgramUnderTheLibrary) {
  Outcome o = launch({"/bin/sh", "-c", "echo $LD_PRELOAD; cat /proc/self/maps"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_NE(o.out.find("libtri.so"), std::string::npos) << o.describe();
}

TEST(Launcher, PassesTheExitStatusOn) {
  EXPECT_TRUE(launch({probe("hello"), "return"}).exited(0));
  EXPECT_TRUE(launch({probe("hello"), "exit7"}).exited(7));
  EXPECT_TRUE(launch({"/bin/sh", "-c", "exit 123"}).exited(123));
}

TEST(Launcher, PassesADeathBySignalOn) {
  // As a shell does (128 + signal), or by dying of the same signal.
  for (auto [how, signal] :
       {std::pair{"kill", SIGKILL}, std::pair{"term", SIGTERM}, std::pair{"abort", SIGABRT}}) {
    Outcome o = launch({probe("hello"), how});
    EXPECT_TRUE(o.exited(128 + signal) || o.killed_by(signal)) << how << o.describe();
  }
}

TEST(Launcher, PassesArgumentsInputAndOutputOn) {
  Command command;
  command.preload = false;
  command.argv = {launcher(), "run", "--", "/bin/sh", "-c", "read line; echo \"$line:$1:$2\"",
                  "name",     "--",  "a b"};
  command.in_child = [] {
    int ends[2];
    if (pipe(ends) != 0 || write(ends[1], "typed\n", 6) != 6) _exit(99);
    dup2(ends[0], 0);
    close(ends[0]);
    close(ends[1]);
  };
  Outcome o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_EQ(o.out, "typed:--:a b\n");
}

TEST(Launcher, ReportsAfterANormalEnd) {
  expect_report(launch({probe("hello"), "return"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsAfterUnderscoreExit) {
  expect_report(launch({probe("hello"), "_exit"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsAfterQuickExit) {
  expect_report(launch({probe("hello"), "quick_exit"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsAfterSigkill) {
  expect_report(launch({probe("hello"), "kill"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsAfterSigterm) {
  expect_report(launch({probe("hello"), "term"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsAfterAbort) {
  expect_report(launch({probe("hello"), "abort"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsWhenStderrWasClosed) {
  expect_report(launch({probe("hello"), "close_err"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsWhenAllDescriptorsWereClosed) {
  expect_report(launch({probe("hello"), "close_all"}, {"TRI=stats:on"}));
}
TEST(Launcher, ReportsWhenStderrWasClosedAndTheProgramLeftByUnderscoreExit) {
  Outcome o = launch({probe("hello"), "close_err__exit"}, {"TRI=stats:on"});
  EXPECT_TRUE(o.exited(5)) << o.describe();
  expect_report(o);
}
TEST(Launcher, ReportsWhenStderrWasClosedAndTheProgramWasKilled) {
  expect_report(launch({probe("hello"), "close_err_kill"}, {"TRI=stats:on"}));
}

TEST(Launcher, ASignalToTheLauncherReachesTheProgram) {
  Outcome o = launch(
      {"/bin/sh", "-c", "trap 'echo caught; exit 9' TERM; kill -TERM $PPID; sleep 5 & wait"});
  EXPECT_TRUE(o.exited(9)) << o.describe();
  EXPECT_EQ(o.out, "caught\n");
}

TEST(Launcher, RunsAScriptThroughItsInterpreter) {
  Scratch scratch;
  std::string script = scratch.file("script", "#!/bin/sh\necho script $1\nexit 4\n", 0755);
  Outcome o = launch({script, "ran"});
  EXPECT_TRUE(o.exited(4)) << o.describe();
  EXPECT_EQ(o.out, "script ran\n");
}

void expect_refusal(const Outcome& o, const std::string& name, const std::string& reason) {
  EXPECT_FALSE(o.exited(0)) << o.describe();
  auto said = lines(o.err);
  ASSERT_FALSE(said.empty()) << o.describe();
  EXPECT_EQ(said[0].rfind("tri: ", 0), 0u) << o.describe();
  EXPECT_NE(said[0].find(name), std::string::npos) << o.describe();
  EXPECT_NE(o.err.find(reason), std::string::npos) << o.describe();
}

TEST(Launcher, SaysThatAProgramDoesNotExist) {
  Outcome o = launch({"/nonexistent/program"});
  expect_refusal(o, "/nonexistent/program", "not found");
  EXPECT_TRUE(o.exited(127)) << "as shells do: " << o.describe();
  expect_refusal(launch({"no-such-command-in-path"}), "no-such-command-in-path", "not found");
}

TEST(Launcher, SaysThatAStaticProgramCannotBePreloaded) {
  expect_refusal(launch({probe("static_hello")}), "static_hello", "static");
}

TEST(Launcher, SaysThatASetUserIdProgramIgnoresThePreload) {
  Scratch scratch;
  std::string copy = scratch.folder + "/setuid_hello";
  ASSERT_EQ(system(("cp " + probe("hello") + " " + copy).c_str()), 0);
  ASSERT_EQ(chmod(copy.c_str(), 04755), 0);
  ASSERT_EQ(chown(copy.c_str(), 65534, 65534), 0);  // someone other than who runs the test
  ASSERT_EQ(chmod(copy.c_str(), 04755), 0);         // chown dropped the bit
  expect_refusal(launch({copy}), "setuid_hello", "set-user-ID");
}

TEST(Launcher, SaysThatAFileIsNoProgram) {
  Scratch scratch;
  std::string text = scratch.file("notes.txt", "only text\n", 0755);
  expect_refusal(launch({text}), "notes.txt", "");
  std::string plain = scratch.file("plain", "only text\n", 0644);
  Outcome o = launch({plain});
  expect_refusal(o, "plain", "not executable");
  EXPECT_TRUE(o.exited(126)) << "as shells do: " << o.describe();
  expect_refusal(launch({scratch.folder}), scratch.folder, "");
}

TEST(Launcher, AloneItSaysHowItIsUsed) {
  Command command;
  command.argv = {launcher()};
  command.preload = false;
  Outcome o = run(command);
  EXPECT_NE((o.out + o.err).find("tri run"), std::string::npos) << o.describe();
  command.argv = {launcher(), "--version"};
  o = run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  EXPECT_NE(o.out.find("0.1.0"), std::string::npos) << o.describe();
  command.argv = {launcher(), "rnu", "--", "true"};
  o = run(command);
  EXPECT_FALSE(o.exited(0)) << o.describe();
  EXPECT_NE(o.err.find("rnu"), std::string::npos) << o.describe();
}

}  // namespace
}  // namespace tri_test
