// futex.cc - Sleeping on a word of memory, and who the calling thread is. See sys.h.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "alloc/base/sys.h"
#include "tri_arch.h"

namespace tri::sys {
namespace {

// Cached, because every lock asks. Zero: not asked yet.
constinit thread_local uint32_t cached_thread_id = 0;

}  // namespace

void futex_wait(const void* word, uint32_t expected, int64_t timeout_ns) {
  timespec timeout{};
  timeout.tv_sec = timeout_ns / 1'000'000'000;
  timeout.tv_nsec = timeout_ns % 1'000'000'000;
  arch::system_call(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAIT_PRIVATE, static_cast<long>(expected),
                    timeout_ns < 0 ? 0 : reinterpret_cast<long>(&timeout));
}

void futex_wake(const void* word, int count) {
  arch::system_call(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAKE_PRIVATE, count);
}

uint32_t thread_id() {
  if (cached_thread_id == 0) cached_thread_id = static_cast<uint32_t>(arch::system_call(SYS_gettid));
  return cached_thread_id;
}

void forget_thread_id() { cached_thread_id = 0; }

void yield() { arch::system_call(SYS_sched_yield); }

}  // namespace tri::sys
