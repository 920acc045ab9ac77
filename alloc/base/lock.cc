// lock.cc - See lock.h. The algorithm is the third mutex of Drepper's "Futexes Are Tricky", with the holder in the word.
#include "alloc/base/lock.h"

#include "alloc/base/sys.h"
#include "tri_arch.h"

namespace tri {
namespace {

constexpr uint32_t kWaiters = 1U << 31;
// About 4 us: longer than any section under these locks but growth of the heap.
constexpr int kSpins = 100;

// Debug builds: the ranks that this thread holds, one bit each.
[[maybe_unused]] constinit thread_local uint32_t held_ranks = 0;

[[maybe_unused]] uint32_t bit_of(LockRank rank) { return 1U << static_cast<unsigned>(rank); }

void note_locked(LockRank rank) {
  if constexpr (kDebug) held_ranks |= bit_of(rank);
}

/// Before waiting for a lock without end. Around fork all locks of one rank are held at once, so equal ranks may pass.
void check_order(LockRank rank) {
  if constexpr (kDebug) TRI_CHECK((held_ranks & ~(bit_of(rank) | (bit_of(rank) - 1))) == 0);
}

void note_unlocked(LockRank rank) {
  if constexpr (kDebug) held_ranks &= ~bit_of(rank);
}

}  // namespace

void Lock::lock() {
  check_order(rank_);
  const uint32_t me = sys::thread_id();
  uint32_t expected = 0;
  // acquire: pairs with the release in unlock().
  if (!word_.compare_exchange_strong(expected, me, std::memory_order_acquire, std::memory_order_relaxed)) {
    lock_slow(me);
  }
  note_locked(rank_);
}

void Lock::lock_slow(uint32_t me) {
  for (int i = 0; i < kSpins; ++i) {
    uint32_t word = word_.load(std::memory_order_relaxed);
    if (word == 0 && word_.compare_exchange_weak(word, me, std::memory_order_acquire, std::memory_order_relaxed)) {
      return;
    }
    arch::spin_hint();
  }
  TRI_CHECK(!held_by_me());
  for (;;) {
    uint32_t word = word_.load(std::memory_order_relaxed);
    if (word == 0) {
      // Others may sleep as well, so the bit goes in: at worst one wake-up for nobody.
      if (word_.compare_exchange_weak(word, me | kWaiters, std::memory_order_acquire, std::memory_order_relaxed)) {
        return;
      }
      continue;
    }
    if ((word & kWaiters) == 0 &&
        !word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_relaxed, std::memory_order_relaxed)) {
      continue;
    }
    sys::futex_wait(&word_, word | kWaiters, -1);
  }
}

bool Lock::try_lock_for(unsigned microseconds) {
  const uint32_t me = sys::thread_id();
  for (unsigned i = 0;; ++i) {
    uint32_t expected = 0;
    if (word_.compare_exchange_strong(expected, me, std::memory_order_acquire, std::memory_order_relaxed)) {
      note_locked(rank_);
      return true;
    }
    if (i >= microseconds) return false;
    sys::futex_wait(&word_, expected | kWaiters, 1000);
    sys::yield();
  }
}

void Lock::unlock() {
  note_unlocked(rank_);
  // release: pairs with the acquire in lock().
  const uint32_t word = word_.exchange(0, std::memory_order_release);
  TRI_ASSERT(word != 0);
  if ((word & kWaiters) != 0) sys::futex_wake(&word_, 1);
}

bool Lock::held_by_me() const { return was_held_by(sys::thread_id()); }

bool Lock::was_held_by(uint32_t thread_id) const {
  return (word_.load(std::memory_order_relaxed) & ~kWaiters) == thread_id;
}

}  // namespace tri
