// options_test.cc - The variable TRI: what it accepts, what it says about what it does not, and the report at exit.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

std::string hello_line(const Outcome& child) { return "hello " + std::to_string(child.pid) + "\n"; }

std::string report_head(const Outcome& child, const std::string& how) {
  return "tri 0.1.0  hello[" + std::to_string(child.pid) + "]  " + how;
}

void expect_complaint(const std::string& options, const std::string& complaint) {
  Outcome child = run_probe("hello", {}, {"TRI=" + options});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.out, hello_line(child)) << options;
  EXPECT_EQ(child.err, complaint) << options;
}

TEST(Options, NothingIsSaidWithoutThem) {
  expect_complaint("", "");
  Outcome child = run_probe("hello");
  EXPECT_EQ(child.err, "");
  EXPECT_EQ(child.out, hello_line(child));
}

TEST(Options, AnUnknownKeyNamesTheNearestOneAndTheProgramRunsOn) {
  expect_complaint("stat:on", "tri: unknown option 'stat' (did you mean 'stats'?)\n");
  expect_complaint("chekc:off", "tri: unknown option 'chekc' (did you mean 'check'?)\n");
  expect_complaint("prge:1s", "tri: unknown option 'prge' (did you mean 'purge'?)\n");
}

TEST(Options, AValueThatAKeyDoesNotTakeListsThoseItTakes) {
  expect_complaint("stats:maybe", "tri: option 'stats' does not take 'maybe' (off, on)\n");
  for (const char* value : {"0", "-1", "257", "two", "1e1", ""})
    expect_complaint("cpus:" + std::string(value), "tri: option 'cpus' does not take '" + std::string(value) + "' (auto, N)\n");
  for (const char* value : {"1K", "1G", "64k", "K", "99999999999"})
    expect_complaint("stack:" + std::string(value), "tri: option 'stack' does not take '" + std::string(value) + "' (SIZE)\n");
  expect_complaint("preempt:KILL", "tri: option 'preempt' does not take 'KILL' (SIGNAL, off)\n");
  expect_complaint("signal:RT+99", "tri: option 'signal' does not take 'RT+99' (off, SIGNAL)\n");
  expect_complaint("trace:malloc", "tri: option 'trace' does not take 'malloc' (off, sched, gc, safe, all)\n");
}

TEST(Options, OneBadOptionDoesNotSpoilTheOthers) {
  Outcome child = run_probe("hello", {}, {"TRI=stat:on,stats:on"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  auto said = lines(child.err);
  ASSERT_GE(said.size(), 2u) << child.describe();
  EXPECT_EQ(said[0], "tri: unknown option 'stat' (did you mean 'stats'?)");
  EXPECT_EQ(said[1].rfind(report_head(child, "exit 0"), 0), 0u) << said[1];
}

TEST(Options, TextWithoutSenseIsReportedAndDoesNoHarm) {
  // Fuzz by hand: each of these is a mistake that a shell makes easy. One line each at least, and a whole program.
  for (std::string text :
       {std::string(":"), std::string(":on"), std::string("stats:"), std::string("purge:-1"),
        std::string("purge:1parsec"), std::string("limit:99999999999999999999G"),
        std::string("\xff\xfe:\x01"), std::string(20000, 'x'), std::string(5000, 'x') + ":on",
        std::string("stats:") + std::string(9000, 'y'), std::string("stats=on"),
        std::string(" stats:on x"), std::string("%s%n%p:%s")}) {
    Outcome child = run_probe("hello", {}, {"TRI=" + text});
    EXPECT_TRUE(child.exited(0)) << text.substr(0, 40) << child.describe();
    EXPECT_EQ(child.out, hello_line(child)) << text.substr(0, 40);
    auto said = lines(child.err);
    ASSERT_EQ(said.size(), 1u) << text.substr(0, 40) << child.describe();
    EXPECT_EQ(said[0].rfind("tri: ", 0), 0u) << said[0];
    EXPECT_LE(said[0].size(), 1000u);
  }
}

TEST(Options, EmptyItemsAreNoMistake) { expect_complaint(",,,", ""); }

TEST(Options, HelpPrintsTheKeysAndLeavesBeforeMain) {
  Outcome child = run_probe("hello", {"exit7"}, {"TRI=help"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.out.find("hello"), std::string::npos) << "main ran";
  std::string all = child.out + child.err;
  for (const char* key : {"stats", "purge", "check"})
    EXPECT_NE(all.find(key), std::string::npos) << key << "\n" << all;
}

TEST(Options, TheSchedulersAreTaken) {
  const auto shown = [](const std::string& options, const std::string& key) {
    Outcome child = run_probe("goroutines", {"show", key}, {"TRI=" + options});
    EXPECT_TRUE(child.exited(0)) << child.describe();
    return child.out + child.err;
  };
  EXPECT_EQ(shown("cpus:5", "cpus"), "5, 5 procs\n");
  EXPECT_EQ(shown("cpus:5,cpus:3", "cpus"), "3, 3 procs\n");
  EXPECT_EQ(shown("cpus:1,stack:256K", "stack"), "256 KiB, 1 procs\n");
  EXPECT_EQ(shown("cpus:1", "preempt"), "URG, 1 procs\n");
  EXPECT_EQ(shown("cpus:1,preempt:RT+3", "preempt"), "RT+3, 1 procs\n");
  EXPECT_EQ(shown("cpus:1,preempt:off", "preempt"), "off, 1 procs\n");
  EXPECT_EQ(shown("cpus:1,signal:USR2", "signal"), "USR2, 1 procs\n");
  EXPECT_EQ(shown("cpus:1,trace:sched", "trace"), "sched, 1 procs\n");
}

TEST(Options, AnotherSignalPreemptsAsWell) {
  // Without preemption main would not be woken beside the hog.
  for (const char* signal : {"URG", "USR1", "RT+5"}) {
    Outcome child = run_probe("goroutines", {"hogs", "50"}, {"TRI=cpus:1,preempt:" + std::string(signal)});
    EXPECT_TRUE(child.exited(0)) << signal << child.describe();
    EXPECT_EQ(child.out, "slept\n");
  }
}

TEST(Options, TraceWritesALineASecond) {
  Outcome child = run_probe("goroutines", {"hogs", "2300"}, {"TRI=trace:sched,cpus:2"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  const auto said = lines(child.err);
  EXPECT_GE(said.size(), 2U) << child.err;
  EXPECT_LE(said.size(), 4U) << child.err;
  const std::regex form(
      "tri sched [0-9]+\\.[0-9] s: procs 2 busy [0-2] spinning [0-9]+ threads [0-9]+ idle [0-9]+ records [0-9]+ "
      "preempted [0-9]+ global [0-9]+ local [0-9]+ [0-9]+");
  for (const std::string& line : said) EXPECT_TRUE(std::regex_match(line, form)) << line;
}

TEST(Options, ASignalReportsMemoryAndTasksAtAnyInstruction) {
  char path[] = "/tmp/tri_signal_XXXXXX";
  close(mkstemp(path));
  Outcome child = run_probe("goroutines", {"storm", std::to_string(SIGUSR2)},
                            {"TRI=signal:USR2,report:" + std::string(path)});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.out, "stormed\n");
  std::stringstream report;
  report << std::ifstream(path).rdbuf();
  unlink(path);
  const std::string text = report.str();
  EXPECT_NE(text.find("goroutines[" + std::to_string(child.pid) + "]  running"), std::string::npos) << text.substr(0, 2000);
  EXPECT_NE(text.find("goroutine 1 \"main\": "), std::string::npos) << text.substr(0, 2000);
}

TEST(Options, TheListOfTasksNamesWhereEachWaits) {
  Outcome child = run_probe("goroutines", {"where", "-"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  const std::regex form("goroutine [0-9.]+: waits for chan receive[^\n]*\n    waits_here\\+0x[^\n]*\n    called_by\\+0x");
  EXPECT_TRUE(std::regex_search(child.out, form)) << child.out;
}

void expect_report(const Outcome& child, const std::string& report, const std::string& how) {
  auto said = lines(report);
  ASSERT_FALSE(said.empty()) << child.describe();
  EXPECT_EQ(said[0].rfind(report_head(child, how), 0), 0u) << said[0];
  EXPECT_EQ(said.size(), 9u) << report;
  EXPECT_NE(report.find("live"), std::string::npos) << report;
  EXPECT_NE(report.find("rss"), std::string::npos) << report;
}

TEST(Options, StatsPrintsTheReportAtExit) {
  Outcome child = run_probe("hello", {}, {"TRI=stats:on"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.out, hello_line(child));
  expect_report(child, child.err, "exit 0");
}

TEST(Options, TheReportTellsTheExitStatus) {
  Outcome child = run_probe("hello", {"exit7"}, {"TRI=stats:on"});
  EXPECT_TRUE(child.exited(7)) << child.describe();
  expect_report(child, child.err, "exit 7");
}

TEST(Options, TheReportsLiveMemoryIsWhatTheProgramKept) {
  Outcome child = run_probe("hello", {}, {"TRI=stats:on"});
  std::smatch found;
  ASSERT_TRUE(std::regex_search(child.err, found, std::regex("live +([0-9.]+) (B|KiB|MiB)")))
      << child.err;
  double mib = std::stod(found[1]) * (found[2] == "MiB"   ? 1
                                      : found[2] == "KiB" ? 1.0 / 1024
                                                          : 1.0 / (1 << 20));
  EXPECT_GE(mib, 3.0) << child.err;
  EXPECT_LE(mib, 4.0) << child.err;
}

TEST(Options, TheReportGoesToTheFileThatReportNames) {
  char folder[] = "/tmp/tri-report-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  std::string base = std::string(folder) + "/r-";
  Outcome child = run_probe("hello", {}, {"TRI=stats:on,report:" + base + "%c-%p"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.err, "");
  std::string file = base + "hello-" + std::to_string(child.pid);
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  expect_report(child, text.str(), "exit 0");
  unlink(file.c_str());
  rmdir(folder);
}

TEST(Options, AReportThatCannotBeWrittenIsTold) {
  Outcome child = run_probe("hello", {}, {"TRI=stats:on,report:/nonexistent-folder/report"});
  EXPECT_TRUE(child.exited(0)) << child.describe();
  EXPECT_EQ(child.err.rfind("tri: ", 0), 0u) << child.describe();
  EXPECT_NE(child.err.find("/nonexistent-folder/report"), std::string::npos) << child.describe();
}

TEST(Options, OnlyKeepsOtherProgramsQuiet) {
  Outcome other = run_probe("hello", {}, {"TRI=stats:on,only:firefox*"});
  EXPECT_TRUE(other.exited(0)) << other.describe();
  EXPECT_EQ(other.err, "");
  Outcome ours = run_probe("hello", {}, {"TRI=stats:on,only:hel*"});
  expect_report(ours, ours.err, "exit 0");
}

}  // namespace
}  // namespace tri_test
