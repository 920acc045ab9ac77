// timer.cc - See timer.h.
#include "sched/timer.h"

#include <errno.h>
#include <time.h>

#include "alloc/malloc.h"
#include "sched/g.h"
#include "sched/proc.h"

namespace tri::sched {
namespace {

constexpr uint32_t kArity = 4;
constexpr uint32_t kFirstCapacity = 64;
// Due timers that are run for one taking of the lock: bounds how long another waits for it.
constexpr size_t kBatch = 64;

constinit std::atomic<Time (*)()> clock_override{nullptr};

G* owner_of(Timer* t) { return reinterpret_cast<G*>(reinterpret_cast<char*>(t) - offsetof(G, timer)); }
PublicTimer* public_of(Timer* t) { return reinterpret_cast<PublicTimer*>(t); }
static_assert(offsetof(PublicTimer, timer) == 0);

}  // namespace

Time now() {
  // relaxed: set by a test before it starts threads.
  if (Time(*clock)() = clock_override.load(std::memory_order_relaxed)) return clock();
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

void set_clock(Time (*clock)()) { clock_override.store(clock, std::memory_order_relaxed); }

// ---- the heap ---------------------------------------------------------------------------------------------------

void TimerHeap::place(uint32_t i, Entry e) {
  entries_[i] = e;
  e.timer->index = i;
}

uint32_t TimerHeap::sift_up(uint32_t i, Entry e) {
  while (i != 0) {
    const uint32_t parent = (i - 1) / kArity;
    if (entries_[parent].when <= e.when) break;
    place(i, entries_[parent]);
    i = parent;
  }
  place(i, e);
  return i;
}

uint32_t TimerHeap::sift_down(uint32_t i, Entry e) {
  for (;;) {
    const uint64_t first = uint64_t{i} * kArity + 1;
    if (first >= count_) break;
    uint32_t least = static_cast<uint32_t>(first);
    const uint64_t end = first + kArity < count_ ? first + kArity : count_;
    for (auto c = static_cast<uint32_t>(first) + 1; c < end; ++c) {
      if (entries_[c].when < entries_[least].when) least = c;
    }
    if (entries_[least].when >= e.when) break;
    place(i, entries_[least]);
    i = least;
  }
  place(i, e);
  return i;
}

bool TimerHeap::insert_locked(Timer* t, Time when) {
  if (count_ == capacity_) {
    const uint32_t more = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
    const size_t bytes = size_t{more} * sizeof(Entry);
    void* const p = entries_ == nullptr ? allocate(bytes) : reallocate(entries_, bytes);
    if (p == nullptr) return false;
    entries_ = static_cast<Entry*>(p);
    capacity_ = more;
  }
  t->heap.store(this, std::memory_order_release);  // pairs with the acquire in arm_deadline() and remove_timer()
  t->when.store(when, std::memory_order_seq_cst);  // see arm_deadline()
  sift_up(count_++, {when, t});
  publish();
  return true;
}

void TimerHeap::remove_locked(uint32_t i) {
  TRI_ASSERT(i < count_);
  Timer* const t = entries_[i].timer;
  const Entry last = entries_[--count_];
  if (i != count_ && sift_up(i, last) == i) sift_down(i, last);
  t->when.store(kForever, std::memory_order_relaxed);
  t->heap.store(nullptr, std::memory_order_release);
  publish();
}

void TimerHeap::rekey_locked(uint32_t i, Time when) {
  Timer* const t = entries_[i].timer;
  t->when.store(when, std::memory_order_seq_cst);  // see arm_deadline()
  if (sift_up(i, {when, t}) == i) sift_down(i, {when, t});
  publish();
}

bool TimerHeap::insert(Timer* t, Time when) {
  SpinGuard guard(lock_);
  return insert_locked(t, when);
}

void TimerHeap::verify() {
  SpinGuard guard(lock_);
  for (uint32_t i = 0; i < count_; ++i) {
    Timer* const t = entries_[i].timer;
    TRI_CHECK(t->index == i);
    TRI_CHECK(t->heap.load(std::memory_order_relaxed) == this);
    if (i != 0) TRI_CHECK(entries_[(i - 1) / kArity].when <= entries_[i].when);
  }
  TRI_CHECK(earliest() == (count_ == 0 ? kForever : entries_[0].when));
}

void TimerHeap::move_all_to(TimerHeap& to) {
  for (;;) {
    Timer* t;
    Time when;
    {
      SpinGuard guard(lock_);
      if (count_ == 0) return;
      t = entries_[count_ - 1].timer;
      when = entries_[count_ - 1].when;
      // Out of one heap before into the other; a stop in between finds it in none, and waits (remove_timer()).
      TRI_ASSERT(this < &to || this > &to);
      SpinGuard target(to.lock_);
      --count_;
      publish();
      if (!to.insert_locked(t, when)) {
        ++count_;  // no memory: it stays, and is run from here
        t->heap.store(this, std::memory_order_release);
        publish();
        return;
      }
    }
  }
}

void reset_heap_after_fork(TimerHeap& heap) {
  heap.lock_.reset_after_fork();
  for (uint32_t i = 0; i < heap.count_; ++i) {
    heap.entries_[i].timer->heap.store(nullptr, std::memory_order_relaxed);
    heap.entries_[i].timer->when.store(kForever, std::memory_order_relaxed);
  }
  heap.count_ = 0;
  heap.publish();
}

// ---- deadlines --------------------------------------------------------------------------------------------------

// The one who parks writes the deadline, then looks at the entry's time; run_due() marks the entry as gone, then looks at the
// deadline. Both are seq_cst, so one of them sees the other, and no deadline is lost between them. An entry is put in by the
// one who parks the goroutine alone (one at a time), so it is in one heap at most.
void arm_deadline(TimerHeap& local, G* g, Time deadline) {
  Timer* const t = &g->timer;
  g->deadline.store(deadline, std::memory_order_seq_cst);
  if (t->when.load(std::memory_order_seq_cst) <= deadline) return;
  if (TimerHeap* const h = t->heap.load(std::memory_order_acquire)) {
    h->lock_.lock();
    if (t->heap.load(std::memory_order_relaxed) == h) {
      if (t->when.load(std::memory_order_relaxed) > deadline) h->rekey_locked(t->index, deadline);
      h->lock_.unlock();
      // The heap of a P that may be idle: then the keeper must know.
      if (h != &local) timer_added(deadline);
      return;
    }
    h->lock_.unlock();
  }
  SpinGuard guard(local.lock_);
  // Without memory for an entry the deadline would be lost, and with it the promise of every call: there is no way to say so
  // to somebody who is parked already.
  TRI_CHECK(local.insert_locked(t, deadline) && "memory for a timer");
}

G* run_due(TimerHeap& heap, Time at, size_t* started) {
  G* due = nullptr;
  G** tail = &due;
  struct Call {
    void (*fn)(void*);
    void* arg;
  } calls[kBatch];
  size_t n = 0;
  heap.lock_.lock();
  for (size_t i = 0; i < kBatch && heap.count_ != 0 && heap.entries_[0].when <= at; ++i) {
    Timer* const t = heap.entries_[0].timer;
    if (!t->is_deadline) {
      PublicTimer* const u = public_of(t);
      calls[n++] = {u->fn, u->arg};
      if (u->period > 0) {
        // Missed ticks are dropped, the rhythm is kept, as Go's tickers do.
        const Time late = at - heap.entries_[0].when;
        heap.rekey_locked(0, heap.entries_[0].when + u->period * (1 + late / u->period));
      } else {
        heap.remove_locked(0);
      }
      continue;
    }
    G* const g = owner_of(t);
    t->when.store(kForever, std::memory_order_seq_cst);         // see arm_deadline()
    const WaitId id = g->wait.load(std::memory_order_acquire);  // pairs with the release in begin_wait()
    const Time deadline = g->deadline.load(std::memory_order_seq_cst);
    const bool is_open = (id & 1) == 0;
    if (is_open && deadline > at && deadline != kForever) {
      heap.rekey_locked(0, deadline);
      continue;
    }
    heap.remove_locked(0);
    if (is_open && deadline <= at && claim(g, id)) {
      g->result = -ETIMEDOUT;
      g->next_claimed = nullptr;
      *tail = g;
      tail = &g->next_claimed;
    }
  }
  heap.lock_.unlock();
  for (size_t i = 0; i < n; ++i) (void)go(calls[i].fn, calls[i].arg);
  *started = n;
  return due;
}

// ---- public timers ----------------------------------------------------------------------------------------------

bool remove_timer(Timer* t) {
  for (;;) {
    TimerHeap* const h = t->heap.load(std::memory_order_acquire);
    if (h == nullptr) return false;
    SpinGuard guard(h->lock_);
    if (t->heap.load(std::memory_order_relaxed) != h) continue;  // moved meanwhile
    h->remove_locked(t->index);
    return true;
  }
}

bool start_timer(TimerHeap& local, PublicTimer* t, Time when, Time period) {
  remove_timer(&t->timer);
  SpinGuard guard(local.lock_);
  t->period = period;
  return local.insert_locked(&t->timer, when);
}

}  // namespace tri::sched
