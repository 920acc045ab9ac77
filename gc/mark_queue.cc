// mark_queue.cc - See mark_queue.h.
#include "gc/mark_queue.h"

#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "gc/own_map.h"
#include "tri_arch.h"

namespace tri::gc {
namespace {

// About 10 us: as long as a futex takes to wake somebody.
constexpr int kSpins = 300;

}  // namespace

MarkQueue::~MarkQueue() {
  TRI_ASSERT(head_ == nullptr);
  while (slabs_ != nullptr) {
    Slab* const next = slabs_->next;
    unmap_own(slabs_, kSlabBytes);
    slabs_ = next;
  }
}

MarkChunk* MarkQueue::pop() {
  MarkChunk* const c = head_;
  if (c == nullptr) return nullptr;
  head_ = c->next;
  head_hint_.store(head_, std::memory_order_relaxed);
  c->next = nullptr;
  return c;
}

bool MarkQueue::try_take(MarkChunk** out) {
  LockGuard guard(lock_);
  *out = pop();
  return *out != nullptr;
}

MarkQueue::Next MarkQueue::take(MarkChunk** out) {
  lock_.lock();
  if ((*out = pop()) != nullptr) {
    lock_.unlock();
    return Next::kChunk;
  }
  const uint32_t drain = drains_;
  // Who waits has put all that it had. So when all do, nothing is left but what was lost, and none but the last may look for it.
  if (waiting_.load(std::memory_order_relaxed) + 1 == markers()) {
    const bool search = lost_.load(std::memory_order_relaxed);
    lost_.store(false, std::memory_order_relaxed);
    if (search) {
      ++searches_;
    } else {
      ++drains_;
      waiting_.store(0, std::memory_order_relaxed);
    }
    // relaxed: who waits looks under the lock. Nobody can have begun to wait for the new value.
    changed_.fetch_add(1, std::memory_order_relaxed);
    lock_.unlock();
    if (!search && markers() > 1) sys::futex_wake(&changed_, INT32_MAX);
    return search ? Next::kSearch : Next::kOver;
  }
  waiting_.fetch_add(1, std::memory_order_relaxed);
  for (;;) {
    const uint32_t seen = changed_.load(std::memory_order_relaxed);
    lock_.unlock();
    for (int i = 0; i < kSpins && changed_.load(std::memory_order_relaxed) == seen; ++i) arch::spin_hint();
    sys::futex_wait(&changed_, seen, -1);
    lock_.lock();
    if (drains_ != drain) break;
    if ((*out = pop()) != nullptr) {
      waiting_.fetch_sub(1, std::memory_order_relaxed);
      lock_.unlock();
      return Next::kChunk;
    }
  }
  lock_.unlock();
  return Next::kOver;
}

void MarkQueue::put(MarkChunk* c) {
  uint32_t waiting;
  {
    LockGuard guard(lock_);
    c->next = nullptr;
    if (head_ == nullptr) {
      head_ = c;
    } else {
      tail_->next = c;
    }
    tail_ = c;
    head_hint_.store(head_, std::memory_order_relaxed);
    waiting = waiting_.load(std::memory_order_relaxed);
    if (waiting != 0) changed_.fetch_add(1, std::memory_order_relaxed);
  }
  if (waiting != 0) sys::futex_wake(&changed_, 1);
}

void MarkQueue::leave(unsigned count) {
  LockGuard guard(lock_);
  TRI_ASSERT(count < markers());
  markers_.store(markers() - count, std::memory_order_relaxed);
}

bool MarkQueue::add_slab() {
  auto* const slab = static_cast<char*>(map_own(kSlabBytes, os::page_size()));
  if (slab == nullptr) return false;
  slabs_ = ::new (slab) Slab{slabs_};
  // The first chunk's place is the slab's own.
  for (size_t at = MarkChunk::kBytes; at < kSlabBytes; at += MarkChunk::kBytes) {
    auto* const c = reinterpret_cast<MarkChunk*>(slab + at);
    c->next = empty_;
    empty_ = c;
  }
  return true;
}

MarkChunk* MarkQueue::get_empty() {
  LockGuard guard(lock_);
  if (empty_ == nullptr && !add_slab()) return nullptr;
  MarkChunk* const c = empty_;
  empty_ = c->next;
  c->begin = c->end = 0;
  return c;
}

void MarkQueue::put_empty(MarkChunk* c) {
  LockGuard guard(lock_);
  c->next = empty_;
  empty_ = c;
}

}  // namespace tri::gc
