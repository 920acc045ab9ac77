// thread.cc - A thread that libc does not know of. See os.h.
//
// pthread_create() takes locks and allocates, and free() may be called by libc while it holds those very locks. So the
// background thread is made by clone() directly. It has its own block where libc keeps thread-local variables (errno,
// ours), filled with zeros: all thread-local variables of this library start from zero or are set by the thread.
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::os {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
// Beyond our own thread-local variables, which those of the program push away from the thread pointer. Untouched pages cost nothing.
constexpr size_t kTlsSlackBytes = 64 * 1024;
// libc's record of a thread, on the other side of the thread pointer; it has 2 to 3 KiB.
constexpr size_t kRecordBytes = 4096;
constinit thread_local char tls_probe = 0;

size_t variable_bytes() {
  const uintptr_t variable = reinterpret_cast<uintptr_t>(&tls_probe);
  const uintptr_t pointer = arch::thread_pointer();
  return align_up((arch::kTlsIsBelow ? pointer - variable : variable - pointer) + kTlsSlackBytes, page_size());
}

// One such thread at a time, so its memory is static, and nothing has to be freed by a thread that is standing on it.
alignas(64) constinit char* thread_memory = nullptr;
// The kernel clears it and wakes it when the thread has left its stack.
constinit std::atomic<int> running{0};

}  // namespace
}  // namespace tri::os

// Assembly, because the child returns from the system call on an empty stack.
extern "C" long tri_clone_bare(unsigned long flags, void* stack_top, int* tid, void* tls, void (*fn)());

namespace tri::os {

bool start_bare_thread(void (*fn)()) {
  if (running.load(std::memory_order_acquire) != 0) return false;
  const size_t below_bytes = arch::kTlsIsBelow ? variable_bytes() : kRecordBytes;
  const size_t above_bytes = arch::kTlsIsBelow ? kRecordBytes : variable_bytes();
  const size_t memory_bytes = align_up(kStackBytes + below_bytes + above_bytes, page_size());
  if (thread_memory == nullptr) {
    thread_memory = static_cast<char*>(map(memory_bytes, page_size()));
    if (thread_memory == nullptr) return false;
  }
  char* const stack_top = thread_memory + kStackBytes;
  char* const thread_pointer = stack_top + below_bytes;
  arch::prepare_control_block(thread_pointer);

  uint64_t all = ~uint64_t{0};
  uint64_t old = 0;
  arch::system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&all), reinterpret_cast<long>(&old), 8);
  running.store(1, std::memory_order_relaxed);
  const long result = tri_clone_bare(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                         CLONE_SETTLS | CLONE_CHILD_CLEARTID,
                                     stack_top, reinterpret_cast<int*>(&running), thread_pointer, fn);
  arch::system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&old), 0, 8);
  if (result < 0) running.store(0, std::memory_order_relaxed);
  return result >= 0;
}

void forget_bare_thread() { running.store(0, std::memory_order_relaxed); }

}  // namespace tri::os
