// thread.cc - A thread that libc does not know of. See os.h.
//
// pthread_create() takes locks and allocates, and free() may be called by libc while it holds those very locks. So the
// background thread is made by clone() directly, and so are those of a collector that has stopped all others. It has its own block where libc keeps thread-local variables (errno,
// ours), filled with zeros: all thread-local variables of this library start from zero or are set by the thread.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstring>

#include "alloc/base/bits.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "tri_arch.h"

namespace tri::os {
namespace {

using arch::system_call;

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

// All records that were ever started. They stay.
constinit std::atomic<BareThread*> all{nullptr};

void add_to_all(BareThread* t) {
  t->next = all.load(std::memory_order_relaxed);
  // release: pairs with the acquire in is_bare_thread().
  while (!all.compare_exchange_weak(t->next, t, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

// Of each kind there is one.
constinit std::atomic<uint32_t> own_threads[8] = {};

size_t below_bytes() { return arch::kTlsIsBelow ? variable_bytes() : kRecordBytes; }
size_t above_bytes() { return arch::kTlsIsBelow ? kRecordBytes : variable_bytes(); }

/// Memory of zeros.
bool prepare_memory(BareThread* t) {
  if (t->memory == nullptr) {
    t->memory = static_cast<char*>(map(bare_thread_bytes(), page_size()));
    return t->memory != nullptr;
  }
  if (!purge(t->memory, bare_thread_bytes())) memset(t->memory, 0, bare_thread_bytes());
  return true;
}

}  // namespace
}  // namespace tri::os

// Assembly, because the child returns from the system call on an empty stack.
extern "C" long tri_clone_bare(unsigned long flags, void* stack_top, std::atomic<uint32_t>* id, void* tls,
                               void (*fn)(void*), void* arg);

namespace tri::os {
namespace {

#ifdef __SANITIZE_THREAD__
// TSan must know of every thread that runs code of its making: in its build libc makes these as well. They cannot be started then while
// all others stand still, in the middle of anything.
bool start_thread(BareThread* t) {
  pthread_t thread;
  const auto run = [](void* record) -> void* {
    auto* const self = static_cast<BareThread*>(record);
    self->id.store(static_cast<uint32_t>(system_call(SYS_gettid)), std::memory_order_relaxed);
    self->fn(self->arg);
    self->id.store(0, std::memory_order_release);  // pairs with the acquire in join_bare_thread()
    system_call(SYS_futex, reinterpret_cast<long>(&self->id), FUTEX_WAKE, 1);
    return nullptr;
  };
  if (pthread_create(&thread, nullptr, run, t) != 0) return false;
  pthread_detach(thread);
  return true;
}
#else
bool start_thread(BareThread* t) {
  char* const stack_top = t->memory + kStackBytes;
  char* const thread_pointer = stack_top + below_bytes();
  arch::prepare_control_block(thread_pointer);
  // The kernel writes the id before the thread runs, and clears it, and wakes who waits, when the thread has left its stack.
  return tri_clone_bare(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                            CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                        stack_top, &t->id, thread_pointer, t->fn, t->arg) >= 0;
}
#endif

}  // namespace

size_t bare_thread_bytes() { return align_up(kStackBytes + below_bytes() + above_bytes(), page_size()); }

bool start_bare_thread(BareThread* t, void (*fn)(void* arg), void* arg) {
  if (t->id.load(std::memory_order_acquire) != 0) return false;
  const bool is_new = t->memory == nullptr;
  if (!prepare_memory(t)) return false;
  if (is_new) add_to_all(t);
  t->fn = fn;
  t->arg = arg;
  uint64_t every = ~uint64_t{0};
  uint64_t old = 0;
  system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&every), reinterpret_cast<long>(&old), 8);
  t->id.store(BareThread::kStarting, std::memory_order_relaxed);
  const bool started = start_thread(t);
  system_call(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&old), 0, 8);
  if (!started) t->id.store(0, std::memory_order_relaxed);
  return started;
}

void join_bare_thread(BareThread* t) {
  // acquire: what the thread did is done. The kernel's wake-up is not a private one.
  while (const uint32_t id = t->id.load(std::memory_order_acquire)) {
    system_call(SYS_futex, reinterpret_cast<long>(&t->id), FUTEX_WAIT, static_cast<long>(id), 0);
  }
  if (t->memory != nullptr) purge(t->memory, bare_thread_bytes());
}

bool is_bare_thread(uint32_t id) {
  for (const BareThread* t = all.load(std::memory_order_acquire); t != nullptr; t = t->next) {
    if (t->id.load(std::memory_order_relaxed) == id) return true;
  }
  return false;
}

OwnThread::OwnThread() : place_(nullptr) {
  for (std::atomic<uint32_t>& id : own_threads) {
    uint32_t free = 0;
    if (!id.compare_exchange_strong(free, sys::thread_id(), std::memory_order_relaxed)) continue;
    place_ = &id;
    return;
  }
}

OwnThread::~OwnThread() {
  if (place_ != nullptr) place_->store(0, std::memory_order_relaxed);
}

bool is_own_thread(uint32_t id) {
  for (const std::atomic<uint32_t>& own : own_threads) {
    if (own.load(std::memory_order_relaxed) == id) return true;
  }
  return false;
}

void forget_bare_threads() {
  for (std::atomic<uint32_t>& id : own_threads) id.store(0, std::memory_order_relaxed);
  for (BareThread* t = all.load(std::memory_order_acquire); t != nullptr; t = t->next) {
    t->id.store(0, std::memory_order_relaxed);
  }
}

}  // namespace tri::os
