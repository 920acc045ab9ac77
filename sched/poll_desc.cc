// poll_desc.cc - See poll_desc.h.
#include "sched/poll_desc.h"

#include <errno.h>

#include "alloc/base/check.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "sched/g.h"

namespace tri::sched {
namespace {

// 8 Mi descriptors, eight times the kernel's own default bound (fs.nr_open). A chunk is 128 KiB of address space, of which only
// the pages of descriptors in use are ever touched; the table itself is 64 KiB of bss, likewise.
constexpr size_t kChunkDescs = 1024;
constexpr size_t kChunks = 8192;

constinit std::atomic<PollDesc*> chunks[kChunks] = {};

}  // namespace

void ClaimedList::append(G* g, int result) {
  g->result = result;
  g->next_claimed = nullptr;
  (first == nullptr ? first : last->next_claimed) = g;
  last = g;
}

namespace {

PollWaiter* join(PollWaiter* a, PollWaiter* b) {
  if (a == nullptr) return b;
  PollWaiter* end = a;
  while (end->next != nullptr) end = end->next;
  end->next = b;
  return a;
}

}  // namespace

void free_poll_waiters(PollWaiter* w) {
  while (w != nullptr) {
    PollWaiter* const next = w->next;
    deallocate(w);
    w = next;
  }
}

// ---- a side's queue -------------------------------------------------------------------------------------------

void PollDesc::push_locked(bool write, PollWaiter* w, G* g, WaitId id, int result) {
  w->g = g;
  w->id = id;
  w->result = result;
  w->next = sides_[write].first_;
  sides_[write].first_ = w;
}

// Empties the queue: claims each waiter, with the given result or its own. An entry on a stack is not touched after this, since its
// owner may return as soon as it has been made ready.
PollWaiter* PollDesc::take_all_locked(bool write, const int* result, ClaimedList* out) {
  PollWaiter* oldest = nullptr;
  for (PollWaiter* w = sides_[write].first_; w != nullptr;) {
    PollWaiter* const next = w->next;
    w->next = oldest;
    oldest = w;
    w = next;
  }
  sides_[write].first_ = nullptr;
  PollWaiter* to_free = nullptr;
  for (PollWaiter* w = oldest; w != nullptr;) {
    PollWaiter* const next = w->next;
    G* const g = w->g;
    const WaitId id = w->id;
    const int value = result != nullptr ? *result : w->result;
    w->g = nullptr;
    if (w->allocated) {
      w->next = to_free;
      to_free = w;
    }
    if (claim(g, id)) out->append(g, value);
    w = next;
  }
  return to_free;
}

PollWaiter* PollDesc::remove_locked(bool write, const G* g, WaitId id) {
  for (PollWaiter** link = &sides_[write].first_; *link != nullptr; link = &(*link)->next) {
    PollWaiter* const w = *link;
    if (w->g != g || w->id != id) continue;
    *link = w->next;
    w->g = nullptr;
    w->next = nullptr;
    return w->allocated ? w : nullptr;
  }
  return nullptr;
}

PollWaiter* PollDesc::remove(bool write, const G* g, WaitId id) {
  SpinGuard guard(lock_);
  return remove_locked(write, g, id);
}

// The edge count wraps within its half of the word. That a waiter sleeps through exactly 2^32 edges between its look and its lock is not
// provided for.
void PollDesc::bump_locked(bool write) {
  std::atomic<Stamp>& stamp = sides_[write].stamp_;
  const Stamp old = stamp.load(std::memory_order_relaxed);
  // release: pairs with the acquire in stamp().
  stamp.store((old & ~Stamp{UINT32_MAX}) | static_cast<uint32_t>(old + 1), std::memory_order_release);
}

// ---- waiting --------------------------------------------------------------------------------------------------

int PollDesc::wait_locked(bool write, Stamp stamp, G* g, Time deadline) {
  TRI_ASSERT(lock_.is_locked());
  const Stamp now_there = sides_[write].stamp_.load(std::memory_order_relaxed);
  if (TRI_UNLIKELY(now_there != stamp)) {
    lock_.unlock();
    return stamp_generation(now_there) == stamp_generation(stamp) ? 0 : -EBADF;
  }
  if (TRI_UNLIKELY(own_[write].g != nullptr)) return wait_in_crowd_locked(write, g, deadline);
  last_waiter_.store(g, std::memory_order_relaxed);
  push_locked(write, &own_[write], g, begin_wait(g), 0);
  const int result = park(write ? WaitReason::kWrite : WaitReason::kRead, &lock_, deadline);
  // An edge, or closing, took the entry out of the queue; a deadline and a cancellation did not.
  if (TRI_UNLIKELY(result != 0)) return give_up(write, g, result);
  return 0;
}

// The record's own entry is taken: another one, on this stack. A function of its own, so that this costs the others no stack.
int PollDesc::wait_in_crowd_locked(bool write, G* g, Time deadline) {
  PollWaiter on_stack;
  push_locked(write, &on_stack, g, begin_wait(g), 0);
  const int result = park(write ? WaitReason::kWrite : WaitReason::kRead, &lock_, deadline);
  return result == 0 ? 0 : give_up(write, g, result);
}

int PollDesc::give_up(bool write, G* g, int result) {
  SpinGuard guard(lock_);
  (void)remove_locked(write, g, g->wait.load(std::memory_order_relaxed) & ~uint64_t{1});
  return result;
}

int PollDesc::wait_both_locked(Stamp read, Stamp write, G* g, Time deadline) {
  TRI_ASSERT(lock_.is_locked());
  const Stamp seen[2] = {read, write};
  for (int i = 0; i < 2; ++i) {
    const Stamp now_there = sides_[i].stamp_.load(std::memory_order_relaxed);
    if (now_there == seen[i]) continue;
    lock_.unlock();
    return stamp_generation(now_there) == stamp_generation(seen[i]) ? 0 : -EBADF;
  }
  const WaitId id = begin_wait(g);
  PollWaiter on_stack[2];
  for (int i = 0; i < 2; ++i) push_locked(i != 0, own_[i].g == nullptr ? &own_[i] : &on_stack[i], g, id, 0);
  const int result = park(WaitReason::kRead, &lock_, deadline);
  SpinGuard guard(lock_);
  for (int i = 0; i < 2; ++i) (void)remove_locked(i != 0, g, id);
  return result;
}

int PollDesc::arm_locked(bool write, Stamp stamp, G* g, WaitId id, int result, PollWaiter** spare) {
  TRI_ASSERT(lock_.is_locked());
  const Stamp current_stamp = sides_[write].stamp_.load(std::memory_order_relaxed);
  if (stamp_generation(current_stamp) != stamp_generation(stamp)) return -EBADF;
  if (current_stamp != stamp) return 1;
  PollWaiter* w = &own_[write];
  if (w->g != nullptr) {
    w = *spare;
    if (w == nullptr) return -ENOMEM;
    *spare = nullptr;
  }
  push_locked(write, w, g, id, result);
  return 0;
}

// ---- waking ---------------------------------------------------------------------------------------------------

PollWaiter* PollDesc::on_event(uint32_t generation, uint32_t events, ClaimedList* out) {
  SpinGuard guard(lock_);
  if (TRI_UNLIKELY(generation != this->generation())) return nullptr;  // of a descriptor that had this number before
  if ((events & kHangUp) != 0) hung_up_.store(true, std::memory_order_relaxed);
  PollWaiter* to_free = nullptr;
  if ((events & kReadable) != 0) {
    bump_locked(false);
    if (sides_[0].first_ != nullptr) to_free = take_all_locked(false, nullptr, out);
  }
  if ((events & kWritable) != 0) {
    bump_locked(true);
    if (sides_[1].first_ != nullptr) to_free = join(to_free, take_all_locked(true, nullptr, out));
  }
  return to_free;
}

PollWaiter* PollDesc::renew_locked(FdKind kind, bool ours, bool tcp, ClaimedList* out) {
  TRI_ASSERT(lock_.is_locked());
  const Stamp fresh = Stamp{generation() + 1U} << 32;
  for (PollSide& s : sides_) s.stamp_.store(fresh, std::memory_order_release);
  hung_up_.store(false, std::memory_order_relaxed);
  tcp_.store(tcp, std::memory_order_relaxed);
  drained_.store(kNever, std::memory_order_relaxed);
  ours_ = ours;
  for (bool& r : registered_) r = false;
  set_kind_locked(kind);
  static constexpr int kClosed = -EBADF;
  PollWaiter* const readers = take_all_locked(false, &kClosed, out);
  return join(readers, take_all_locked(true, &kClosed, out));
}

void PollDesc::reset_after_fork() {
  lock_.reset_after_fork();
  for (PollSide& s : sides_) s.first_ = nullptr;  // allocated entries are lost: their owners do not exist here
  for (PollWaiter& w : own_) w = PollWaiter{};
  for (bool& r : registered_) r = false;
  hung_up_.store(false, std::memory_order_relaxed);
  drained_.store(kNever, std::memory_order_relaxed);
  if (kind() == FdKind::kClosing) set_kind_locked(FdKind::kUnknown);
}

void PollDesc::verify() {
  SpinGuard guard(lock_);
  TRI_CHECK(stamp_generation(sides_[0].stamp_.load(std::memory_order_relaxed)) ==
            stamp_generation(sides_[1].stamp_.load(std::memory_order_relaxed)));
  for (int i = 0; i < 2; ++i) {
    bool own_found = false;
    for (const PollWaiter* w = sides_[i].first_; w != nullptr; w = w->next) {
      TRI_CHECK(w->g != nullptr);
      own_found |= w == &own_[i];
    }
    // The record's own entry is taken exactly while it is in the queue.
    TRI_CHECK(own_found == (own_[i].g != nullptr));
  }
  const bool unused = kind() == FdKind::kUnknown || kind() == FdKind::kClosing;
  for (const bool r : registered_) TRI_CHECK(!r || !unused);
}

// ---- the table ------------------------------------------------------------------------------------------------

PollDesc* find_poll_desc(int fd) {
  const auto n = static_cast<size_t>(static_cast<unsigned>(fd));
  if (TRI_UNLIKELY(n >= kChunks * kChunkDescs)) return nullptr;
  // acquire: pairs with the release in get_poll_desc().
  PollDesc* const chunk = chunks[n / kChunkDescs].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : chunk + n % kChunkDescs;
}

int get_poll_desc(int fd, PollDesc** out) {
  if (fd < 0) return -EBADF;
  const auto n = static_cast<size_t>(fd);
  if (n >= kChunks * kChunkDescs) return -EMFILE;
  std::atomic<PollDesc*>& slot = chunks[n / kChunkDescs];
  PollDesc* chunk = slot.load(std::memory_order_acquire);
  if (chunk == nullptr) {
    constexpr size_t kBytes = kChunkDescs * sizeof(PollDesc);
    auto* const fresh = static_cast<PollDesc*>(os::map(kBytes, os::page_size()));
    if (fresh == nullptr) return -ENOMEM;
    // release: pairs with the acquire in find_poll_desc(). Zero bytes are an unused record, but for drained_, for which 0 is as good:
    // generation 0 is that of a number's first descriptor, and is left at its first use (see renew_locked).
    if (slot.compare_exchange_strong(chunk, fresh, std::memory_order_release, std::memory_order_acquire)) {
      chunk = fresh;
    } else {
      os::unmap(fresh, kBytes);
    }
  }
  *out = chunk + n % kChunkDescs;
  return 0;
}

namespace {

template <class Fn>
void for_each_desc(Fn fn) {
  for (std::atomic<PollDesc*>& slot : chunks) {
    PollDesc* const chunk = slot.load(std::memory_order_acquire);
    if (chunk == nullptr) continue;
    for (size_t i = 0; i < kChunkDescs; ++i) {
      // A record that was never used has generation 0; it is only read.
      if (chunk[i].generation() != 0 || chunk[i].is_locked()) fn(chunk[i]);
    }
  }
}

}  // namespace

void reset_poll_descs_after_fork() {
  for_each_desc([](PollDesc& d) { d.reset_after_fork(); });
}

bool anybody_waits_for_descriptors() {
  for (std::atomic<PollDesc*>& slot : chunks) {
    PollDesc* const chunk = slot.load(std::memory_order_acquire);
    if (chunk == nullptr) continue;
    for (size_t i = 0; i < kChunkDescs; ++i) {
      PollDesc& d = chunk[i];
      if (d.kind() == FdKind::kUnknown) continue;
      d.lock();
      const bool found = d.has_waiters_locked();
      d.unlock();
      if (found) return true;
    }
  }
  return false;
}

void verify_poll_descs() {
  for_each_desc([](PollDesc& d) { d.verify(); });
}

}  // namespace tri::sched
