// g.h - G: a goroutine, or the stand-in of a plain thread that waits.
//
// Records are pooled and never given back: once a G, always a G. So whoever holds a stale pointer may read it, and finds it
// out of date: by the number of its wait (wait.h), or by its generation (task ids). Neither ever goes back.
//
// The wait word is (number of the wait << 1 | claimed). begin_wait() counts it up, claim() sets the bit by one CAS.
//
// A G moves through these states; only who is named moves it:
//   free --go()--> runnable --execute()--> running --the one who runs after it--> waiting --ready(), by the winner--> runnable
//   running --exit--> free
// It becomes "waiting" only when its registers are saved, so who finds it runnable may run it. A stand-in is always
// "running": what it sleeps on is the futex `doorbell`.
//
// Used by: everything in sched.
#ifndef TRI_SCHED_G_H
#define TRI_SCHED_G_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"
#include "fp_modes.h"
#include "sched/timer.h"
#include "sched/wait.h"

namespace tri::sched {

struct M;
struct P;
class Context;

enum class GState : uint8_t { kFree, kRunnable, kRunning, kWaiting };
enum class GKind : uint8_t { kGoroutine, kThread };

/// A function to run at the end of the goroutine; the last registered is the first to run.
struct Defer {
  Defer* next;
  void (*fn)(void*);
  void* arg;
};

/// Who waits for a goroutine's end. On the joiner's stack; guarded by the G's join_lock.
struct Joiner {
  Joiner* next;
  G* g;
  WaitId id;
};

inline constexpr size_t kMaxCopiedArg = 128;
inline constexpr size_t kMaxName = 24;
inline constexpr size_t kLocals = 4;

struct alignas(64) G {
  // ---- the first cache line: all that a wait, a wake-up and a switch read. With thousands of goroutines every line is a miss.
  G* next = nullptr;  // whoever owns the queue that it is in
  // Whoever has claimed it, and is to make it ready: a list of such. Not `next`: until it has parked it may be preempted, and then
  // stands in a queue of those that can run.
  G* next_claimed = nullptr;
  void* sp = nullptr;                                 // while it does not run: where its registers are; null: never ran
  std::atomic<uint64_t> wait{1};                      // see above; any thread
  M* pinned = nullptr;                                // preempted in the middle of foreign code: only this M may run it
  Context* context = nullptr;                         // owner: what its waits obey; borrowed from who attached it
  int result = 0;                                     // the winner of claim(); read by the waiter after it was readied
  std::atomic<GState> state{GState::kFree};           // see above
  GKind kind = GKind::kGoroutine;                     // constant while in use
  std::atomic<WaitReason> reason{WaitReason::kNone};  // owner; read by reports

  // ---- waiting
  // Of the open wait. Written by the waiter, read by whoever runs timers.
  alignas(64) std::atomic<Time> deadline{kForever};
  std::atomic<Time> since{0};  // owner: when it began to wait, as the P last saw the clock; for reports
  Timer timer;                 // of the deadline
  // Of a stand-in: 0 nobody called, 1 readied, 2 asleep.
  std::atomic<uint32_t> doorbell{0};

  // ---- running
  char* stack_top = nullptr;  // null: no stack yet
  void (*entry)(void*) = nullptr;
  void* arg = nullptr;
  bool joinable = false;     // owner: somebody may know its id
  bool blocks_long = false;  // owner: its last blocking call lost its P (see syscall.cc)
  bool has_locals = false;   // owner: a local was set

  // ---- identity
  uint32_t slot = 0;  // constant; index of the record
  std::atomic<uint32_t> generation{
      0};                    // counts the goroutines that this record was; written under join_lock if joinable
  uint32_t stack_bytes = 0;  // reserved below stack_top, guard included
  FpModes fp_modes = 0;      // to start with: those of who started it, as a thread's
  SpinLock join_lock;
  Joiner* joiners = nullptr;   // join_lock
  Defer* defers = nullptr;     // owner
  void* fiber = nullptr;       // what a sanitizer calls its stack
  void* locals[kLocals] = {};  // owner
  char name[kMaxName] = {};    // constant while in use; read by reports

  alignas(16) char copied[kMaxCopiedArg];  // owner
};

static_assert(offsetof(G, reason) < 64);
static_assert(sizeof(G) <= 512, "a parked goroutine: a page, its share of page tables, and this, within 5 KiB");
static_assert(std::atomic<WaitReason>::is_always_lock_free);

/// begin_wait() and claim() of wait.h, for callers to whom a call is too much.
[[gnu::always_inline]] inline WaitId begin_wait_inline(G* g) {
  if (TRI_UNLIKELY(g->kind == GKind::kThread)) g->doorbell.store(0, std::memory_order_relaxed);
  // Whoever reads this wait's number must not find the last one's deadline (see run_due()).
  g->deadline.store(kForever, std::memory_order_relaxed);
  // Even: open. Only the owner counts it up, and no claim of an earlier wait can succeed, so a plain store does.
  const uint64_t id = (g->wait.load(std::memory_order_relaxed) | 1) + 1;
  g->wait.store(id, std::memory_order_release);  // pairs with the acquire in run_due()
  return id;
}
[[gnu::always_inline]] inline bool claim_inline(G* g, WaitId id) {
  return g->wait.load(std::memory_order_relaxed) == id &&
         g->wait.compare_exchange_strong(id, id | 1, std::memory_order_acq_rel, std::memory_order_relaxed);
}

/// A name for one goroutine, never used again: 0 is nobody's.
using TaskId = uint64_t;
inline TaskId make_task_id(uint32_t slot, uint32_t generation) { return (uint64_t{generation} << 32) | (slot + 1); }
inline TaskId id_of(const G* g) { return make_task_id(g->slot, g->generation.load(std::memory_order_relaxed)); }
inline uint32_t generation_of(TaskId id) { return static_cast<uint32_t>(id >> 32); }
/// The record that the id speaks of, whoever it is now; null for what was never an id.
G* record_of(TaskId id);

/// A record; null when there is no memory. Its wait number and generation go on from where they were.
[[nodiscard]] G* take_g();
/// Takes up to n records at once, linked by next; the P's free list does.
[[nodiscard]] G* take_gs(uint32_t n);
void put_gs(G* first, G* last);
inline void put_g(G* g) { put_gs(g, g); }

/// Records ever made; record i by g_at(i). For reports.
uint32_t g_count();
G* g_at(uint32_t i);
/// Of the pool; for fork.
SpinLock& g_pool_lock();

}  // namespace tri::sched

#endif
