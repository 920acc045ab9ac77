// wait.h - How anything waits: until somebody wakes it, its deadline passes, or its context is cancelled.
//
// Everything that blocks (channels, locks, sockets, joins) is built from these five calls, and from nothing else. The
// one who waits may be a goroutine or a plain thread: a thread that waits gets a G of its own as a stand-in, which sleeps
// on a futex instead of giving its place to another goroutine. So each primitive works between both, and none asks.
//
// A wait has one winner. begin_wait() opens it; wakers, the deadline and a cancellation then race to claim() it, and
// only the one who gets true may wake the G. The number in WaitId makes claims of earlier waits fail, so a late waker
// that still holds one does no harm.
//
//   waiter:  lock; nothing there? id = begin_wait(g); enqueue {g, id}; r = park(reason, &lock, deadline)
//            r == -ETIMEDOUT or -ECANCELED: lock; take the own entry out of the queue if it is still in; unlock
//   waker:   lock; pop entries until claim(e.g, e.id); move the value; unlock; ready(e.g, result)
//
// The entry may stand on the waiter's stack: who pops it does so under the lock, and touches it no more after unlock.
//
// Used by: chan, select, sync, netpoll, timers, tasks. Implemented in park.cc.
#ifndef TRI_SCHED_WAIT_H
#define TRI_SCHED_WAIT_H

#include <cstdint>

#include "sched/spin_lock.h"

namespace tri::sched {

struct G;

/// Nanoseconds of CLOCK_MONOTONIC.
using Time = int64_t;
inline constexpr Time kForever = INT64_MAX;
/// As a deadline: do not block. Callers handle it before they open a wait.
inline constexpr Time kNoWait = 0;

/// Now, from the vDSO: about 20 ns.
Time now();

enum class WaitReason : uint8_t {
  kNone,
  kSend,
  kReceive,
  kSelect,            // of channels and contexts
  kSelectDescriptor,  // and of descriptors
  kNilChannel,        // for ever: send or receive on a null channel, or select of nothing
  kSleep,
  kJoin,
  kMutex,
  kReadLock,
  kWriteLock,
  kCondition,
  kWaitGroup,
  kOnce,
  kSemaphore,
  kContext,
  kRead,   // a descriptor to become readable
  kWrite,  // or writable
  kBlockingCall,
};
const char* name_of(WaitReason reason);

using WaitId = uint64_t;

/// The goroutine that runs, or the stand-in of this thread. Null only when there is no memory for a stand-in.
G* current();
/// Opens a wait of current(). Nobody else touches its word before the id is published.
WaitId begin_wait(G* g);
/// True for exactly one caller while the wait is open. Any thread; lock-free. acq_rel.
[[nodiscard]] bool claim(G* g, WaitId id);
/// Sleeps until the wait is claimed and ready() was called; `unlock` (may be null) is released only when the G can be
/// woken. Returns what ready() was given; -ETIMEDOUT when the deadline claimed the wait; -ECANCELED when the G's context did.
int park(WaitReason reason, SpinLock* unlock, Time deadline);
/// Makes g runnable again. Only by the winner of claim(), once. Any thread. A goroutine readied by a goroutine runs
/// next on the same processor (runnext).
void ready(G* g, int result);
/// The same in a critical section (critical.h).
void ready_in_critical(G* g, int result);

}  // namespace tri::sched

#endif
