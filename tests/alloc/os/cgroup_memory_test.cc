// cgroup_memory_test.cc - Tests of alloc/os/cgroup.h against a root directory of our own.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "alloc/os/cgroup.h"

namespace tri::os {
namespace {

namespace fs = std::filesystem;

constexpr const char* kV2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kV1Cpu = "33 32 0:29 / /sys/fs/cgroup/cpu rw shared:15 - cgroup cgroup rw,cpu\n";
constexpr const char* kV1 = "34 32 0:31 / /sys/fs/cgroup/memory rw shared:16 - cgroup cgroup rw,memory\n";
constexpr uint64_t kNone = UINT64_MAX;

class CgroupMemory : public testing::Test {
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
  [[nodiscard]] uint64_t limit() const { return cgroup_memory_limit(root_.c_str()); }

  std::string root_;
};

TEST_F(CgroupMemory, WithoutFilesThereIsNoLimit) {
  EXPECT_EQ(limit(), kNone);
  write("/proc/self/cgroup", "0::/app\n");
  EXPECT_EQ(limit(), kNone) << "no mountinfo";
  process("0::/app\n", "");
  EXPECT_EQ(limit(), kNone) << "not mounted";
  process("0::/app\n", kV2);
  EXPECT_EQ(limit(), kNone) << "no memory.max, as in a root group";
}

TEST_F(CgroupMemory, TheLesserOfMaxAndHighCounts) {
  process("0::/app\n", kV2);
  write("/sys/fs/cgroup/app/memory.max", "max\n");
  EXPECT_EQ(limit(), kNone);
  write("/sys/fs/cgroup/app/memory.max", "1073741824\n");
  EXPECT_EQ(limit(), 1U << 30);
  write("/sys/fs/cgroup/app/memory.high", "max\n");
  EXPECT_EQ(limit(), 1U << 30);
  write("/sys/fs/cgroup/app/memory.high", "536870912\n");
  EXPECT_EQ(limit(), 1U << 29);
}

TEST_F(CgroupMemory, TheLeastLimitOfAGroupAndThoseAboveItCounts) {
  process("0::/slice/app/worker\n", kV2);
  write("/sys/fs/cgroup/slice/app/worker/memory.max", "400000000\n");
  write("/sys/fs/cgroup/slice/app/memory.max", "max\n");
  write("/sys/fs/cgroup/slice/memory.max", "300000000\n");
  EXPECT_EQ(limit(), 300'000'000U);
  write("/sys/fs/cgroup/slice/app/worker/memory.max", "200000000\n");
  EXPECT_EQ(limit(), 200'000'000U);
  write("/sys/fs/cgroup/memory.max", "100000000\n");
  EXPECT_EQ(limit(), 100'000'000U) << "a container's own root";
}

TEST_F(CgroupMemory, VersionOneHasAHugeNumberForNone) {
  process("5:cpu:/app\n4:memory:/app\n0::/\n", std::string(kV1Cpu) + kV1);
  write("/sys/fs/cgroup/cpu/app/memory.limit_in_bytes", "1000\n");
  write("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(limit(), kNone);
  write("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "268435456\n");
  EXPECT_EQ(limit(), 1U << 28);
}

TEST_F(CgroupMemory, OfAMountOfAPartOnlyWhatIsSeenCounts) {
  process("0::/docker/abc/app\n", "35 24 0:30 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("/sys/fs/cgroup/app/memory.max", "123456789\n");
  EXPECT_EQ(limit(), 123'456'789U);
  process("0::/elsewhere\n", "35 24 0:30 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(limit(), kNone);
  write("/sys/fs/cgroup/memory.max", "99999999\n");
  EXPECT_EQ(limit(), 99'999'999U) << "the mount's root";
}

TEST_F(CgroupMemory, LongLinesAndStrangeContentsAreNoTrouble) {
  const std::string overlay = "40 24 0:50 / /merged rw - overlay overlay rw,lowerdir=" + std::string(9000, 'x') + "\n";
  process("0::/app\n", overlay + kV2);
  write("/sys/fs/cgroup/app/memory.max", "77777777\n");
  EXPECT_EQ(limit(), 77'777'777U);
  write("/sys/fs/cgroup/app/memory.max", "");
  EXPECT_EQ(limit(), kNone);
  write("/sys/fs/cgroup/app/memory.max", "lots\n");
  EXPECT_EQ(limit(), kNone);
  process("0::/" + std::string(6000, 'y') + "\n", kV2);
  EXPECT_EQ(limit(), kNone);
}

TEST_F(CgroupMemory, TheMachinesMemoryIsRead) {
  EXPECT_EQ(machine_memory(root_.c_str()), kNone);
  write("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 100 kB\n");
  EXPECT_EQ(machine_memory(root_.c_str()), uint64_t{8'000'000} * 1024);
  EXPECT_GT(machine_memory(), uint64_t{64} << 20);
  EXPECT_LT(machine_memory(), uint64_t{1} << 50);
}

}  // namespace
}  // namespace tri::os
