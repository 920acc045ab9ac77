// roots.cc - See roots.h.
#include "gc/roots.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "alloc/persistent.h"
#include "gc/own_map.h"
#include "thread_block.h"

namespace tri::gc {
namespace {

// Below the stack pointer of x86-64 a leaf function may keep its variables; elsewhere it costs nothing.
constexpr size_t kRedZone = 128;

constinit OtherRoots other_roots = nullptr;

// ---- registered ranges: records that are never freed, only used again, so that who was stopped in the middle of a change leaves nothing locked.

struct Registered {
  Registered* next;
  std::atomic<uintptr_t> begin;  // 0: free; 1: being filled
  std::atomic<uintptr_t> end;
};
constinit std::atomic<Registered*> registered{nullptr};

}  // namespace

void set_other_roots(OtherRoots others) { other_roots = others; }

int add_root_range(const void* begin, size_t bytes) {
  const auto first = reinterpret_cast<uintptr_t>(begin);
  if (first <= 1 || bytes == 0 || first + bytes < first) return -EINVAL;
  Registered* r = registered.load(std::memory_order_acquire);  // pairs with the release below
  for (; r != nullptr; r = r->next) {
    uintptr_t free = 0;
    if (r->begin.compare_exchange_strong(free, 1, std::memory_order_relaxed)) break;
  }
  if (r == nullptr) {
    void* const memory = persistent::alloc(sizeof(Registered), alignof(Registered));
    if (memory == nullptr) return -ENOMEM;
    r = ::new (memory) Registered{nullptr, {1}, {0}};
    r->next = registered.load(std::memory_order_relaxed);
    while (!registered.compare_exchange_weak(r->next, r, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }
  r->end.store(first + bytes, std::memory_order_relaxed);
  r->begin.store(first, std::memory_order_release);  // the end is there; whoever stops the world sees both
  return 0;
}

int remove_root_range(const void* begin) {
  const auto first = reinterpret_cast<uintptr_t>(begin);
  if (first <= 1) return -EINVAL;
  for (Registered* r = registered.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    uintptr_t expected = first;
    if (r->begin.compare_exchange_strong(expected, 0, std::memory_order_relaxed)) return 0;
  }
  return -EINVAL;
}

// ---- finding ------------------------------------------------------------------------------------------------------

Roots::~Roots() {
  unmap_own_array(excluded_, excluded_room_);
  unmap_own_array(sps_, sp_room_);
}

int Roots::find(uintptr_t own_sp) {
  own_sp_ = own_sp;
  // The map first: what is mapped from here on is not in it.
  if (const int error = map_.read(); error != 0) return error;
  if (const int error = reader_.open(); error != 0) return error;
  if (const int error = collect_excluded(); error != 0) return error;
  return collect_threads();
}

int Roots::collect_excluded() {
  size_t n = 0;
  const auto each = [](auto&& fn) {
    heap.each_range(fn);
    for (const own_memory::Region* r = own_memory::first(); r != nullptr; r = r->next) fn(r->start, r->bytes);
    each_own_map(fn);
  };
  each([&](const char*, size_t) { ++n; });
  excluded_room_ = n + 2;  // this array's own mapping as well
  excluded_ = map_own_array<Range>(excluded_room_);
  if (excluded_ == nullptr) return -ENOMEM;
  each([&](const char* start, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(start);
    if (excluded_count_ < excluded_room_) excluded_[excluded_count_++] = {begin, begin + bytes};
  });
  std::sort(excluded_, excluded_ + excluded_count_, [](const Range& a, const Range& b) { return a.begin < b.begin; });
  return 0;
}

int Roots::collect_threads() {
  sp_room_ = stopped_count() + 1;
  sps_ = map_own_array<StackPointer>(sp_room_);
  if (sps_ == nullptr) return -ENOMEM;
  sps_[sp_count_++] = {own_sp_, reinterpret_cast<uintptr_t>(__builtin_thread_pointer())};
  each_stopped([&](const StoppedThread& t) {
    if (sp_count_ < sp_room_) sps_[sp_count_++] = {t.sp, t.thread_pointer};
  });
  std::sort(sps_, sps_ + sp_count_, [](const StackPointer& a, const StackPointer& b) { return a.sp < b.sp; });
  return 0;
}

uintptr_t Roots::lowest_sp_in(uintptr_t low, uintptr_t high) const {
  const StackPointer* const s =
      std::lower_bound(sps_, sps_ + sp_count_, low, [](const StackPointer& a, uintptr_t p) { return a.sp < p; });
  return s != sps_ + sp_count_ && s->sp < high ? s->sp : 0;
}

const Mapping* Roots::first_behind(uintptr_t p) {
  // Who asks for one part after the other finds most of them in the same mapping.
  if (last_asked_ != nullptr && last_asked_->contains(p)) return last_asked_;
  last_asked_ = std::lower_bound(map_.begin(), map_.end(), p, [](const Mapping& m, uintptr_t q) { return m.end <= q; });
  return last_asked_ == map_.end() ? (last_asked_ = nullptr, map_.end()) : last_asked_;
}

/// Where to begin in a mapping. A mapping is the stack of one thread and nothing else besides what lies above its stack pointer if it is the main
/// thread's; or, as libc makes them, if it begins behind a guard, and ends with the thread's control block. Two stacks may lie side by
/// side in one mapping; then all of it counts.
uintptr_t Roots::dead_until(const Mapping* m) const {
  const uintptr_t sp = lowest_sp_in(m->begin, m->end);
  if (sp == 0 || lowest_sp_in(sp + 1, m->end) != 0) return m->begin;
  const StackPointer* const s =
      std::lower_bound(sps_, sps_ + sp_count_, sp, [](const StackPointer& a, uintptr_t p) { return a.sp < p; });
  if (!m->main_stack) {
    const bool has_guard = m != map_.begin() && m[-1].end == m->begin && !m[-1].accessible;
    if (!has_guard || s->thread_pointer < sp || !m->contains(s->thread_pointer)) return m->begin;
  }
  return sp - m->begin > kRedZone ? sp - kRedZone : m->begin;
}

/// Stacks of threads that have ended are kept by libc for the next ones, with all that stood on them and in their thread-local storage. One is known
/// by a control block at its end that is no thread's. What lies in the control block itself counts all the same: of a thread that is just being made,
/// its argument stands there alone. Not for who frees what is not reached: a stack that the program made itself may be the program's again.
uintptr_t Roots::ended_until(const Mapping* m) const {
  constexpr uintptr_t kBlock = 4096;  // libc's has about 2300 bytes
  constexpr uintptr_t kAlignment = 64;
  const bool has_guard = m != map_.begin() && m[-1].end == m->begin && !m[-1].accessible;
  if (ended_count_ || !has_guard || m->shared || m->main_stack || unstopped_count() != 0) return m->begin;
  for (size_t i = 0; i < sp_count_; ++i) {
    if (m->contains(sps_[i].sp) || m->contains(sps_[i].thread_pointer)) return m->begin;
  }
  for (uintptr_t at = m->end - kAlignment; at > m->begin && m->end - at <= kBlock; at -= kAlignment) {
    ThreadBlock words;
    if (!os::read_memory(words, at, sizeof words)) break;
    if (is_thread_block(words, at)) return at;
  }
  return m->begin;
}

// ---- visiting -----------------------------------------------------------------------------------------------------

/// Calls fn(begin, end) for a mapping without what is excluded.
template <class Fn>
void Roots::each_part_of(const Mapping& m, Fn&& fn) const {
  // The first that ends behind the begin; they do not overlap.
  uintptr_t at = m.begin;
  const Range* x = std::lower_bound(excluded_, excluded_ + excluded_count_, at,
                                    [](const Range& r, uintptr_t p) { return r.end <= p; });
  for (; at < m.end; ++x) {
    const bool any = x != excluded_ + excluded_count_ && x->begin < m.end;
    const uintptr_t until = any ? x->begin : m.end;
    if (at < until) fn(at, until);
    if (!any) return;
    at = x->end;
  }
}

void Roots::each_part(const PartVisitor& visitor) const {
  for (const Mapping* m = map_.begin(); m != map_.end(); ++m) {
    if (!m->readable) continue;
    const uintptr_t live = dead_until(m);
    each_part_of(*m, [&](uintptr_t begin, uintptr_t end) {
      visitor.fn(visitor.arg, {*m, begin, end, live < begin ? begin : live < end ? live : end});
    });
  }
}

void Roots::each_written(const Mapping& m, uintptr_t begin, uintptr_t end, const RootVisitor& visitor) {
  reader_.each_written(m, begin, end, [&](const char* from, const char* to) { visitor.visit(from, to); });
}

void Roots::visit_threads(const RootVisitor& visitor) const {
  each_stopped([&](const StoppedThread& t) {
    visitor.visit(t.registers, t.registers_end);
    // Stacks may be blocks that nothing but the kernel knows of.
    const uintptr_t stacks[] = {t.sp, reinterpret_cast<uintptr_t>(t.registers->uc_stack.ss_sp)};
    visitor.visit(stacks, stacks + 2);
  });
  stack_t own = {};
  sigaltstack(nullptr, &own);
  const uintptr_t stacks[] = {own_sp_, reinterpret_cast<uintptr_t>(own.ss_sp)};
  visitor.visit(stacks, stacks + 2);
}

void Roots::visit_registered(const RootVisitor& visitor) const {
  for (const Registered* r = registered.load(std::memory_order_acquire); r != nullptr; r = r->next) {
    const uintptr_t begin = r->begin.load(std::memory_order_acquire);
    if (begin > 1)
      visitor.visit(reinterpret_cast<void*>(begin), reinterpret_cast<void*>(r->end.load(std::memory_order_relaxed)));
  }
}

void Roots::each(const RootVisitor& visitor) {
  visit_threads(visitor);
  for (const Mapping* m = map_.begin(); m != map_.end(); ++m) {
    if (!m->readable) continue;
    const uintptr_t live = std::max(dead_until(m), ended_until(m));
    each_part_of(*m, [&](uintptr_t begin, uintptr_t end) {
      if (live < end) each_written(*m, begin < live ? live : begin, end, visitor);
    });
  }
  visit_registered(visitor);
  each_other(visitor);
}

void Roots::each_other(const RootVisitor& visitor) const {
  if (other_roots != nullptr) other_roots(*this, visitor);
}

}  // namespace tri::gc
