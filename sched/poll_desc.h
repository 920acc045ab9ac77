// poll_desc.h - What the poller knows of one descriptor: who waits for it, and how often it became ready.
//
// The state machine of the netpoller, free of system calls. A descriptor has two sides, reading and writing. Each side is an
// event count and a queue of waiters:
//
//   stamp = generation of the descriptor's number << 32 | edges seen by the poller on this side
//
//   waiter:  s = stamp; try the call; would block? lock; stamp != s: unlock, try again; else enqueue, park
//   poller:  an edge: lock; stamp += 1; take the whole queue; unlock; wake whom it claimed
//   closer:  lock; generation += 1; take both queues; unlock; only then close, and wake them with -EBADF
//
// The state "ready" of a binary semaphore is implied: the stamp has moved on since the waiter looked. So nothing has to be
// reset before a call, an edge that a call has consumed already costs no second try, and any number of goroutines may
// wait on one side: an edge wakes all, since with edge triggering nobody can know how many of them it is good for.
//
// A generation that differs, in a stamp or in the token of an event, means that the number has been closed since and may
// be another descriptor by now: the waiter gets -EBADF, the event is dropped.
//
// Short reads: a stream whose read gave less than was asked for is empty, and its next data brings an edge (epoll(7)), so the
// next read may wait without asking the kernel. `drained` keeps the stamp of the read that found that: while the side still has the same
// stamp, no edge has come since that read began. Any number of readers may do so at once; a read that overlaps an edge
// writes an old stamp, which means nothing.
//
// Records live in a table by descriptor, in memory that is never unmapped or reused for anything else: a late event finds a
// record, whatever has become of the descriptor.
//
// Lock: each record's own, innermost but for that of the kernel. Uses: wait. Used by: netpoll, descriptor.
#ifndef TRI_SCHED_POLL_DESC_H
#define TRI_SCHED_POLL_DESC_H

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sched/spin_lock.h"
#include "sched/wait.h"

namespace tri::sched {

/// A list of claimed Gs, linked by G::next_claimed: who made it must make each of them ready.
struct ClaimedList {
  G* first = nullptr;
  G* last = nullptr;
  void append(G* g, int result);
};

/// An entry of a side's queue: in the record itself, on the waiter's stack, or (armed ones only) allocated.
struct PollWaiter {
  PollWaiter* next = nullptr;
  G* g = nullptr;  // null: the record's own entry is free
  WaitId id = 0;
  int result = 0;
  bool allocated = false;
};

using Stamp = uint64_t;
constexpr uint32_t stamp_generation(Stamp stamp) { return static_cast<uint32_t>(stamp >> 32); }

/// How a descriptor's calls are to be made; constant from its first use until it is closed.
enum class FdKind : uint8_t {
  kUnknown,   // not looked at yet
  kSocket,    // recv and send
  kPollable,  // pipe, eventfd, tty, ...: read and write
  kFile,      // never waits by epoll's rules: its calls go by the blocking path
  kShared,  // an inherited stdin, stdout or stderr, which must stay blocking: poll() and the call, both by the blocking path
  kClosing,  // tri_close() is at work
};

class PollSide {
 public:
  /// What to compare with after a call that would have blocked. acquire: orders it before the call.
  Stamp stamp() const { return stamp_.load(std::memory_order_acquire); }

 private:
  friend class PollDesc;
  std::atomic<Stamp> stamp_{0};  // written under the lock
  PollWaiter* first_ = nullptr;  // lock; the latest first
};

class alignas(64) PollDesc {
 public:
  enum Event : uint32_t {
    kReadable = 1,
    kWritable = 2,
    kHangUp = 4,  // the other end has closed, an error, or urgent data: a short read proves nothing any more
  };
  /// The pollers that a descriptor can be registered with (see poller.h).
  static constexpr int kPollers = 2;

  void lock() { lock_.lock(); }
  void unlock() { lock_.unlock(); }
  bool is_locked() const { return lock_.is_locked(); }

  PollSide& side(bool write) { return sides_[write]; }

  /// Sleeps until an edge comes after `stamp` on one side, or until the deadline. 0: try again. -ETIMEDOUT, -ECANCELED; -EBADF: closed.
  /// Called with the lock held; releases it.
  int wait_locked(bool write, Stamp stamp, G* g, Time deadline);
  /// The same for both sides at once: the first edge on either ends the wait.
  int wait_both_locked(Stamp read, Stamp write, G* g, Time deadline);

  /// Enqueues a wait that the caller has opened, and parks on elsewhere. 0; 1 if the stamp has moved on; -EBADF; -ENOMEM if
  /// the record's own entry is taken and *spare is null. *spare becomes null if it was used. Called with the lock held; keeps it.
  int arm_locked(bool write, Stamp stamp, G* g, WaitId id, int result, PollWaiter** spare);
  /// Takes {g, id} out of the queue if it is still there. Returns its entry if that was allocated, for the caller to free. Any thread.
  PollWaiter* remove(bool write, const G* g, WaitId id);

  /// The poller saw `events` for the descriptor that had this generation. Appends the waiters that it claimed; returns
  /// allocated entries for the caller to free. Any thread; several pollers may do so at once.
  PollWaiter* on_event(uint32_t generation, uint32_t events, ClaimedList* out);
  /// The number means another descriptor from now on, or none: empties both queues, with -EBADF for who waited, and forgets
  /// everything. Returns as on_event. Called with the lock held; keeps it.
  PollWaiter* renew_locked(FdKind kind, bool ours, bool tcp, ClaimedList* out);

  /// Fetches what an event will touch next: the record of who waits. To be called when this one is in the cache.
  void prefetch_waiter() const { __builtin_prefetch(last_waiter_.load(std::memory_order_relaxed), 1); }

  uint32_t generation() const { return stamp_generation(sides_[0].stamp_.load(std::memory_order_relaxed)); }
  bool has_waiters_locked() const { return sides_[0].first_ != nullptr || sides_[1].first_ != nullptr; }

  /// acquire: pairs with the release of the thread that looked at the descriptor first.
  FdKind kind() const { return kind_.load(std::memory_order_acquire); }
  void set_kind_locked(FdKind kind) { kind_.store(kind, std::memory_order_release); }
  /// Not closed, nor about to be.
  bool is_in_use_locked() const { return kind() != FdKind::kUnknown && kind() != FdKind::kClosing; }
  /// Made by this library, so that only this library closes it: its kind and its registration can be relied on.
  bool is_tcp() const { return tcp_.load(std::memory_order_relaxed); }
  bool is_ours_locked() const { return ours_; }
  bool is_registered_locked(int poller) const { return registered_[poller]; }
  /// Nothing has to be done before a wait.
  bool is_settled_locked(int poller) const { return registered_[poller] && ours_; }
  void set_registered_locked(int poller) { registered_[poller] = true; }

  // Short reads, for descriptors of which they prove something. Any thread.
  bool short_read_means_empty() const { return tcp_.load(std::memory_order_relaxed) && !hung_up(); }
  void set_drained(Stamp stamp) { drained_.store(stamp, std::memory_order_relaxed); }
  bool is_drained(Stamp stamp) const { return drained_.load(std::memory_order_relaxed) == stamp && !hung_up(); }

  /// In a forked child only: the waiters and the registrations are the parent's.
  void reset_after_fork();
  /// Checks the equations of the record; takes the lock.
  void verify();

 private:
  [[gnu::noinline]] int wait_in_crowd_locked(bool write, G* g, Time deadline);
  [[gnu::noinline]] int give_up(bool write, G* g, int result);
  bool hung_up() const { return hung_up_.load(std::memory_order_relaxed); }
  void push_locked(bool write, PollWaiter* w, G* g, WaitId id, int result);
  PollWaiter* take_all_locked(bool write, const int* result, ClaimedList* out);
  PollWaiter* remove_locked(bool write, const G* g, WaitId id);
  void bump_locked(bool write);

  // The first cache line is all that an event without waiters, a call without waiting, and a check of the stamp need.
  SpinLock lock_;
  std::atomic<FdKind> kind_{FdKind::kUnknown};
  std::atomic<bool> tcp_{false};      // written under the lock: ours, and TCP
  std::atomic<bool> hung_up_{false};  // written under the lock
  bool ours_ = false;                 // lock
  bool registered_[kPollers] = {};    // lock
  std::atomic<Stamp> drained_{kNever};
  std::atomic<const G*> last_waiter_{nullptr};  // written under the lock; for prefetch_waiter() alone
  PollSide sides_[2];                           // reading, writing
  alignas(64) PollWaiter own_[2];               // lock; so that the first waiter's entry needs no memory, and is near

  // Odd generations and edges are as good as any; this one is never reached, since generations count up from 0.
  static constexpr Stamp kNever = UINT64_MAX;
};

static_assert(sizeof(PollDesc) == 128);

/// The record of a descriptor: null if there is none, or no descriptor can have that number. Any thread.
PollDesc* find_poll_desc(int fd);
/// The same, made if need be. -EBADF for negative numbers, -EMFILE beyond the table, -ENOMEM.
int get_poll_desc(int fd, PollDesc** out);
/// In a forked child only.
void reset_poll_descs_after_fork();
/// Whether anybody waits for any descriptor. Looks at all of them.
bool anybody_waits_for_descriptors();
/// Checks the equations of every record. For tests and verifying builds; stops nobody.
void verify_poll_descs();

/// Frees entries that on_event and its like returned.
void free_poll_waiters(PollWaiter* w);

}  // namespace tri::sched

#endif
