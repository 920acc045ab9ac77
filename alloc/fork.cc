// fork.cc - What fork() means for the heap. See thread.h for the three entry points.
//
// Only the forking thread exists in the child. Before fork it takes all locks, so that no shared structure is copied half
// changed. Other threads run on, though, in their own spans, and the kernel copies page by page: in the child, a span of
// theirs may be a mix of moments. So the child trusts of such a span only what it can check - links decode to blocks, each
// block is counted once - and leaves it to mcentral: at worst a few free blocks are lost, never is one handed out twice,
// because the fast paths change the list before they touch the block.
//
// fork() in a signal handler that interrupted the allocator: the locks that this thread holds below are left alone, and the
// others are waited for only briefly, as their holder may be waiting for us. The child may then allocate (from the
// emergency area) until it execs or exits, which is all that POSIX grants it.
#include "alloc/base/sys.h"
#include "alloc/collected.h"
#include "alloc/held.h"
#include "alloc/mcentral.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/sampler.h"
#include "alloc/scavenger.h"
#include "alloc/thread.h"
#include "alloc/thread_list.h"

namespace tri {
namespace {

// Long enough for any holder that is not waiting for this very thread.
constexpr unsigned kPatienceMicroseconds = 2000;

// Written by who holds all locks, and so by one forking thread at a time.
constinit bool was_alone = false;

// As many of the collected heap's locks as it held, or those that is_interrupted() sees: the heap may come into being while others hold the rest.
constinit size_t collected_held = 0;
size_t collected_now() {
  return collected_hooks.count.load(std::memory_order_acquire);
}  // acquire: the locks are known

/// `collected`: the collected heap's locks.
template <class Fn>
void each_lock(size_t collected, Fn&& fn) {
  for (size_t i = 0; i < collected; ++i) {
    auto* const lock = reinterpret_cast<char*>(collected_hooks.locks) + i * collected_hooks.stride;
    fn(kSizeClasses + 6 + i, *reinterpret_cast<Lock*>(lock));
  }
  size_t i = 0;
  fn(i++, thread_list.lock());
  // Else a block might be on its free list in the child, and held as well, since the kernel copies page by page.
  fn(i++, held::lock());
  for (MCentral& central : mcentral) fn(i++, central.lock());
  fn(i++, sampler::lock());
  fn(i++, sites::lock());
  fn(i++, heap.lock());
  fn(i++, persistent::lock());
}

// Of a thread that was interrupted while it was getting its record.
constinit ForkLocks recordless_locks;

ForkLocks& fork_locks(MCache* mine) { return mine == &empty_mcache ? recordless_locks : thread_of(mine)->fork_locks; }

/// True in a signal handler that interrupted this thread's slow path, or whatever else of ours holds a lock.
bool is_interrupted(const MCache* mine) {
  bool holds = mine != &empty_mcache && mine->busy;
  each_lock(collected_now(), [&](size_t, Lock& lock) { holds = holds || lock.held_by_me(); });
  return holds;
}

/// Ends the list that starts at *head at the first link that is none; its last block and its length as a chain.
RemoteChain repair_list(Span* s, uint64_t* head) {
  uint32_t n = 0;
  uint64_t previous = 0;
  for (uint64_t offset = *head; offset != kNil; ++n) {
    const bool is_sound = s->is_block(offset) && offset / s->size <= s->carved && n < s->carved;
    if (!is_sound) {
      if (previous == 0) {
        *head = kNil;
      } else {
        s->store_link(s->block_at(previous), kNil);
      }
      break;
    }
    previous = offset;
    offset = s->load_link(s->block_at(offset));
  }
  return RemoteChain::make(*head, previous, n);
}

/// Takes what is sound of the blocks that other threads freed to a span.
RemoteChain repair_remote(Span* s) {
  uint64_t head = s->remote.exchange({}, std::memory_order_relaxed).head();
  return repair_list(s, &head);
}

/// A span that a thread of the parent owned, or had blocks of on their way to: put in order, for mcentral.
uint32_t repair_span(Span* s) {
  const RemoteChain free_blocks = repair_list(s, &s->free);
  const RemoteChain returned = repair_remote(s);
  if (returned.count != 0) s->splice(returned);
  const uint32_t sum = uint32_t{free_blocks.count} + returned.count;
  // More than there are: the two lists hold a block in common. None of them can be trusted.
  if (sum <= s->carved) return s->carved - sum;
  s->free = kNil;
  return s->carved;
}

void adopt_spans(MCache* mine) {
  // Spans are gathered first, linked by next, because the walk holds the heap's lock.
  Span* orphans = nullptr;
  Span* empty = nullptr;
  heap.each_span([&](Span* s) {
    if (s->is_collected) return;
    if (!s->is_sampled) s->notify_next = nullptr;
    MCache* const owner = s->owner.load(std::memory_order_relaxed);
    if (owner == mine) return;
    if (s->kind != SpanKind::kSmall) {
      if (s->place != SpanPlace::kCached || s->kind == SpanKind::kHuge)
        return;  // huge: kept by the heap, and so by ours
      s->next = empty;
      empty = s;
      return;
    }
    if (owner == nullptr) return;
    const uint32_t in_use = repair_span(s);
    s->next = s->prev = nullptr;
    s->countdown = static_cast<int32_t>(in_use);
    Span*& list = in_use == 0 ? empty : orphans;
    s->next = list;
    list = s;
  });
  while (Span* s = empty) {
    empty = s->next;
    s->next = s->prev = nullptr;
    s->owner_tp.store(0, std::memory_order_relaxed);
    s->owner.store(nullptr, std::memory_order_relaxed);
    heap.free(s);
  }
  while (Span* s = orphans) {
    orphans = s->next;
    s->next = s->prev = nullptr;
    mcentral[s->size_class].put(s, static_cast<uint32_t>(s->countdown));
  }
}

/// What other threads freed to spans of ours or of nobody, and nobody was told of: the stacks are gone.
void collect_remote(MCache* mine) {
  Span* waiting = nullptr;
  heap.each_span([&](Span* s) {
    if (s->kind != SpanKind::kSmall || s->remote.load(std::memory_order_relaxed).count == 0) return;
    s->notify_next = waiting;
    waiting = s;
  });
  if (mine != nullptr) mine->notify.abandon();
  while (Span* s = waiting) {
    waiting = s->notify_next;
    MCache* const owner = s->owner.load(std::memory_order_relaxed);
    if (owner != nullptr && owner != mine) continue;
    const RemoteChain chain = repair_remote(s);
    if (chain.count == 0) continue;
    if (owner == nullptr) {
      TRI_CHECK(mcentral[s->size_class].free_chain(s, chain));
    } else {
      s->splice(chain);
      owner->blocks_returned(s, chain.count);
    }
  }
}

}  // namespace

void lock_allocator() {
  const size_t collected = collected_now();
  each_lock(collected, [](size_t, Lock& lock) { lock.lock(); });
  collected_held = collected;
}

void unlock_allocator() {
  each_lock(collected_held, [](size_t, Lock& lock) { lock.unlock(); });
}

void fork_prepare() {
  MCache* const mine = current_mcache();
  ForkLocks& locks = fork_locks(mine);
  locks.set_interrupted(is_interrupted(mine));
  const size_t collected = collected_now();
  if (locks.interrupted()) {
    locks.clear();
    each_lock(collected, [&](size_t i, Lock& lock) {
      locks.set(i, !lock.held_by_me() && lock.try_lock_for(kPatienceMicroseconds));
    });
    return;
  }
  each_lock(collected, [](size_t, Lock& lock) { lock.lock(); });
  collected_held = collected;
  was_alone = thread_list.count() <= (mine == &empty_mcache ? 0U : 1U);
}

void fork_parent() {
  MCache* const mine = current_mcache();
  const ForkLocks& locks = fork_locks(mine);
  each_lock(locks.interrupted() ? collected_now() : collected_held, [&](size_t i, Lock& lock) {
    if (!locks.interrupted() || locks.test(i)) lock.unlock();
  });
}

void fork_child() {
  MCache* const mine = current_mcache() == &empty_mcache ? nullptr : current_mcache();
  const ForkLocks& locks = fork_locks(current_mcache());
  const uint32_t parent_thread = sys::thread_id();
  sys::forget_thread_id();
  each_lock(locks.interrupted() ? collected_now() : collected_held, [&](size_t i, Lock& lock) {
    if (!locks.interrupted() || locks.test(i)) {
      lock.unlock();
    } else if (!lock.was_held_by(parent_thread)) {
      lock.reset_after_fork();
    }
  });
  scavenger::reset_after_fork();
  if (locks.interrupted() || was_alone) return;
  thread_list.reset_after_fork(mine == nullptr ? nullptr : thread_of(mine));
  if (mine != nullptr) mine->drop_hollow();
  adopt_spans(mine);
  collect_remote(mine);
}

}  // namespace tri
