// thread.cc - See thread.h.
#include "alloc/thread.h"

#include <pthread.h>

#include "alloc/base/lock.h"
#include "alloc/collected.h"
#include "alloc/held.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/thread_list.h"
#include "tri_arch.h"

// libc's, for the destructors of C++ thread_local variables.
extern "C" int __cxa_thread_atexit_impl(void (*fn)(void*), void* argument, void* dso);
extern "C" [[gnu::visibility("hidden")]] void* __dso_handle;

namespace tri {

constinit thread_local MCache* tls_mcache = &empty_mcache;
constinit ThreadList thread_list;

namespace {

enum class Life : uint8_t {
  kNew,        // no record yet
  kBeforeTls,  // the dynamic linker has not set up this very variable yet
  kChanging,   // getting one, or giving it back
  kAttached,
  kEnded,  // the record is gone; the thread is running its very last destructors
};
constinit thread_local Life tls_life = Life::kNew;

// Destructors whose values are set again are called again, in up to four rounds. Ours waits for the second: by then most
// destructors have run, and a thread that allocates first in one of them still gets its second call.
constexpr uintptr_t kRounds = 2;
static_assert(kRounds + 1 < PTHREAD_DESTRUCTOR_ITERATIONS);

enum class KeyState : uint8_t { kNone, kMaking, kReady };
constinit std::atomic<KeyState> key_state{KeyState::kNone};
constinit pthread_key_t key = 0;

void detach() {
  MCache* const mcache = tls_mcache;
  mcache->busy = true;
  if (collected_hooks.thread_ends != nullptr) collected_hooks.thread_ends();
  mcache->release_all();
  tls_life = Life::kChanging;
  tls_mcache = &empty_mcache;
  thread_list.retire(thread_of(mcache));
  tls_life = Life::kEnded;
}

/// Runs as a destructor of thread-specific data; its value counts the rounds.
void on_thread_exit(void* value) {
  const auto round = reinterpret_cast<uintptr_t>(value);
  if (round < kRounds) {
    pthread_setspecific(key, reinterpret_cast<void*>(round + 1));
    return;
  }
  if (tls_life == Life::kAttached && !tls_mcache->busy) detach();
}

/// The other way to hear of a thread's end, for programs that have taken all keys. It comes before the destructors of
/// keys, so that what these allocate is served by a record for each call.
void on_thread_exit_without_key(void*) {
  if (tls_life == Life::kAttached && !tls_mcache->busy) detach();
}

void arm_exit_hook() {
  // Made at the first allocation of the process, as a rule before the program can have used up the keys.
  KeyState state = KeyState::kNone;
  if (key_state.load(std::memory_order_acquire) == KeyState::kNone &&
      key_state.compare_exchange_strong(state, KeyState::kMaking, std::memory_order_relaxed)) {
    const bool made = pthread_key_create(&key, on_thread_exit) == 0;
    key_state.store(made ? KeyState::kReady : KeyState::kNone, std::memory_order_release);
  }
  // Both may allocate, which works by now.
  if (key_state.load(std::memory_order_acquire) == KeyState::kReady) {
    pthread_setspecific(key, reinterpret_cast<void*>(1));
  } else {
    __cxa_thread_atexit_impl(on_thread_exit_without_key, nullptr, &__dso_handle);
  }
}

// The record of a thread that allocated before its thread-local variables were set up (see below).
constinit Thread* early_thread = nullptr;

/// Gives the calling thread a record; null when there is no memory.
MCache* attach() {
  const Life before = tls_life;
  tls_life = Life::kChanging;
  Thread* t = nullptr;
  if (early_thread != nullptr && (early_thread->mcache.owner_tp & ~uintptr_t{1}) == arch::thread_pointer()) {
    t = early_thread;
    early_thread = nullptr;
  } else if (heap.init()) {
    t = thread_list.acquire();
  }
  if (t == nullptr) {
    tls_life = before;
    return nullptr;
  }
  t->mcache.owner_tp = arch::thread_pointer() | held::owner_mark;
  tls_mcache = &t->mcache;
  tls_life = Life::kAttached;
  if (before == Life::kBeforeTls) {
    early_thread = t;
  } else if (before == Life::kNew) {
    arm_exit_hook();
  }
  return &t->mcache;
}

// A program may call malloc() while the dynamic linker is still relocating it: in the resolver of an indirect function.
// Thread-local variables then read as zero; their first values are copied in only afterwards. This library is relocated
// before the program, so a resolver of its own can put in what the fast path needs. When the linker's copy then wipes out
// the thread's record, attach() finds it again.
// It runs before the runtimes of sanitizers are there, too.
void nothing() {}
extern "C" [[gnu::no_sanitize_thread, gnu::no_sanitize_address]] void (*tri_before_tls())() {
  if (tls_mcache == nullptr) {
    tls_mcache = &empty_mcache;
    tls_life = Life::kBeforeTls;
  }
  return nothing;
}
[[gnu::ifunc("tri_before_tls")]] void before_tls();
[[gnu::used]] void (*const volatile keep_before_tls)() = before_tls;

}  // namespace

constinit thread_local uint32_t tls_collected_locks = 0;

bool in_slow_path() {
  if (tls_collected_locks != 0) return true;
  const MCache* const mcache = tls_mcache;
  return mcache == &empty_mcache ? tls_life == Life::kChanging : mcache->busy;
}

void SlowPath::enter_slow(MCache* mcache) {
  if (mcache != &empty_mcache || tls_life == Life::kChanging) {
    reentered_ = true;
    return;
  }
  temporary_ = tls_life == Life::kEnded;
  mcache = attach();
  if (mcache == nullptr) return;
  mcache->busy = true;
  mcache_ = mcache;
}

void SlowPath::leave_temporary() { detach(); }

size_t Thread::count() { return thread_list.count(); }

}  // namespace tri
