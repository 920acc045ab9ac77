// thread.cc - See thread.h.
#include "alloc/thread.h"

#include <pthread.h>

#include "alloc/base/lock.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/thread_list.h"
#include "tri_arch.h"

namespace tri {

constinit thread_local MCache* tls_mcache = &empty_mcache;
constinit ThreadList thread_list;

namespace {

enum class Life : uint8_t {
  kNew,        // no record yet
  kAttaching,  // getting one
  kAttached,
  kEnded,      // the record is gone; the thread is running its very last destructors
};
constinit thread_local Life tls_life = Life::kNew;

// Destructors with values left are called again; libc promises this many rounds.
constexpr uintptr_t kRounds = PTHREAD_DESTRUCTOR_ITERATIONS;

enum class KeyState : uint8_t { kNone, kMaking, kReady };
constinit std::atomic<KeyState> key_state{KeyState::kNone};
constinit pthread_key_t key = 0;

void detach() {
  MCache* const mcache = tls_mcache;
  mcache->busy = true;
  mcache->release_all();
  tls_life = Life::kEnded;
  tls_mcache = &empty_mcache;
  thread_list.retire(thread_of(mcache));
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

void arm_exit_hook() {
  // Made at the first allocation of the process, before the program can have used up the keys. Without one, the memory
  // of ended threads is lost to others, but nothing breaks.
  KeyState state = KeyState::kNone;
  if (key_state.load(std::memory_order_acquire) == KeyState::kNone &&
      key_state.compare_exchange_strong(state, KeyState::kMaking, std::memory_order_relaxed)) {
    const bool made = pthread_key_create(&key, on_thread_exit) == 0;
    key_state.store(made ? KeyState::kReady : KeyState::kNone, std::memory_order_release);
  }
  // May allocate, which works by now.
  if (key_state.load(std::memory_order_acquire) == KeyState::kReady) pthread_setspecific(key, reinterpret_cast<void*>(1));
}

/// Gives the calling thread a record; null when there is no memory.
MCache* attach() {
  const Life before = tls_life;
  tls_life = Life::kAttaching;
  Thread* const t = heap.init() ? thread_list.acquire() : nullptr;
  if (t == nullptr) {
    tls_life = before;
    return nullptr;
  }
  t->mcache.owner_tp = arch::thread_pointer();
  tls_mcache = &t->mcache;
  tls_life = Life::kAttached;
  if (before == Life::kNew) arm_exit_hook();
  return &t->mcache;
}

}  // namespace

void SlowPath::enter_slow(MCache* mcache) {
  if (mcache != &empty_mcache || tls_life == Life::kAttaching) {
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
