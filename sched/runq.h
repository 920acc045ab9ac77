// runq.h - A P's own queue of runnable goroutines: a ring of 256, and the place of the one that runs next.
//
// The owner (the M that has the P) puts at the tail and takes at the head; thieves take half at the head by one CAS. The ring's
// indices count up for ever; a slot is index % 256. 0 <= tail - head <= 256.
//
// While the program has a single P nobody steals, and the owner's operations are plain loads and stores: a CAS costs as much as
// all else in a switch. share() ends that, once, before a second P may run; see procresize().
//
// `next` is the goroutine that was readied last: what it is to work on is still in the cache, and its time slice is that of the
// one that readied it. Thieves take it only when nothing else is left, and only if its owner leaves it there (see steal()).
//
// Used by: p, proc, find_work.
#ifndef TRI_SCHED_RUNQ_H
#define TRI_SCHED_RUNQ_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"
#include "sched/g.h"

namespace tri::sched {

class RunQ {
 public:
  static constexpr uint32_t kSize = 256;

  /// Owner, in parallel with steals. False: the ring is full.
  [[nodiscard]] bool put(G* g) {
    const uint32_t t = tail_.load(std::memory_order_relaxed);
    // acquire: pairs with the release of a thief's CAS: what it copied out may be overwritten.
    if (TRI_UNLIKELY(t - head_.load(std::memory_order_acquire) == kSize)) return false;
    ring_[t % kSize].store(g, std::memory_order_relaxed);
    tail_.store(t + 1, std::memory_order_release);  // pairs with the acquire in steal()
    return true;
  }

  /// Owner. Whether only the ring has goroutines, and nobody else takes any out. Then: the head; and to take it out and put g at
  /// the tail, which in two steps would be twice the work.
  struct Ends {
    uint32_t head;
    uint32_t tail;
  };
  Ends ends() const { return {head_.load(std::memory_order_relaxed), tail_.load(std::memory_order_relaxed)}; }
  bool can_turn(Ends e) const {
    return TRI_LIKELY(!shared_) && TRI_LIKELY(next_.load(std::memory_order_relaxed) == nullptr) &&
           TRI_LIKELY(e.head != e.tail);
  }
  G* head(Ends e) const { return ring_[e.head % kSize].load(std::memory_order_relaxed); }
  void turn(Ends e, G* g) {
    ring_[e.tail % kSize].store(g, std::memory_order_relaxed);
    head_.store(e.head + 1, std::memory_order_relaxed);
    tail_.store(e.tail + 1, std::memory_order_relaxed);
  }

  /// Owner. The goroutine at the head, or null.
  G* take() {
    uint32_t h = head_.load(std::memory_order_relaxed);
    for (;;) {
      if (h == tail_.load(std::memory_order_relaxed)) return nullptr;
      G* const g = ring_[h % kSize].load(std::memory_order_relaxed);
      if (TRI_LIKELY(!shared_)) {
        head_.store(h + 1, std::memory_order_relaxed);
        return g;
      }
      // acquire: pairs with thieves, who may have moved the head.
      if (head_.compare_exchange_weak(h, h + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return g;
    }
  }

  /// Owner, in parallel with steals. Returns the goroutine that was to run next before, or null.
  G* put_next(G* g) {
    if (TRI_LIKELY(!shared_)) {
      G* const old = next_.load(std::memory_order_relaxed);
      next_.store(g, std::memory_order_relaxed);
      return old;
    }
    return next_.exchange(g, std::memory_order_acq_rel);  // release: publishes g to a thief; acquire: see take_next()
  }

  /// Owner or, of a shared queue, a thief.
  G* take_next() {
    G* const g = next_.load(std::memory_order_relaxed);
    if (g == nullptr) return nullptr;
    if (TRI_LIKELY(!shared_)) {
      next_.store(nullptr, std::memory_order_relaxed);
      return g;
    }
    return next_.exchange(nullptr, std::memory_order_acq_rel);
  }

  /// A thief, in its last round: `g` if it still waits there.
  G* steal_next(G* g) {
    return next_.compare_exchange_strong(g, nullptr, std::memory_order_acq_rel, std::memory_order_relaxed) ? g
                                                                                                           : nullptr;
  }
  /// Owner. What the goroutines need that run soon: their records, and the part of their stacks between a system call and its wait. For those
  /// who wait for the kernel, which uses more cache and TLB between two turns of a goroutine than there is. A stack lies in
  /// pages of its own, and a prefetch waits for the page's translation; some at once do so together, so this does nothing in
  /// three calls of four. The records, which say where the stacks are, come a batch earlier.
  void prefetch() const {
    constexpr uint32_t kBatch = 4;  // 8: the first are evicted before the last has run
    constexpr size_t kFrames = 512;
    const uint32_t h = head_.load(std::memory_order_relaxed);
    if (h % kBatch != 0) return;
    const uint32_t n = tail_.load(std::memory_order_relaxed) - h;
    // The one at the head runs at once.
    for (uint32_t i = 1; i < n && i <= kBatch; ++i) {
      const G* const g = ring_[(h + i) % kSize].load(std::memory_order_relaxed);
      __builtin_prefetch(&g->deadline, 1);
      const char* const sp = static_cast<const char*>(g->sp);
      for (size_t at = 0; at < kFrames; at += 64) __builtin_prefetch(sp + at, 1);
    }
    for (uint32_t i = kBatch + 1; i < n && i <= 2 * kBatch; ++i) {
      __builtin_prefetch(ring_[(h + i) % kSize].load(std::memory_order_relaxed), 1);
    }
  }
  G* peek_next() const { return next_.load(std::memory_order_relaxed); }

  /// Owner: half of the ring (at least `least`), linked by next; their number in *n. For the overflow to the global queue.
  G* take_half(uint32_t* n) {
    for (;;) {
      uint32_t h = head_.load(std::memory_order_acquire);
      const uint32_t t = tail_.load(std::memory_order_relaxed);
      const uint32_t half = (t - h) / 2;
      if (half == 0) return nullptr;
      G* batch[kSize / 2];
      for (uint32_t i = 0; i < half; ++i) batch[i] = ring_[(h + i) % kSize].load(std::memory_order_relaxed);
      if (!head_.compare_exchange_weak(h, h + half, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      for (uint32_t i = 0; i + 1 < half; ++i) batch[i]->next = batch[i + 1];
      batch[half - 1]->next = nullptr;
      *n = half;
      return batch[0];
    }
  }

  /// A thief that owns `mine`, which is empty: moves half of this ring into it and returns one of them to run; null if there is
  /// nothing. Any number of thieves, in parallel with the owner.
  G* steal_into(RunQ& mine) {
    const uint32_t t = mine.tail_.load(std::memory_order_relaxed);
    for (;;) {
      uint32_t h = head_.load(std::memory_order_acquire);          // pairs with the other thieves
      const uint32_t end = tail_.load(std::memory_order_acquire);  // pairs with put()
      uint32_t n = end - h;
      n -= n / 2;
      if (n == 0) return nullptr;
      if (n > kSize / 2) continue;  // head and tail were not of one moment
      for (uint32_t i = 0; i < n; ++i) {
        mine.ring_[(t + i) % kSize].store(ring_[(h + i) % kSize].load(std::memory_order_relaxed),
                                          std::memory_order_relaxed);
      }
      // release: whoever sees the new head (the owner, in put()) may overwrite the slots, which have been read.
      if (!head_.compare_exchange_weak(h, h + n, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      G* const g = mine.ring_[(t + n - 1) % kSize].load(std::memory_order_relaxed);
      if (n > 1)
        mine.tail_.store(t + n - 1, std::memory_order_release);  // pairs with the acquire of who steals from us
      return g;
    }
  }

  /// Any thread; a hint, unless it is the owner's. acquire, so that a sleeper's second look sees what was put before.
  bool empty() const {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire) &&
           next_.load(std::memory_order_acquire) == nullptr;
  }
  uint32_t size() const {
    return tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_acquire) +
           (next_.load(std::memory_order_relaxed) != nullptr ? 1 : 0);
  }
  bool has_ring() const { return head_.load(std::memory_order_relaxed) != tail_.load(std::memory_order_relaxed); }

  /// From now on there may be thieves. By the owner, before there are.
  void share() {
    if (!shared_) shared_ = true;
  }
  bool shared() const { return shared_; }
  /// In a forked child, or when nobody else knows the queue.
  void clear() {
    head_.store(0, std::memory_order_relaxed);
    tail_.store(0, std::memory_order_relaxed);
    next_.store(nullptr, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t> head_{0};  // owner and thieves
  std::atomic<uint32_t> tail_{0};  // owner
  std::atomic<G*> next_{nullptr};  // owner and thieves
  bool shared_ = false;            // owner
  alignas(64) std::atomic<G*> ring_[kSize] = {};
};

}  // namespace tri::sched

#endif
