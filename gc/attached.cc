// attached.cc - See attached.h.
#include "gc/attached.h"

#include <cerrno>

#include "alloc/base/bits.h"
#include "alloc/base/sys.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"
#include "alloc/thread.h"
#include "gc/heap.h"

namespace tri::gc {
namespace {

constexpr size_t kFirstRoom = 256;
// Entries that are settled before others get the lock.
constexpr size_t kBatch = 1024;

uintptr_t inverse_of(const void* p) { return ~reinterpret_cast<uintptr_t>(p); }

// Not by own_map.h: what lies in it is the program's, and a root.
template <class T>
T* map_array(size_t n) {
  return static_cast<T*>(os::map(align_up(n * sizeof(T), os::page_size()), os::page_size()));
}
template <class T>
void unmap_array(T* p, size_t n) {
  if (p != nullptr) os::unmap(p, align_up(n * sizeof(T), os::page_size()));
}

}  // namespace

constinit Attached attached;

// ---- the table (the lock is held) -----------------------------------------------------------------------------------------

template <class Fn2>
void Attached::each_of(const void* block, Fn2&& fn) {
  const uintptr_t inverse = inverse_of(block);
  if (room_ == 0) return;
  for (size_t i = mix(inverse) % room_; table_[i].inverse != kFree; i = (i + 1) % room_) {
    if (table_[i].inverse == inverse) fn(&table_[i]);
  }
}

void Attached::put(const Entry& e) {
  size_t i = mix(e.inverse) % room_;
  while (table_[i].inverse != kFree) i = (i + 1) % room_;
  table_[i] = e;
  ++used_;
}

/// For one entry more; the ring has as many places, so that settle() never needs any.
bool Attached::make_room() {
  if (used_ + 1 <= room_ / 2) return true;
  size_t live = due_tail_ - due_head_;
  for (size_t i = 0; i < room_; ++i) live += table_[i].inverse > kGone;
  const size_t larger = live + 1 > room_ / 4 ? (room_ == 0 ? kFirstRoom : 2 * room_) : room_;
  auto* const table = map_array<Entry>(larger);
  auto* const due = map_array<Due>(larger);
  if (table == nullptr || due == nullptr) {
    unmap_array(table, larger);
    unmap_array(due, larger);
    return false;
  }
  Entry* const old_table = table_;
  Due* const old_due = due_;
  const size_t old_room = room_;
  table_ = table;
  room_ = larger;
  used_ = 0;
  for (size_t i = 0; i < old_room; ++i) {
    if (old_table[i].inverse > kGone) put(old_table[i]);
  }
  size_t n = 0;
  for (; due_head_ != due_tail_; ++due_head_) due[n++] = old_due[due_head_ % old_room];
  due_ = due;
  due_head_ = 0;
  due_tail_ = n;
  unmap_array(old_table, old_room);
  unmap_array(old_due, old_room);
  return true;
}

bool Attached::insert(const void* block, const Entry& e) {
  if (!make_room()) return false;
  Entry with = e;
  with.inverse = inverse_of(block);
  with.since = collected_heap.unmarked_since(block);
  if (with.weak != nullptr) {
    with.weak->inverse = with.inverse;
    with.weak->since = with.since;
  }
  put(with);
  any_.store(true, std::memory_order_relaxed);
  return true;
}

void Attached::remove(Entry* e) {
  if (e->weak != nullptr) {
    e->weak->inverse = 0;
  } else {
    cleanups_.fetch_sub(1, std::memory_order_relaxed);
  }
  *e = {kGone, nullptr, nullptr, nullptr, 0};
}

void Attached::drop(const void* block) {
  CollectedGuard guard(collected_heap.attached_lock());
  each_of(block, [this](Entry* e) { remove(e); });
}

bool Attached::is_dead(uintptr_t inverse, uint32_t since) const {
  const uint32_t epoch = collected_heap.epoch();
  return settled_ != epoch && since != epoch && collected_heap.is_unmarked(reinterpret_cast<void*>(~inverse));
}

// ---- the program ------------------------------------------------------------------------------------------------------

int Attached::add_cleanup(const void* block, Fn fn, void* arg) {
  if (fn == nullptr || !collected_heap.is_block(block)) return -EINVAL;
  CollectedGuard guard(collected_heap.attached_lock());
  if (!insert(block, {0, nullptr, fn, arg, 0})) return -ENOMEM;
  cleanups_.fetch_add(1, std::memory_order_relaxed);
  return 0;
}

Weak* Attached::new_weak(const void* block) {
  if (!collected_heap.is_block(block)) return nullptr;
  CollectedGuard guard(collected_heap.attached_lock());
  Weak* w = free_weaks_;
  if (w == nullptr) {
    void* const memory = persistent::alloc(sizeof(Weak), alignof(Weak));
    if (memory == nullptr) return nullptr;
    w = ::new (memory) Weak;
  } else {
    free_weaks_ = w->next;
  }
  if (insert(block, {0, w, nullptr, nullptr, 0})) return w;
  w->next = free_weaks_;
  free_weaks_ = w;
  return nullptr;
}

void* Attached::get(const Weak* w) {
  CollectedGuard guard(collected_heap.attached_lock());
  if (w->inverse == 0 || is_dead(w->inverse, w->since)) return nullptr;
  void* const block = reinterpret_cast<void*>(~w->inverse);
  collected_heap.shade(block);
  return block;
}

void Attached::free_weak(Weak* w) {
  CollectedGuard guard(collected_heap.attached_lock());
  if (w->inverse != 0) {
    each_of(reinterpret_cast<void*>(~w->inverse), [&](Entry* e) {
      if (e->weak == w) remove(e);
    });
  }
  w->next = free_weaks_;
  free_weaks_ = w;
}

int Attached::pin(const void* block) {
  if (!collected_heap.is_block(block)) return -EINVAL;
  CollectedGuard guard(collected_heap.attached_lock());
  for (size_t i = 0; i < pin_count_; ++i) {
    if (pins_[i].block != block) continue;
    ++pins_[i].count;
    return 0;
  }
  if (pin_count_ == pin_room_) {
    const size_t larger = pin_room_ == 0 ? kFirstRoom : 2 * pin_room_;
    auto* const pins = map_array<Pin>(larger);
    if (pins == nullptr) return -ENOMEM;
    for (size_t i = 0; i < pin_count_; ++i) pins[i] = pins_[i];
    Pin* const old = pins_;
    const size_t old_room = pin_room_;
    pins_ = pins;
    pin_room_ = larger;
    unmap_array(old, old_room);
  }
  pins_[pin_count_] = {block, 1};
  ++pin_count_;
  return 0;
}

int Attached::unpin(const void* block) {
  CollectedGuard guard(collected_heap.attached_lock());
  for (size_t i = 0; i < pin_count_; ++i) {
    if (pins_[i].block != block) continue;
    if (--pins_[i].count != 0) return 0;
    pins_[i] = pins_[pin_count_ - 1];
    --pin_count_;
    pins_[pin_count_] = {nullptr, 0};
    return 0;
  }
  return -EINVAL;
}

bool Attached::take(Fn* fn, void** arg) {
  CollectedGuard guard(collected_heap.attached_lock());
  if (due_head_ == due_tail_) return false;
  Due& d = due_[due_head_++ % room_];
  *fn = d.fn;
  *arg = d.arg;
  d = {nullptr, nullptr};
  cleanups_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

void Attached::wait() {
  const uint32_t seen = news_.load(std::memory_order_acquire);
  {
    CollectedGuard guard(collected_heap.attached_lock());
    if (due_head_ != due_tail_) return;
  }
  sys::futex_wait(&news_, seen, -1);
}

// ---- the collector ----------------------------------------------------------------------------------------------------

void Attached::settle() {
  if (!any_.load(std::memory_order_relaxed)) return;
  bool any_due = false;
  const Entry* settling = nullptr;
  for (size_t at = 0;;) {
    CollectedGuard guard(collected_heap.attached_lock());
    // In a table that was made meanwhile the entries have other places: from the start again, which changes nothing of what was done.
    if (settling != table_) at = 0;
    settling = table_;
    const size_t end = at + kBatch < room_ ? at + kBatch : room_;
    for (; at < end; ++at) {
      Entry& e = table_[at];
      if (e.inverse <= kGone || !is_dead(e.inverse, e.since)) continue;
      if (e.weak != nullptr) {
        e.weak->inverse = 0;
      } else {
        due_[due_tail_++ % room_] = {e.fn, e.arg};
        any_due = true;
      }
      e = {kGone, nullptr, nullptr, nullptr, 0};
    }
    if (at < room_) continue;
    settled_ = collected_heap.epoch();
    break;
  }
  if (!any_due) return;
  news_.fetch_add(1, std::memory_order_release);
  sys::futex_wake(&news_, 1);
}

}  // namespace tri::gc
