// park.cc - Waiting and waking. See wait.h.
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "alloc/base/sys.h"
#include "sched/context.h"
#include "sched/g.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constinit thread_local G* tls_stand_in = nullptr;

constexpr uint32_t kQuiet = 0;
constexpr uint32_t kCalled = 1;
constexpr uint32_t kAsleep = 2;

// A thread that is woken within this many looks (about 2 us) is spared two system calls.
constexpr int kSpins = 100;

constinit pthread_key_t key = 0;
constinit pthread_once_t key_once = PTHREAD_ONCE_INIT;

void on_thread_exit(void* g) {
  tls_stand_in = nullptr;
  put_g(static_cast<G*>(g));
}

G* make_stand_in() {
  G* const g = take_g();
  if (g == nullptr) return nullptr;
  g->kind = GKind::kThread;
  g->state.store(GState::kRunning, std::memory_order_relaxed);
  tls_stand_in = g;
  pthread_once(&key_once, [] { pthread_key_create(&key, on_thread_exit); });
  pthread_setspecific(key, g);
  return g;
}

int park_thread(G* g, SpinLock* unlock, Time deadline) {
  const WaitId id = g->wait.load(std::memory_order_relaxed) & ~uint64_t{1};
  if (unlock != nullptr) unlock->unlock();
  for (int i = 0; i < kSpins; ++i) {
    // acquire: pairs with the release in ready(), and makes the result visible.
    if (g->doorbell.load(std::memory_order_acquire) == kCalled) return g->result;
    arch::spin_hint();
  }
  uint32_t seen = kQuiet;
  g->doorbell.compare_exchange_strong(seen, kAsleep, std::memory_order_acquire, std::memory_order_acquire);
  while (g->doorbell.load(std::memory_order_acquire) != kCalled) {
    Time left = -1;
    if (deadline != kForever) {
      left = deadline - now();
      if (left <= 0) {
        if (claim(g, id)) return -ETIMEDOUT;
        left = -1;  // somebody has won, and will call
      }
    }
    sys::futex_wait(&g->doorbell, kAsleep, left);
  }
  return g->result;
}

}  // namespace

const char* name_of(WaitReason reason) {
  static constexpr const char* kNames[] = {"nothing", "chan send", "chan receive", "select",         "chan (nil)",
                                           "sleep",   "join",      "mutex",        "rwmutex (read)", "rwmutex",
                                           "cond",    "waitgroup", "once",         "semaphore",      "context",
                                           "fd read", "fd write",  "blocking call"};
  static_assert(sizeof kNames / sizeof *kNames == static_cast<size_t>(WaitReason::kBlockingCall) + 1);
  return kNames[static_cast<size_t>(reason)];
}

Time now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

G* current() { return TRI_LIKELY(tls_stand_in != nullptr) ? tls_stand_in : make_stand_in(); }

WaitId begin_wait(G* g) {
  if (g->kind == GKind::kThread) g->doorbell.store(kQuiet, std::memory_order_relaxed);
  // Even: open. Only the owner counts it up, and no claim of an earlier wait can succeed, so a plain store does.
  const uint64_t id = (g->wait.load(std::memory_order_relaxed) | 1) + 1;
  g->wait.store(id, std::memory_order_release);  // pairs with the acquire in claim()
  return id;
}

bool claim(G* g, WaitId id) {
  return g->wait.load(std::memory_order_relaxed) == id &&
         g->wait.compare_exchange_strong(id, id | 1, std::memory_order_acq_rel, std::memory_order_relaxed);
}

namespace {

int park_any(G* g, WaitReason reason, SpinLock* unlock, Time deadline) {
  g->reason = reason;
  const int result = park_thread(g, unlock, deadline);
  g->reason = WaitReason::kNone;
  return result;
}

// The same under a context: the wait is registered there, and ends with it.
[[gnu::noinline]] int park_in_context(G* g, WaitReason reason, SpinLock* unlock, Time deadline) {
  Context* const context = g->context;
  ContextWait w;
  w.g = g;
  w.id = g->wait.load(std::memory_order_relaxed) & ~uint64_t{1};
  w.result = -ECANCELED;
  // A context that is over already claims the wait here; if a waker was faster, its ready() is on the way.
  if (!context->enter(&w) && claim(g, w.id)) {
    if (unlock != nullptr) unlock->unlock();
    return -ECANCELED;
  }
  if (context->deadline() < deadline) deadline = context->deadline();
  const int result = park_any(g, reason, unlock, deadline);
  context->leave(&w);
  return result;
}

}  // namespace

int park(WaitReason reason, SpinLock* unlock, Time deadline) {
  G* const g = current();
  if (TRI_LIKELY(g->context == nullptr)) return park_any(g, reason, unlock, deadline);
  return park_in_context(g, reason, unlock, deadline);
}

void ready(G* g, int result) {
  g->result = result;
  // release: pairs with the acquire in park_thread().
  if (g->doorbell.exchange(kCalled, std::memory_order_release) == kAsleep) sys::futex_wake(&g->doorbell, 1);
}

}  // namespace tri::sched
