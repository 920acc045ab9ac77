// semaphore.cc - See semaphore.h.
#include "sched/semaphore.h"

#include <cerrno>

#include "sched/fatal.h"

namespace tri::sched {

int Semaphore::acquire(uint32_t n, Time deadline) {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  while ((seen & kWaiters) == 0 && seen >> 1 >= n) {
    // acquire: pairs with the release in release().
    if (state_.compare_exchange_weak(seen, seen - n * 2, std::memory_order_acquire, std::memory_order_relaxed))
      return 0;
  }
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  guard_.lock();
  seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    const bool enough = (seen & kWaiters) == 0 && seen >> 1 >= n;
    const uint32_t next = enough ? seen - n * 2 : seen | kWaiters;
    if (!state_.compare_exchange_weak(seen, next, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    if (!enough) break;
    guard_.unlock();
    return 0;
  }
  Waiter w(g, begin_wait(g));
  w.n = n;
  queue_.push_back(&w);
  const int result = park(WaitReason::kSemaphore, &guard_, deadline);
  if (TRI_LIKELY(result == 0)) return 0;
  leave(&w);
  return result;
}

// Not inlined: see leave_queue().
[[gnu::noinline]] void Semaphore::leave(Waiter* w) {
  WakeList wake;
  guard_.lock();
  if (w->queued()) queue_.remove(w);
  // It may have been the large request that kept back small ones.
  const uint32_t seen = state_.load(std::memory_order_acquire);
  if ((seen & kWaiters) != 0) {
    const uint32_t left = grant(seen >> 1, &wake);
    // release: what they did who released the permits that are left goes on from the load above to whoever takes these.
    state_.store(left * 2 | waiters_bit(), std::memory_order_release);
  }
  guard_.unlock();
  wake.wake();
}

// With guard_ held: claims waiters from the front while there is enough for them; the permits that are left.
uint32_t Semaphore::grant(uint32_t permits, WakeList* wake) {
  while (Waiter* const w = queue_.front()) {
    if (w->n > permits) break;
    queue_.remove(w);
    if (!claim(w->g, w->id)) continue;
    permits -= w->n;
    wake->add(w, 0);
  }
  return permits;
}

// False, and nothing released, if all who waited have given up: nobody then keeps the memory alive for guard_.unlock().
bool Semaphore::release_to_waiters(uint32_t n) {
  WakeList wake;
  guard_.lock();
  // acquire: whoever gets permits that another released is told by ready() what that one did before.
  const uint32_t before = state_.load(std::memory_order_acquire);
  if ((before & kWaiters) == 0) {
    guard_.unlock();
    return false;
  }
  if (n > kMost - (before >> 1)) fatal("too many permits of semaphore", this);
  const uint32_t left = grant((before >> 1) + n, &wake);
  const bool nobody = wake.empty() && queue_.empty();
  // release: pairs with the acquire in acquire().
  state_.store(nobody ? before & ~kWaiters : left * 2 | waiters_bit(), std::memory_order_release);
  guard_.unlock();
  wake.wake();
  return !nobody;
}

void Semaphore::release(uint32_t n) {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  for (;;) {
    if (n > kMost - (seen >> 1)) fatal("too many permits of semaphore", this);
    if (TRI_UNLIKELY((seen & kWaiters) != 0)) {
      if (release_to_waiters(n)) return;
      seen = state_.load(std::memory_order_relaxed);
    } else if (state_.compare_exchange_weak(seen, seen + n * 2, std::memory_order_release, std::memory_order_relaxed)) {
      return;
    }
  }
}

}  // namespace tri::sched
