// timer.h - What is to happen at a moment: a 4-ary heap of timers for each P.
//
// A heap is guarded by its lock; its earliest time is readable without. Anybody who holds a P may run what is due in the heap of
// another, so timers are stolen like work, and a busy P delays nobody's deadline for longer than it takes to notice.
//
// Two kinds of timer share it.
// - A goroutine's deadline. It is almost never reached, so a wait that ends early leaves its entry where it is, and so does the
//   next wait, if its deadline is not earlier: the entry is only a time to look at the goroutine again, and whoever does finds
//   the deadline of the wait that is open now (arm_deadline(), run_due()). To arm is then two memory accesses, to disarm none, and
//   each goroutine has one entry at most.
// - A public timer (tri_timer): removed from the heap when stopped, since its memory is the user's.
//
// Invariants, under the lock: entry i is not earlier than entry (i - 1) / 4; entries[t->index].timer == t and t->heap == this for
// each entry; earliest() is that of entry 0, or kForever.
//
// Used by: park, find_work, sysmon, shim.
#ifndef TRI_SCHED_TIMER_H
#define TRI_SCHED_TIMER_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sched/spin_lock.h"
#include "sched/wait.h"

namespace tri::sched {

class TimerHeap;

struct Timer {
  std::atomic<TimerHeap*> heap{nullptr};  // that holds it; written under that heap's lock
  std::atomic<Time> when{kForever};       // key in the heap; kForever: in none. Written under the heap's lock
  uint32_t index = 0;                     // heap's lock
  bool is_deadline = true;                // constant; part of a G, else of a PublicTimer
};

/// One-shot (period 0) or ticker. fn(arg) runs in a goroutine of its own, as Go's AfterFunc does.
struct PublicTimer {
  Timer timer{.is_deadline = false};
  Time period = 0;  // heap's lock
  void (*fn)(void*) = nullptr;
  void* arg = nullptr;
};

class TimerHeap {
 public:
  /// Any thread, without a lock. acquire.
  Time earliest() const { return earliest_.load(std::memory_order_acquire); }
  size_t size() const { return count_; }

  /// Puts in a timer that is in no heap. False: no memory.
  [[nodiscard]] bool insert(Timer* t, Time when);
  /// For procresize and fork: moves all timers to another heap.
  void move_all_to(TimerHeap& to);
  /// Equations of the file head; for tests and verifying builds.
  void verify();

  SpinLock& lock() { return lock_; }

 private:
  friend void arm_deadline(TimerHeap& local, G* g, Time deadline);
  friend bool remove_timer(Timer* t);
  friend bool start_timer(TimerHeap& local, PublicTimer* t, Time when, Time period);
  friend G* run_due(TimerHeap& heap, Time at, size_t* started);
  friend void reset_heap_after_fork(TimerHeap& heap);

  struct Entry {
    Time when;
    Timer* timer;
  };

  bool insert_locked(Timer* t, Time when);
  void remove_locked(uint32_t i);
  void rekey_locked(uint32_t i, Time when);
  void place(uint32_t i, Entry e);
  uint32_t sift_up(uint32_t i, Entry e);
  uint32_t sift_down(uint32_t i, Entry e);
  void publish() { earliest_.store(count_ == 0 ? kForever : entries_[0].when, std::memory_order_release); }

  std::atomic<Time> earliest_{kForever};  // written under lock_
  SpinLock lock_;
  uint32_t count_ = 0;     // lock_
  uint32_t capacity_ = 0;  // lock_
  Entry* entries_ = nullptr;
};

/// Makes sure that somebody looks at g's open wait at `deadline`, or earlier. By the one who parks g, before it can be woken.
void arm_deadline(TimerHeap& local, G* g, Time deadline);
/// Starts, or restarts, a public timer. False: no memory.
[[nodiscard]] bool start_timer(TimerHeap& local, PublicTimer* t, Time when, Time period);
/// True if the timer was in a heap: what it was to do has not happened, and will not.
bool remove_timer(Timer* t);
/// Runs some of what is due at `at` (64 at most; earliest() tells whether there is more): goroutines whose deadline has passed come back as a list by G::next_claimed, claimed, with their
/// result set; public timers' functions have been started (their number in *started). Without the lock held on return.
G* run_due(TimerHeap& heap, Time at, size_t* started);

/// Replaces now(); null restores it. For tests.
void set_clock(Time (*clock)());
void reset_heap_after_fork(TimerHeap& heap);

}  // namespace tri::sched

#endif
