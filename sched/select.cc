// select.cc - See select.h.
#include "sched/select.h"

#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/malloc.h"
#include "sched/netpoll.h"
#include "sched/random.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

// Most selects have a handful of cases. More than these are looked at in blocks, one bit a case, from a random block on.
constexpr size_t kBlock = 64;
// Up to here everything stands on the stack, less than 2 KiB.
constexpr size_t kOnStack = 16;
constexpr size_t kMostCases = INT32_MAX >> kCaseShift;

constexpr int kNone = INT32_MIN;  // no case, and no error

Channel* channel_of(const Case& c) {
  return c.kind == CaseKind::kSend || c.kind == CaseKind::kReceive ? static_cast<Channel*>(c.object) : nullptr;
}
Context* context_of(const Case& c) { return c.kind == CaseKind::kDone ? static_cast<Context*>(c.object) : nullptr; }
bool is_descriptor(const Case& c) {
  return (c.kind == CaseKind::kReadable || c.kind == CaseKind::kWritable) && c.fd >= 0;
}
bool is_write(const Case& c) { return c.kind == CaseKind::kWritable; }

/// 1: ready; 0: not; -EBADF.
int poll_now(const Case& c) {
  pollfd p = {c.fd, static_cast<short>(is_write(c) ? POLLOUT : POLLIN), 0};
  timespec at_once = {};
  const long n = arch::system_call(SYS_ppoll, reinterpret_cast<long>(&p), 1, reinterpret_cast<long>(&at_once));
  if (n <= 0) return 0;  // an error of poll itself (no memory): netpoll_arm() will tell
  return (p.revents & POLLNVAL) != 0 ? -EBADF : 1;
}

/// A case on a channel.
struct Place {
  Channel* channel;
  uint32_t i;  // of the case
  bool sends;

  WaitQueue& queue() const { return sends ? channel->senders() : channel->receivers(); }
};

/// Without the channel's lock no more than a hint.
[[gnu::always_inline]] inline bool may_pass(const Channel* channel, bool sends) {
  return sends ? channel->may_send() : channel->may_receive();
}

class Selection {
 public:
  Selection(Case* cases, size_t n) : cases_(cases), n_(n) {}
  ~Selection() {
    if (memory_ != nullptr) deallocate(memory_);
  }
  Selection(const Selection&) = delete;
  Selection& operator=(const Selection&) = delete;

  int run(Time deadline);

 private:
  int survey(uint64_t* candidates);
  int try_all(bool locked);
  int try_block(size_t from, bool locked);
  int try_candidates(size_t from, uint64_t candidates, bool locked);
  bool may_be_ready(const Case& c);
  bool attempt(Case& c, bool locked);
  bool make_room();
  void collect_places();
  bool lock_and_look();
  void unlock_beyond_first();
  int wait(Time deadline);
  void enqueue();
  int arm();
  void leave_all(size_t winner);
  int after_deadline();

  Case* const cases_;
  const size_t n_;
  size_t n_places_ = 0;  // cases on channels
  bool others_ = false;  // descriptors and contexts
  bool descriptors_ = false;
  Time ends_ = kForever;    // the earliest moment at which a case becomes ready by itself
  Time now_ = 0;            // 0: not asked yet
  int failure_ = 0;         // of a descriptor
  Waiter* wake_ = nullptr;  // a partner to be readied after the unlock
  G* g_ = nullptr;
  WaitId id_ = 0;
  Place* places_ = nullptr;          // by the addresses of their channels, the order in which all selects lock
  Waiter* waiters_ = nullptr;        // of each place
  ContextWait* contexts_ = nullptr;  // of each case, used by those on contexts
  void* memory_ = nullptr;
  alignas(Place) char places_here_[kOnStack * sizeof(Place)];
  alignas(Waiter) char waiters_here_[kOnStack * sizeof(Waiter)];
  alignas(ContextWait) char contexts_here_[kOnStack * sizeof(ContextWait)];
};

// Without locks, so no more than a hint where channels are concerned.
inline bool Selection::may_be_ready(const Case& c) {
  switch (c.kind) {
    case CaseKind::kSend:
    case CaseKind::kReceive: {
      const Channel* const channel = channel_of(c);
      return channel != nullptr && may_pass(channel, c.kind == CaseKind::kSend);
    }
    case CaseKind::kNone:
      return false;
    case CaseKind::kReadable:
    case CaseKind::kWritable: {
      const int ready = c.fd >= 0 ? poll_now(c) : 0;
      if (ready < 0) failure_ = ready;
      return ready > 0;
    }
    case CaseKind::kAt:
      if (now_ == 0) now_ = now();
      return c.when <= now_;
    case CaseKind::kDone:
      return c.object != nullptr && context_of(c)->error() != 0;
  }
  return false;
}

// What kinds of cases there are, which of the first may be ready, and the earliest moment.
inline int Selection::survey(uint64_t* candidates) {
  Case* const cases = cases_;
  const size_t n = n_;
  uint64_t may = 0;  // of no meaning beyond kBlock cases
  size_t n_places = 0;
  for (size_t i = 0; i < n; ++i) {
    Case& c = cases[i];
    c.closed = false;
    if (Channel* const channel = channel_of(c); TRI_LIKELY(channel != nullptr)) {
      ++n_places;
      may |= uint64_t{may_pass(channel, c.kind == CaseKind::kSend)} << i % kBlock;
      continue;
    }
    may |= uint64_t{may_be_ready(c)} << i % kBlock;
    switch (c.kind) {
      case CaseKind::kSend:
      case CaseKind::kReceive:
      case CaseKind::kNone:
        break;
      case CaseKind::kReadable:
      case CaseKind::kWritable:
        descriptors_ |= c.fd >= 0;
        others_ |= c.fd >= 0;
        break;
      case CaseKind::kAt:
        ends_ = std::min(ends_, c.when);
        break;
      case CaseKind::kDone:
        if (c.object == nullptr) break;
        others_ = true;
        ends_ = std::min(ends_, context_of(c)->deadline());
        break;
      default:
        return -EINVAL;
    }
  }
  n_places_ = n_places;
  *candidates = may;
  return 0;
}

// Does the case, if it is still ready. `locked`: the channels are, and stay so; who is to be woken then is left in wake_.
inline bool Selection::attempt(Case& c, bool locked) {
  Channel* const channel = channel_of(c);
  if (channel == nullptr) return true;  // others do not become unready between the look and here
  if (!locked) channel->lock().lock_first();
  const Channel::Outcome outcome =
      c.kind == CaseKind::kSend ? channel->try_send(c.data, &wake_) : channel->try_receive(c.data, &wake_);
  if (!locked) {
    channel->lock().release();
    if (wake_ != nullptr) ready_in_critical(wake_->g, wake_->result);
    leave_critical_last();
  }
  c.closed = outcome == Channel::Outcome::kClosed;
  return outcome != Channel::Outcome::kWouldWait;
}

// Tries those of at most kBlock cases that may be ready, in random order; each is as likely as any other to be the first.
inline int Selection::try_block(size_t from, bool locked) {
  const size_t n = std::min(n_ - from, kBlock);
  uint64_t candidates = 0;
  for (size_t i = 0; i < n; ++i) {
    // With the locks held only channels are looked at: the others were just now, and will be again when they are armed.
    if (locked && channel_of(cases_[from + i]) == nullptr) continue;
    candidates |= uint64_t{may_be_ready(cases_[from + i])} << i;
  }
  return try_candidates(from, candidates, locked);
}

inline int Selection::try_candidates(size_t from, uint64_t candidates, bool locked) {
  while (candidates != 0) {
    uint64_t rest = candidates;
    if ((candidates & (candidates - 1)) != 0) {
      rest = keep_from_random(candidates);
    }
    const size_t i = from + static_cast<size_t>(std::countr_zero(rest));
    if (attempt(cases_[i], locked)) return static_cast<int>(i);
    candidates &= ~(rest & -rest);
  }
  return kNone;
}

inline int Selection::try_all(bool locked) {
  if (TRI_LIKELY(n_ <= kBlock)) return try_block(0, locked);
  const size_t blocks = ceil_div(n_, kBlock);
  const size_t first = random_below(static_cast<uint32_t>(blocks));
  for (size_t k = 0; k < blocks; ++k) {
    const int i = try_block((first + k) % blocks * kBlock, locked);
    if (i != kNone) return i;
  }
  return kNone;
}

bool Selection::make_room() {
  if (TRI_LIKELY(n_ <= kOnStack)) {
    places_ = reinterpret_cast<Place*>(places_here_);
    waiters_ = reinterpret_cast<Waiter*>(waiters_here_);
    contexts_ = reinterpret_cast<ContextWait*>(contexts_here_);
    return true;
  }
  memory_ = allocate(n_ * (sizeof(Place) + sizeof(Waiter) + sizeof(ContextWait)));
  if (memory_ == nullptr) return false;
  places_ = static_cast<Place*>(memory_);
  waiters_ = reinterpret_cast<Waiter*>(places_ + n_);
  contexts_ = reinterpret_cast<ContextWait*>(waiters_ + n_);
  return true;
}

inline void Selection::collect_places() {
  Place* to = places_;
  const Channel* last = nullptr;
  bool in_order = true;
  for (size_t i = 0; i < n_; ++i) {
    Channel* const channel = channel_of(cases_[i]);
    if (TRI_UNLIKELY(channel == nullptr)) continue;
    ::new (to++) Place{channel, static_cast<uint32_t>(i), cases_[i].kind == CaseKind::kSend};
    in_order &= last <= channel;
    last = channel;
  }
  if (TRI_LIKELY(in_order)) return;  // channels made one after the other mostly are
  std::sort(places_, places_ + n_places_, [](const Place& a, const Place& b) { return a.channel < b.channel; });
}

// Locks each channel once, in one critical section for all of them. True if one of the cases may be done: what a channel was under
// its lock, it still is when the last is locked.
inline bool Selection::lock_and_look() {
  enter_critical_first();
  const Channel* last = nullptr;
  bool may = false;
  for (const Place *place = places_, *end = place + n_places_; place != end; ++place) {
    Channel* const channel = place->channel;
    if (TRI_LIKELY(channel != last)) channel->lock().take();
    last = channel;
    may |= may_pass(channel, place->sends);
  }
  return may;
}

inline void Selection::unlock_beyond_first() {
  for (size_t k = n_places_; k > 1; --k) {
    Channel* const channel = places_[k - 1].channel;
    if (TRI_LIKELY(channel != places_[k - 2].channel)) channel->lock().release();
  }
}

int Selection::run(Time deadline) {
  uint64_t candidates = 0;
  if (const int error = survey(&candidates); TRI_UNLIKELY(error != 0)) return error;
  int i = kNone;
  if (TRI_UNLIKELY(n_ > kBlock)) {
    i = try_all(false);
  } else if (candidates != 0) {
    i = try_candidates(0, candidates, false);
  }
  if (TRI_LIKELY(i != kNone)) return i;
  if (TRI_UNLIKELY(failure_ != 0)) return failure_;
  // Of one channel, or none, the look that found it not ready was at one moment.
  if (deadline <= kNoWait && n_places_ <= 1) return -EAGAIN;
  if (!make_room()) return -ENOMEM;
  return wait(deadline);
}

int Selection::wait(Time deadline) {
  collect_places();
  int i = TRI_UNLIKELY(lock_and_look()) ? try_all(true) : kNone;
  SpinLock* const first = n_places_ != 0 ? &places_[0].channel->lock() : nullptr;
  if (i != kNone || deadline <= kNoWait || (g_ = current_inline()) == nullptr) {
    unlock_beyond_first();
    if (first != nullptr) first->release();
    leave_critical_last();
    if (wake_ != nullptr) ready(wake_->g, wake_->result);
    return i != kNone ? i : deadline <= kNoWait ? -EAGAIN : -ENOMEM;
  }
  id_ = begin_wait_inline(g_);
  enqueue();
  // From here on we may be woken; park() then returns at once. The last lock is given up by park(), so that whoever wakes us by it
  // finds us parked; descriptors and contexts are armed without one.
  unlock_beyond_first();
  SpinLock* last = first;
  if (TRI_UNLIKELY(others_) && first != nullptr) {
    first->release();
    last = nullptr;
  }
  if (last == nullptr) leave_critical_last();
  i = others_ ? arm() : kNone;
  int result;
  if (i == kNone) {
    const bool on_nothing = n_places_ == 0 && !others_ && ends_ == kForever;
    result = park(on_nothing     ? WaitReason::kNilChannel
                  : descriptors_ ? WaitReason::kSelectDescriptor
                                 : WaitReason::kSelect,
                  last, std::min(deadline, ends_));
  } else if (claim(g_, id_)) {
    result = i >= 0 ? i << kCaseShift : i;
  } else {
    // Somebody was faster than the case that needs no waiting, and is on the way.
    result = park(WaitReason::kSelect, nullptr, kForever);
  }
  const size_t winner = result >= 0 ? static_cast<size_t>(result >> kCaseShift) : n_;
  // Whoever took our Waiter out to wake us was done with it before; the others are still in, or have just been dropped.
  leave_all(winner);
  if (result == -ETIMEDOUT) return after_deadline();
  if (result < 0) return result;
  Case& c = cases_[winner];
  c.closed = (result & kWokenClosed) != 0;
  if (c.closed && c.kind == CaseKind::kReceive) channel_of(c)->zero_element(c.data);
  return static_cast<int>(winner);
}

inline void Selection::enqueue() {
  G* const g = g_;
  const WaitId id = id_;
  const Case* const cases = cases_;
  Waiter* w = waiters_;
  for (const Place *place = places_, *end = place + n_places_; place != end; ++place, ++w) {
    ::new (w) Waiter(g, id);
    w->elem = cases[place->i].data;
    w->result = static_cast<int>(place->i << kCaseShift);
    place->queue().push_back(w);
  }
}

// Registers descriptors and contexts. kNone; or the case that turns out to be ready, or a negative errno.
int Selection::arm() {
  // All of them first: leave_all() looks at those too that are not reached here.
  for (size_t i = 0; i < n_; ++i) {
    ::new (&contexts_[i]) ContextWait{nullptr, nullptr, g_, id_, static_cast<int>(i << kCaseShift)};
  }
  for (size_t i = 0; i < n_; ++i) {
    Case& c = cases_[i];
    const int woken_with = static_cast<int>(i << kCaseShift);
    if (is_descriptor(c)) {
      const int result = netpoll_arm(c.fd, is_write(c), g_, id_, woken_with);
      if (result != 0) return result > 0 ? static_cast<int>(i) : result;
    } else if (Context* const context = context_of(c)) {
      if (!context->enter(&contexts_[i])) return static_cast<int>(i);
    }
  }
  return kNone;
}

// Not inlined: see leave_queue().
[[gnu::noinline]] void Selection::leave_all(size_t winner) {
  enter_critical_first();
  Waiter* w = waiters_;
  for (const Place *place = places_, *end = place + n_places_; place != end; ++place, ++w) {
    if (place->i == winner) continue;
    SpinLock& lock = place->channel->lock();
    lock.take();
    if (TRI_LIKELY(w->queued())) place->queue().remove(w);
    lock.release();
  }
  leave_critical_last();
  if (!others_) return;
  for (size_t i = 0; i < n_; ++i) {
    const Case& c = cases_[i];
    if (Context* const context = context_of(c)) {
      context->leave(&contexts_[i]);
    } else if (is_descriptor(c)) {
      netpoll_disarm(c.fd, is_write(c), g_, id_);
    }
  }
}

// The wait ended by time: that of the call, of its context, or of a case?
int Selection::after_deadline() {
  now_ = now();
  for (size_t i = 0; i < n_; ++i) {
    const Case& c = cases_[i];
    if (c.kind == CaseKind::kAt && c.when <= now_) return static_cast<int>(i);
    if (context_of(c) != nullptr && context_of(c)->deadline() <= now_) return static_cast<int>(i);
  }
  return -ETIMEDOUT;
}

}  // namespace

int select(Case* cases, size_t n, Time deadline) {
  if (TRI_UNLIKELY(n > kMostCases)) return -EINVAL;
  return Selection(cases, n).run(deadline);
}

}  // namespace tri::sched
