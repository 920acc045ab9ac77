// select.cc - See select.h.
#include "sched/select.h"

#include <poll.h>
#include <sys/syscall.h>

#include <cerrno>
#include <new>

#include "alloc/base/bits.h"
#include "alloc/malloc.h"
#include "sched/netpoll.h"
#include "sched/random.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

// Select statements have a handful of cases; more than these are looked at in blocks, from a random one on.
constexpr size_t kBlock = 64;
// Up to here everything stands on the stack: 16 * (72 + 24 + 8) bytes.
constexpr size_t kOnStack = 16;

constexpr int kNotReady = -1;

bool is_channel(const Case& c) {
  return (c.kind == CaseKind::kSend || c.kind == CaseKind::kReceive) && c.object != nullptr;
}
bool is_descriptor(const Case& c) {
  return (c.kind == CaseKind::kReadable || c.kind == CaseKind::kWritable) && c.fd >= 0;
}
bool is_context(const Case& c) { return c.kind == CaseKind::kDone && c.object != nullptr; }
Channel* channel_of(const Case& c) { return static_cast<Channel*>(c.object); }
Context* context_of(const Case& c) { return static_cast<Context*>(c.object); }

int result_of(size_t i) { return static_cast<int>(i << kCaseShift); }

/// What a pass over the cases found out about them as a whole.
struct Kinds {
  bool channels = false;
  bool descriptors = false;
  bool others = false;  // contexts, moments
};

/// What is to be said of the wait, for the time of which it lives.
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
  [[nodiscard]] int look();
  int try_ready(bool locked, bool channels_only);
  bool may_be_ready(const Case& c) const;
  bool attempt(size_t i, bool locked);
  int poll_descriptors();
  bool make_room();
  void sort_channels();
  void lock_all();
  void unlock_all();
  int wait(Time deadline);
  int arm_others();
  bool arm(size_t i, int* failure);
  void leave_all(int winner);
  void leave(size_t i);

  Case* const cases_;
  const size_t n_;
  Kinds kinds_;
  uint64_t ready_fds_ = 0;  // of the first kBlock cases: what poll() said
  Time earliest_ = kForever;
  bool has_earliest_ = false;

  G* g_ = nullptr;
  WaitId id_ = 0;
  size_t channels_ = 0;
  size_t armed_ = 0;  // cases before this index are registered, contexts and descriptors too
  Channel** sorted_ = nullptr;
  Registration* registrations_ = nullptr;
  void* memory_ = nullptr;
  Waiter* wake_ = nullptr;
  Channel* on_stack_sorted_[kOnStack];
  alignas(Registration) char on_stack_[kOnStack * sizeof(Registration)];
};

}  // namespace
}  // namespace tri::sched
