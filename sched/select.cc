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

/// How a case waits.
struct Registration {
  Waiter waiter;
  ContextWait context;
};

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
  void collect_channels();
  void lock_channels();
  void unlock_channels();
  int wait(Time deadline);
  void enqueue();
  int arm();
  void leave_all(size_t winner);
  int after_deadline();

  Case* const cases_;
  const size_t n_;
  size_t channels_ = 0;  // cases on channels, then channels
  bool others_ = false;  // descriptors and contexts
  bool descriptors_ = false;
  Time ends_ = kForever;    // the earliest moment at which a case becomes ready by itself
  Time now_ = 0;            // 0: not asked yet
  int failure_ = 0;         // of a descriptor
  Waiter* wake_ = nullptr;  // a partner to be readied after the unlock
  G* g_ = nullptr;
  WaitId id_ = 0;
  Registration* registrations_ = nullptr;
  Channel** sorted_ = nullptr;
  void* memory_ = nullptr;
  Channel* sorted_here_[kOnStack];
  alignas(Registration) char registrations_here_[kOnStack * sizeof(Registration)];
};

// Without locks, so no more than a hint where channels are concerned.
inline bool Selection::may_be_ready(const Case& c) {
  switch (c.kind) {
    case CaseKind::kSend:
      return c.object != nullptr && channel_of(c)->may_send();
    case CaseKind::kReceive:
      return c.object != nullptr && channel_of(c)->may_receive();
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
  for (size_t i = 0; i < n_; ++i) {
    Case& c = cases_[i];
    c.closed = false;
    if (Channel* const channel = channel_of(c); TRI_LIKELY(channel != nullptr)) {
      ++channels_;
      const bool may = c.kind == CaseKind::kSend ? channel->may_send() : channel->may_receive();
      if (TRI_LIKELY(i < kBlock)) *candidates |= uint64_t{may} << i;
      continue;
    }
    if (TRI_LIKELY(i < kBlock)) *candidates |= uint64_t{may_be_ready(c)} << i;
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

// One of the bits, each as likely as any other, and those above it.
inline uint64_t keep_from_random(uint64_t bits) {
  // All cases ready is what a busy program sees, and needs no loop, whose end the processor cannot foretell.
  if ((bits & (bits + 1)) == 0)
    return bits & (~uint64_t{0} << random_below(static_cast<uint32_t>(std::countr_one(bits))));
  // Counted by hand: there are few, and the instruction is not on every processor.
  uint32_t count = 0;
  for (uint64_t b = bits; b != 0; b &= b - 1) ++count;
  for (uint32_t skip = random_below(count); skip != 0; --skip) bits &= bits - 1;
  return bits;
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
    registrations_ = reinterpret_cast<Registration*>(registrations_here_);
    sorted_ = sorted_here_;
    return true;
  }
  memory_ = allocate(n_ * (sizeof(Registration) + sizeof(Channel*)));
  if (memory_ == nullptr) return false;
  registrations_ = static_cast<Registration*>(memory_);
  sorted_ = reinterpret_cast<Channel**>(registrations_ + n_);
  return true;
}

// Each channel once, by address: the order in which all selects lock.
void Selection::collect_channels() {
  channels_ = 0;
  bool in_order = true;
  for (size_t i = 0; i < n_; ++i) {
    Channel* const c = channel_of(cases_[i]);
    if (c == nullptr) continue;
    in_order = in_order && (channels_ == 0 || sorted_[channels_ - 1] < c);
    sorted_[channels_++] = c;
  }
  if (in_order) return;  // channels made one after the other mostly are
  std::sort(sorted_, sorted_ + channels_);
  channels_ = static_cast<size_t>(std::unique(sorted_, sorted_ + channels_) - sorted_);
}

// One critical section for all of them.
void Selection::lock_channels() {
  enter_critical_first();
  for (size_t i = 0; i < channels_; ++i) sorted_[i]->lock().take();
}

void Selection::unlock_channels() {
  for (size_t i = channels_; i-- != 0;) sorted_[i]->lock().release();
  leave_critical_last();
}

int Selection::run(Time deadline) {
  uint64_t candidates = 0;
  if (const int error = survey(&candidates); TRI_UNLIKELY(error != 0)) return error;
  const int i = TRI_LIKELY(n_ <= kBlock) ? try_candidates(0, candidates, false) : try_all(false);
  if (TRI_LIKELY(i != kNone)) return i;
  if (TRI_UNLIKELY(failure_ != 0)) return failure_;
  // Of one channel, or none, the look that found it not ready was at one moment.
  if (deadline <= kNoWait && channels_ <= 1) return -EAGAIN;
  if (!make_room()) return -ENOMEM;
  return wait(deadline);
}

int Selection::wait(Time deadline) {
  collect_channels();
  lock_channels();
  int i = try_all(true);
  if (i != kNone || deadline <= kNoWait || (g_ = current_inline()) == nullptr) {
    unlock_channels();
    if (wake_ != nullptr) ready(wake_->g, wake_->result);
    return i != kNone ? i : deadline <= kNoWait ? -EAGAIN : -ENOMEM;
  }
  id_ = begin_wait_inline(g_);
  enqueue();
  // From here on we may be woken; park() then returns at once. The last lock is given up by park(), so that whoever wakes us by it
  // finds us parked; descriptors and contexts are armed without one.
  SpinLock* const last = !others_ && channels_ != 0 ? &sorted_[0]->lock() : nullptr;
  for (size_t k = channels_; k-- != (last != nullptr ? 1 : 0);) sorted_[k]->lock().release();
  if (last == nullptr) leave_critical_last();
  i = others_ ? arm() : kNone;
  int result;
  if (i == kNone) {
    const bool on_nothing = channels_ == 0 && !others_ && ends_ == kForever;
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

void Selection::enqueue() {
  for (size_t i = 0; i < n_; ++i) {
    Channel* const channel = channel_of(cases_[i]);
    if (channel == nullptr) {
      ContextWait* const w = ::new (&registrations_[i].context) ContextWait;
      w->g = g_;
      w->id = id_;
      w->result = static_cast<int>(i << kCaseShift);
      continue;
    }
    Waiter* const w = ::new (&registrations_[i].waiter) Waiter(g_, id_);
    w->elem = cases_[i].data;
    w->result = static_cast<int>(i << kCaseShift);
    (cases_[i].kind == CaseKind::kSend ? channel->senders() : channel->receivers()).push_back(w);
  }
}

// Registers descriptors and contexts. kNone; or the case that turns out to be ready, or a negative errno.
int Selection::arm() {
  for (size_t i = 0; i < n_; ++i) {
    Case& c = cases_[i];
    const int woken_with = static_cast<int>(i << kCaseShift);
    if (is_descriptor(c)) {
      const int result = netpoll_arm(c.fd, is_write(c), g_, id_, woken_with);
      if (result != 0) return result > 0 ? static_cast<int>(i) : result;
    } else if (Context* const context = context_of(c)) {
      if (!context->enter(&registrations_[i].context)) return static_cast<int>(i);
    }
  }
  return kNone;
}

// Not inlined: see leave_queue().
[[gnu::noinline]] void Selection::leave_all(size_t winner) {
  enter_critical_first();
  for (size_t i = 0; i < n_; ++i) {
    Channel* const channel = channel_of(cases_[i]);
    if (channel == nullptr || i == winner) continue;
    Waiter& w = registrations_[i].waiter;
    channel->lock().take();
    if (w.queued()) (cases_[i].kind == CaseKind::kSend ? channel->senders() : channel->receivers()).remove(&w);
    channel->lock().release();
  }
  leave_critical_last();
  if (!others_) return;
  for (size_t i = 0; i < n_; ++i) {
    const Case& c = cases_[i];
    if (Context* const context = context_of(c)) {
      context->leave(&registrations_[i].context);
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
