// clock.cc - The one place that knows the time. See os.h.
#include <sys/syscall.h>
#include <time.h>

#include <atomic>

#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::os {
namespace {

constinit std::atomic<int64_t (*)()> clock_override{nullptr};

}  // namespace

int64_t now_ns() {
  // relaxed: set by a test before it starts threads.
  if (int64_t(*clock)() = clock_override.load(std::memory_order_relaxed)) return clock();
  timespec now{};
  // A system call, and so only for slow moments: libc's clock_gettime() is a symbol that other libraries replace with
  // functions that allocate.
  arch::system_call(SYS_clock_gettime, CLOCK_MONOTONIC_COARSE, reinterpret_cast<long>(&now));
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

void set_clock(int64_t (*clock)()) { clock_override.store(clock, std::memory_order_relaxed); }

}  // namespace tri::os
