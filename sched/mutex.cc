// mutex.cc - See mutex.h.
#include "sched/mutex.h"

#include <cerrno>

#include "sched/context.h"
#include "sched/fatal.h"
#include "sched/spin.h"

namespace tri::sched {
namespace {

// Go's bound: long against a switch, short against what a person notices.
constexpr Time kStarvingAfter = 1'000'000;

// What a waiter is woken with.
constexpr int kTryAgain = 0;
constexpr int kYours = 1;

constexpr int kRetry = 2;  // of wait_for_turn(): it did not wait

}  // namespace

void Mutex::lock_uncancelled() {
  G* const g = current();
  if (g == nullptr) fatal("no memory to wait for mutex", this);
  Uncancelled scope(g);
  (void)lock_slow(kForever);
}

// Takes the lock if it is free and not to be handed to the first waiter.
bool Mutex::try_barge(bool* awoken) {
  uint32_t seen = state_.load(std::memory_order_relaxed);
  while ((seen & (kLocked | kStarving)) == 0) {
    const uint32_t taken = (seen | kLocked) & ~(*awoken ? kWoken : 0);
    if (state_.compare_exchange_weak(seen, taken, std::memory_order_acquire, std::memory_order_relaxed)) {
      *awoken = false;
      return true;
    }
  }
  return false;
}

int Mutex::lock_slow(Time deadline) {
  bool awoken = false;  // kWoken is ours to clear
  if (try_barge(&awoken)) return 0;
  if (deadline <= kNoWait) return -EAGAIN;
  G* const g = current();
  if (g == nullptr) return -ENOMEM;
  bool starving = false;  // waited for too long: the next wait says so
  Time since = 0;         // when it first waited; 0: not yet
  SpinBudget spin;
  for (;;) {
    if (try_barge(&awoken)) return 0;
    const uint32_t seen = state_.load(std::memory_order_relaxed);
    if ((seen & kStarving) == 0 && spin.once_more()) {
      // Says that somebody is awake, so that the unlock does not wake another meanwhile.
      if (!awoken && (seen & (kLocked | kWoken | kWaiters)) == (kLocked | kWaiters)) {
        uint32_t expected = seen;
        awoken = state_.compare_exchange_strong(expected, seen | kWoken, std::memory_order_relaxed);
      }
      continue;
    }
    const int result = wait_for_turn(g, deadline, &since, starving, &awoken);
    if (result == kYours) return 0;
    if (result < 0) return result;
    if (result == kRetry) continue;
    awoken = true;
    if (!starving) starving = now() - since > kStarvingAfter;
    spin = {};
  }
}

// Queues and parks, if the lock is still held: kYours, kTryAgain, or why it gave up; kRetry if the lock became free.
int Mutex::wait_for_turn(G* g, Time deadline, Time* since, bool starving, bool* awoken) {
  guard_.lock();
  uint32_t seen = state_.load(std::memory_order_relaxed);
  do {
    if ((seen & kLocked) == 0) {
      guard_.unlock();
      return kRetry;
    }
    // Only while it is locked: then the unlock, which sees kWaiters, finds us in the queue when it has got the guard.
  } while (!state_.compare_exchange_weak(seen, (seen | kWaiters | (starving ? kStarving : 0)) & ~(*awoken ? kWoken : 0),
                                         std::memory_order_relaxed));
  *awoken = false;
  Waiter w(g, begin_wait(g));
  if (*since != 0) {
    queue_.push_front(&w);  // it has had its turn already, and lost
  } else {
    *since = now();
    queue_.push_back(&w);
  }
  w.since = *since;
  const int result = park(WaitReason::kMutex, &guard_, deadline);
  if (result < 0) leave(&w);
  return result;
}

// Not inlined: see leave_queue().
[[gnu::noinline]] void Mutex::leave(Waiter* w) {
  SpinGuard guard(guard_);
  if (w->queued()) queue_.remove(w);
  if (queue_.empty()) state_.fetch_and(~(kWaiters | kStarving), std::memory_order_relaxed);
}

void Mutex::unlock_slow() {
  for (;;) {
    uint32_t seen = state_.load(std::memory_order_relaxed);
    if ((seen & kLocked) == 0) fatal("unlock of unlocked mutex", this);
    if (needs_nobody(seen)) {
      // As in unlock().
      if (state_.compare_exchange_weak(seen, seen & ~kLocked, std::memory_order_release, std::memory_order_relaxed))
        return;
      continue;
    }
    if (hand_over()) return;
  }
}

// Wakes the first waiter, with or without the lock; false if there is none any more.
bool Mutex::hand_over() {
  guard_.lock();
  Waiter* const w = queue_.pop_claimed();
  const bool last = queue_.empty();
  uint32_t clear = last ? kWaiters | kStarving : 0;
  if (w == nullptr) {
    state_.fetch_and(~clear, std::memory_order_relaxed);
    guard_.unlock();
    return false;
  }
  uint32_t seen = state_.load(std::memory_order_relaxed);
  int result = kTryAgain;
  if ((seen & kStarving) != 0) {
    // kLocked stays: it is the waiter's from now on. What we did in the lock reaches it through ready().
    if (now() - w->since < kStarvingAfter) clear |= kStarving;
    state_.fetch_and(~clear, std::memory_order_relaxed);
    result = kYours;
  } else {
    // release: pairs with the acquire of whoever takes it now.
    while (!state_.compare_exchange_weak(seen, (seen & ~(kLocked | clear)) | kWoken, std::memory_order_release,
                                         std::memory_order_relaxed)) {
    }
  }
  guard_.unlock();
  ready(w->g, result);
  return true;
}

}  // namespace tri::sched
