// cpu_times.cc - From /proc/stat. See cpu_times.h.
#include "sched/cpu_times.h"

#include <sched.h>
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

}  // namespace

CpuTimes read_cpu_times(const char* stat) {
  CpuTimes times;
  Mask mask;
  char text[kFileBytes];
  if (sched_getaffinity(0, sizeof mask.words, reinterpret_cast<cpu_set_t*>(mask.words)) != 0) return times;
  if (tri::os::read_file(stat, text, sizeof text) <= 0) return times;
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

}  // namespace tri::sched
