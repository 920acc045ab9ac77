// g.h - G: a goroutine, or the stand-in of a plain thread that waits.
//
// Records are pooled and never given back: once a G, always a G. So whoever holds a stale pointer may read it, and finds it
// out of date: by the number of its wait (wait.h), or by its generation (task ids). Neither ever goes back.
//
// The wait word is (number of the wait << 1 | claimed). begin_wait() counts it up, claim() sets the bit by one CAS.
//
// A G moves through these states; only who is named moves it:
//   free --go()--> runnable --execute()--> running --park(), after the switch--> waiting --ready(), by the winner--> runnable
//   running --exit--> free
// A stand-in is always "running": what it sleeps on is the futex `doorbell`.
//
// Used by: everything in sched.
#ifndef TRI_SCHED_G_H
#define TRI_SCHED_G_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"
#include "sched/wait.h"

namespace tri::sched {

struct M;
class Context;

enum class GState : uint32_t { kFree, kRunnable, kRunning, kWaiting };
enum class GKind : uint8_t { kGoroutine, kThread };

/// Registered by defer(): run at the end of the goroutine, the last first.
struct Defer {
  Defer* next;
  void (*fn)(void*);
  void* arg;
};

inline constexpr size_t kMaxCopiedArg = 128;
inline constexpr size_t kMaxName = 24;

struct alignas(64) G {
  // ---- what a switch and a queue touch
  G* next = nullptr;                         // whoever owns the queue that it is in
  void* sp = nullptr;                        // while it does not run: where its registers are
  std::atomic<uint64_t> wait{1};             // see above; any thread
  int result = 0;                            // the winner of claim(); read by the waiter after it was readied
  std::atomic<GState> state{GState::kFree};  // see above
  // Of a stand-in: 0 nobody called, 1 readied, 2 asleep.
  std::atomic<uint32_t> doorbell{0};
  GKind kind = GKind::kGoroutine;         // constant while in use
  WaitReason reason = WaitReason::kNone;  // owner; read by reports, which may be late
  Context* context = nullptr;             // owner; what its waits obey (context.h); borrowed from the one who attached it
  M* pinned = nullptr;                    // preempted in the middle of foreign code: only this M may run it

  uint32_t slot = 0;                    // constant; index of the record
  std::atomic<uint32_t> generation{0};  // counts the goroutines that this record was; any thread
};

static_assert(sizeof(G) % 64 == 0);

/// A record; null when there is no memory. Its wait number and generation go on from where they were.
[[nodiscard]] G* take_g();
void put_g(G* g);

}  // namespace tri::sched

#endif
