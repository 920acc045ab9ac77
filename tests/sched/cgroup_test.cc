// cgroup_test.cc - Tests of sched/cgroup.h against a root directory of our own.
#include "sched/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace tri::sched {
namespace {

namespace fs = std::filesystem;

constexpr const char* kV2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1 = "33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n";
constexpr const char* kV1Memory = "34 32 0:31 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory\n";

class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/tri-cgroup-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    root_ = folder;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    const fs::path file = root_ + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void process(const std::string& groups, const std::string& mounts) {
    write("/proc/self/cgroup", groups);
    write("/proc/self/mountinfo", "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" + mounts);
  }
  [[nodiscard]] int quota() const { return cgroup_quota(root_.c_str()); }

  std::string root_;
};

TEST_F(Cgroup, WithoutFilesThereIsNoLimit) {
  EXPECT_EQ(quota(), 0);
  write("/proc/self/cgroup", "0::/app\n");
  EXPECT_EQ(quota(), 0) << "no mountinfo";
  process("0::/app\n", "");
  EXPECT_EQ(quota(), 0) << "not mounted";
  process("0::/app\n", kV2);
  EXPECT_EQ(quota(), 0) << "no cpu.max, as in a root group";
}

TEST_F(Cgroup, VersionTwoIsRoundedUp) {
  process("0::/app\n", kV2);
  const std::string file = "/sys/fs/cgroup/app/cpu.max";
  write(file, "200000 100000\n");
  EXPECT_EQ(quota(), 2);
  write(file, "200001 100000\n");
  EXPECT_EQ(quota(), 3);
  write(file, "150000 100000\n");
  EXPECT_EQ(quota(), 2);
  write(file, "1000 100000\n");
  EXPECT_EQ(quota(), 1);
  write(file, "50000 25000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(Cgroup, MaxIsNoLimit) {
  process("0::/app\n", kV2);
  write("/sys/fs/cgroup/app/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0);
}

TEST_F(Cgroup, TheLeastQuotaOfAGroupAndThoseAboveItCounts) {
  process("0::/slice/app/worker\n", kV2);
  write("/sys/fs/cgroup/slice/app/worker/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/slice/app/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 4);
  write("/sys/fs/cgroup/slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3);
  write("/sys/fs/cgroup/cpu.max", "900000 100000\n");
  EXPECT_EQ(quota(), 3);
  write("/sys/fs/cgroup/slice/app/worker/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1);
  // A neighbour's is not ours.
  write("/sys/fs/cgroup/slice/other/cpu.max", "50000 100000\n");
  write("/sys/fs/cgroup/slice/app/worker/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 3);
}

TEST_F(Cgroup, VersionOneKeepsQuotaAndPeriodApart) {
  process("4:memory:/app\n3:cpu,cpuacct:/app\n1:name=systemd:/\n", std::string(kV1Memory) + kV1);
  const std::string folder = "/sys/fs/cgroup/cpu,cpuacct/app";
  write("/sys/fs/cgroup/memory/app/cpu.cfs_quota_us", "100000\n");  // of another controller: not looked at
  write("/sys/fs/cgroup/memory/app/cpu.cfs_period_us", "100000\n");
  write(folder + "/cpu.cfs_quota_us", "-1\n");
  write(folder + "/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 0);
  write(folder + "/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(quota(), 3);
  fs::remove(root_ + folder + "/cpu.cfs_period_us");
  EXPECT_EQ(quota(), 0) << "a quota of nothing known";
  write(folder + "/cpu.cfs_period_us", "0\n");
  EXPECT_EQ(quota(), 0);
}

TEST_F(Cgroup, OfVersionOneOnlyTheCpuControllerIsLookedAt) {
  process("4:memory:/app\n5:cpuset:/app\n", kV1Memory);
  write("/sys/fs/cgroup/memory/app/cpu.cfs_quota_us", "100000\n");
  write("/sys/fs/cgroup/memory/app/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 0);
}

TEST_F(Cgroup, BothVersionsMayBeMountedAtOnce) {
  process("3:cpu,cpuacct:/app\n0::/app\n",
          kV1 + std::string("36 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"));
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "500000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 5);
  write("/sys/fs/cgroup/unified/app/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(Cgroup, AMountMayShowAPartOfTheHierarchyOnly) {
  // As a container of version 1 sees it: the path is that of the host, the mount begins at the container's group.
  process("3:cpu:/docker/abc\n", "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3);
  process("3:cpu:/docker/abc/inner\n", "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
  write("/sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "200000\n");
  write("/sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2);
  // The name of another group that only begins like the mount's.
  process("3:cpu:/docker/abcdef\n", "33 32 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n");
  write("/sys/fs/cgroup/cpudef/cpu.cfs_quota_us", "100000\n");
  write("/sys/fs/cgroup/cpudef/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3) << "what the mount's own root says";
}

TEST_F(Cgroup, OfAGroupThatIsGoneThoseAboveCount) {
  process("0::/slice/app (deleted)\n", kV2);
  write("/sys/fs/cgroup/slice/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(Cgroup, ValuesWithoutSenseAreNoLimit) {
  process("0::/slice/app\n", kV2);
  write("/sys/fs/cgroup/slice/cpu.max", "600000 100000\n");
  for (const char* text : {"", "\n", "100000", "100000\n", "abc def\n", "0 100000\n", "100000 0\n", "-1 100000\n",
                           "max\n", "99999999999999999999999999 1\n", "99999999999999999999999999 99\n",
                           "4611686018427387904 4611686018427387904000\n"}) {
    write("/sys/fs/cgroup/slice/app/cpu.max", text);
    EXPECT_EQ(quota(), text[0] == '4' ? 1 : 6) << text;
  }
}

TEST_F(Cgroup, LinesWithoutSenseAreSkipped) {
  process("\nnonsense\n0:\n0::/app\n",
          "\n - \n1 2 3\n1 2 3 4 5 6 -\n1 2 3 / /x rw - \n" + std::string(kV2) + "40 24 0:31 / /y rw - tmpfs");
  write("/sys/fs/cgroup/app/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3);
  // Without a newline at the end, and longer than any path can be.
  process("0::/" + std::string(4000, 'x') + "\n0::/app", kV2);
  EXPECT_EQ(quota(), 3);
}

}  // namespace
}  // namespace tri::sched
