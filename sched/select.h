// select.h - Waits for the first of several things, and does exactly one of them.
//
// As Go's select over channels, and over what Go has no case for: descriptors, moments, contexts.
//
//   1. Look at every case without locks. If some may be ready, try them in random order, each under its own channel's lock.
//   2. Else, with all channels locked in the order of their addresses, look again (only so is "none is ready" true of one moment),
//      and queue up on all of them: one Waiter a case, one wait for all.
//   3. Park. The waker has done the case's work and returns its number; take the Waiters out of the other queues.
//
// Uses: chan, context, netpoll. Used by: shim.
#ifndef TRI_SCHED_SELECT_H
#define TRI_SCHED_SELECT_H

#include <cstddef>
#include <cstdint>

#include "sched/chan.h"
#include "sched/context.h"

namespace tri::sched {

enum class CaseKind : uint32_t { kNone, kSend, kReceive, kReadable, kWritable, kAt, kDone };

/// The same as struct tri_case.
struct Case {
  CaseKind kind;
  int32_t fd;    // kReadable, kWritable; negative: never ready
  void* object;  // Channel, or Context for kDone; null: never ready
  void* data;    // the value to send, or where to receive it
  Time when;     // kAt
  bool closed;   // out: the case is ready because the channel is closed
};

/// The index of the case that was done; -EAGAIN: none is ready, and the deadline is kNoWait; -ETIMEDOUT, -ECANCELED, -ENOMEM;
/// -EINVAL: a kind that does not exist; what netpoll_arm() says of a descriptor (-EBADF and others). Any thread.
[[nodiscard]] int select(Case* cases, size_t n, Time deadline);

}  // namespace tri::sched

#endif
