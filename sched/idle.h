// idle.h - Which Ps are idle, how many Ms look for work, and how one of them is woken.
//
// An M that has found nothing "spins" for a while, that is, it looks at the other Ps' queues; at most half as many as are busy
// do. Who makes a goroutine runnable wakes an M only if there is an idle P and nobody spins: a spinner will find it.
//
// That is safe by a pair of looks. Who makes work puts it into a queue, and then looks at `spinning` and the mask. Who goes to
// sleep gives up its P (the mask), stops spinning, and then looks at all queues once more. Between each one's write and look
// stands a full fence, so one of the two sees the other. The maker's is a fence for the compiler only, as it stands in the fast path:
// the sleeper makes up for it with membarrier(), which runs a fence on all the threads of the process (kernels without it, and
// queues that are written seldom, pay for a fence on both sides).
//
// Used by: proc, find_work, park.
#ifndef TRI_SCHED_IDLE_H
#define TRI_SCHED_IDLE_H

#include <atomic>
#include <bit>
#include <cstdint>

#include "sched/p.h"

namespace tri::sched {

/// The Ps that nobody has. Lock-free; all operations but the hints are seq_cst: see the file head.
class IdlePs {
 public:
  /// A hint: relaxed. Who has made work, and put no fence after it, asks count().
  bool any() const { return count_.load(std::memory_order_relaxed) != 0; }
  uint32_t count() const { return count_.load(std::memory_order_seq_cst); }

  void put(uint32_t id) {
    count_.fetch_add(1, std::memory_order_seq_cst);
    words_[id / 64].fetch_or(uint64_t{1} << (id % 64), std::memory_order_seq_cst);
  }
  /// True if it was idle, and is the caller's now.
  bool take(uint32_t id) {
    const uint64_t bit = uint64_t{1} << (id % 64);
    if ((words_[id / 64].load(std::memory_order_relaxed) & bit) == 0) return false;
    if ((words_[id / 64].fetch_and(~bit, std::memory_order_seq_cst) & bit) == 0) return false;
    count_.fetch_sub(1, std::memory_order_seq_cst);
    return true;
  }
  /// Any of them, or -1.
  int take_any() {
    for (uint32_t w = 0; w < kMaxProcs / 64; ++w) {
      for (uint64_t word; (word = words_[w].load(std::memory_order_seq_cst)) != 0;) {
        const uint32_t id = w * 64 + static_cast<uint32_t>(std::countr_zero(word));
        if (take(id)) return static_cast<int>(id);
      }
    }
    return -1;
  }
  bool is_idle(uint32_t id) const { return (words_[id / 64].load(std::memory_order_relaxed) >> (id % 64) & 1) != 0; }
  void reset_after_fork() {
    count_.store(0, std::memory_order_relaxed);
    for (auto& w : words_) w.store(0, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t> count_{0};  // at least the number of bits set
  std::atomic<uint64_t> words_[kMaxProcs / 64] = {};
};

}  // namespace tri::sched

#endif
