// cpu_times_test.cc - Tests of sched/cpu_times.h: the file as the kernel writes it, and as it should not be.
#include "sched/cpu_times.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

class CpuTimesFile : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(sched_getaffinity(0, sizeof before_, &before_), 0); }
  void TearDown() override {
    (void)sched_setaffinity(0, sizeof before_, &before_);
    (void)unlink(file_.c_str());
  }
  CpuTimes read(const std::string& text) {
    std::ofstream(file_) << text;
    return read_cpu_times(file_.c_str());
  }

  cpu_set_t before_;
  std::string file_ = testing::TempDir() + "tri-stat-" + std::to_string(getpid());
};

TEST_F(CpuTimesFile, CountsTheProcessorsThatWeMayUse) {
  int mine = 0;
  while (!CPU_ISSET(mine, &before_)) ++mine;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(mine, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  std::string text = "cpu  9 9 9 9999 9 9 9 0 0 0\n";
  for (int cpu = 0; cpu < mine + 2; ++cpu) {
    text += "cpu" + std::to_string(cpu) + " 1 2 3 " + std::to_string(cpu == mine ? 70 : 1000) + " 5 6 7 0 0 0\n";
  }
  const CpuTimes times = read(text + "intr 1 2 3\nctxt 4\n");
  EXPECT_EQ(times.cpus, 1);
  EXPECT_EQ(times.idle, 75 * milliseconds(10)) << "idle, or with nothing to do but to wait for a disk";
  EXPECT_GT(times.own, 0);
}

TEST_F(CpuTimesFile, TakesNothingFromWhatIsNoSuchFile) {
  for (const char* text : {"", "cpu", "cpu0 1 2 3 4", "cpu0\n", "cpux 1\n", "intr 0\n"}) {
    const CpuTimes times = read(text);
    EXPECT_LE(times.cpus, 1) << text;
    EXPECT_EQ(times.idle, 0) << text;
  }
  EXPECT_EQ(read_cpu_times("/no/such/file").cpus, 0);
}

int number_of_stat() {
  char name[64];
  for (int fd = 3; fd < 1024; ++fd) {
    const ssize_t n = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), name, sizeof name);
    if (n > 0 && std::string(name, static_cast<size_t>(n)) == "/proc/stat") return fd;
  }
  return -1;
}

TEST_F(CpuTimesFile, TakesNoNumberThatAProgramMayCountOn) {
  if (cpu_times_of_system().cpus == 0) return;
  const int number = number_of_stat();
  EXPECT_GE(number, 900);
  // Closed by somebody, who opens another file there: that one is left alone, and not read.
  close(number);
  const int zero = open("/dev/zero", O_RDONLY);
  ASSERT_EQ(dup2(zero, number), number);
  EXPECT_GT(cpu_times_of_system().cpus, 0);
  EXPECT_GE(number_of_stat(), 900);
  char c = 1;
  EXPECT_EQ(::read(number, &c, 1), 1);
  EXPECT_EQ(c, 0);
  close(number);
  close(zero);
}

TEST_F(CpuTimesFile, OfTheSystemGrow) {
  const CpuTimes before = cpu_times_of_system();
  if (before.cpus == 0) return;  // where /proc is not to be read there is nothing to compare
  EXPECT_EQ(before.cpus, CPU_COUNT(&before_));
  volatile unsigned work = 0;
  while (now() - before.at < milliseconds(50)) work = work + 1;
  const CpuTimes after = cpu_times_of_system();
  EXPECT_GT(after.own, before.own);
  EXPECT_GE(after.idle, before.idle);
}

}  // namespace
}  // namespace tri::sched
