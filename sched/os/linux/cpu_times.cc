// cpu_times.cc - From /proc/stat. See cpu_times.h.
#include "sched/cpu_times.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstring>

#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

// A line is of 60 to 100 bytes. What lies behind the end is left out of the sums, on both sides.
constexpr size_t kFileBytes = 16 * 1024;
// USER_HZ, which is no option of the kernel's here.
constexpr Time kTick = 10'000'000;
constexpr int kIdle = 3;
constexpr int kWaitsForDisk = 4;
constexpr size_t kMaxCpus = 8192;

struct Mask {
  unsigned long words[kMaxCpus / (8 * sizeof(unsigned long))] = {};
  bool has(size_t cpu) const {
    constexpr size_t kBits = 8 * sizeof(unsigned long);
    return cpu < kMaxCpus && (words[cpu / kBits] >> (cpu % kBits) & 1) != 0;
  }
};

Time number_at(const char** p) {
  while (**p == ' ') ++*p;
  Time n = 0;
  for (; **p >= '0' && **p <= '9'; ++*p) n = n * 10 + (**p - '0');
  return n;
}

// Like gc/dirty's: select() takes none from 1024 on.
constexpr long kLowestDescriptor = 900;

// The file, and what tells whether its number is still ours: programs close all that they find.
constinit long stat_fd = -1;
constinit struct stat stat_file = {};

bool is_ours(long fd) {
  struct stat s;
  return fd >= 0 && arch::system_call(SYS_fstat, fd, reinterpret_cast<long>(&s)) == 0 && s.st_dev == stat_file.st_dev &&
         s.st_ino == stat_file.st_ino;
}

bool open_stat() {
  const long low = arch::system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/stat"), O_RDONLY | O_CLOEXEC);
  if (low < 0) return false;
  stat_fd = arch::system_call(SYS_fcntl, low, F_DUPFD_CLOEXEC, kLowestDescriptor);
  if (stat_fd < 0) {
    stat_fd = low;  // the limit is lower than that
  } else {
    arch::system_call(SYS_close, low);
  }
  return arch::system_call(SYS_fstat, stat_fd, reinterpret_cast<long>(&stat_file)) == 0;
}

/// The sums of a text of so many bytes, with room for one more.
CpuTimes sums_of(char* text, long bytes) {
  CpuTimes times;
  Mask mask;
  if (bytes <= 0) return times;
  text[bytes] = 0;
  if (sched_getaffinity(0, sizeof mask.words, reinterpret_cast<cpu_set_t*>(mask.words)) != 0) return times;
  timespec own{};
  times.at = now();
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) != 0) return times;
  times.own = own.tv_sec * Time{1'000'000'000} + own.tv_nsec;
  // "cpu3 user nice system idle iowait ...", after a line "cpu" with the sums of all.
  for (const char* line = text; strncmp(line, "cpu", 3) == 0;) {
    const char* const end = strchr(line, '\n');
    if (end == nullptr) break;  // cut
    const char* p = line + 3;
    const bool is_sum = *p == ' ';
    const auto cpu = static_cast<size_t>(number_at(&p));
    if (!is_sum && mask.has(cpu)) {
      for (int field = 0; field <= kWaitsForDisk; ++field) {
        const Time ticks = number_at(&p);
        if (field == kIdle || field == kWaitsForDisk) times.idle += ticks * kTick;
      }
      ++times.cpus;
    }
    line = end + 1;
  }
  return times;
}

}  // namespace

CpuTimes read_cpu_times(const char* stat) {
  char text[kFileBytes];
  return sums_of(text, tri::os::read_file(stat, text, sizeof text - 1));
}

CpuTimes cpu_times_of_system() {
  char text[kFileBytes];
  if (!is_ours(stat_fd) && !open_stat()) return {};
  return sums_of(text, arch::system_call(SYS_pread64, stat_fd, reinterpret_cast<long>(text), sizeof text - 1, 0));
}

}  // namespace tri::sched
