// finalizers.cc - See finalizers.h.
#include "gc/finalizers.h"

#include <cerrno>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/heap.h"
#include "gc/marker.h"

namespace tri::gc {
namespace {

constexpr size_t kFirstRoom = 256;

template <class T>
T* map_array(size_t n) {
  return static_cast<T*>(os::map(align_up(n * sizeof(T), os::page_size()), os::page_size()));
}
template <class T>
void unmap_array(T* p, size_t n) {
  if (p != nullptr) os::unmap(p, align_up(n * sizeof(T), os::page_size()));
}

/// A block of the tables that is not marked. Blocks that came later are in no table: they are reached.
bool is_lost(const Shadow& shadow, uintptr_t address, Ref* r) { return shadow.find(address, r) && !r->is_marked(); }
bool is_lost(const Shadow& shadow, uintptr_t address) {
  Ref r;
  return is_lost(shadow, address, &r);
}

/// What a block leads to, but not the block for its own sake.
void mark_contents(Marker& marker, const Ref& r, bool ignore_self) {
  if (r.pointer_free) return;
  if (!ignore_self) return marker.add_block(r);
  const auto* const words = reinterpret_cast<const uintptr_t*>(r.start);
  const auto start = reinterpret_cast<uintptr_t>(r.start);
  const size_t n = r.bytes / sizeof(uintptr_t);
  for (size_t from = 0, to; from < n; from = to + 1) {
    for (to = from; to < n && words[to] - start >= r.bytes; ++to) {
    }
    if (to != from) marker.add_roots(words + from, words + to);
  }
}

}  // namespace

constinit Finalizers finalizers;

// ---- the tables (the lock is held) ----------------------------------------------------------------------------------------

template <class Entry>
Entry* HiddenTable<Entry>::find(const void* p) {
  const uintptr_t key = key_of(p);
  if (room == 0) return nullptr;
  for (size_t i = mix(key) % room; entries[i].key != kFree; i = (i + 1) % room) {
    if (entries[i].key == key) return &entries[i];
  }
  return nullptr;
}

template <class Entry>
void HiddenTable<Entry>::put(const Entry& e) {
  size_t i = mix(e.key) % room;
  while (entries[i].key != kFree) i = (i + 1) % room;
  entries[i] = e;
  ++used;
}

template <class Entry>
bool HiddenTable<Entry>::make_room() {
  if (used + 1 <= room / 2) return true;
  const size_t larger = live + 1 > room / 4 ? (room == 0 ? kFirstRoom : 2 * room) : room;
  auto* const fresh = map_array<Entry>(larger);
  if (fresh == nullptr) return false;
  Entry* const old = entries;
  const size_t old_room = room;
  entries = fresh;
  room = larger;
  used = 0;
  for (size_t i = 0; i < old_room; ++i) {
    if (old[i].key > kGone) put(old[i]);
  }
  unmap_array(old, old_room);
  return true;
}

/// For all that may become due in the next cycle, one more than now.
bool Finalizers::make_due_room() {
  const size_t count = due_tail_ - due_head_;
  if (count + table_.live + 1 <= due_room_) return true;
  const size_t larger = due_room_ == 0 ? kFirstRoom : 2 * due_room_;
  auto* const fresh = map_array<Due>(larger);
  if (fresh == nullptr) return false;
  for (size_t i = 0; i < count; ++i) fresh[i] = due_[(due_head_ + i) % due_room_];
  unmap_array(due_, due_room_);
  due_ = fresh;
  due_room_ = larger;
  due_head_ = 0;
  due_tail_ = count;
  return true;
}

// ---- the program ------------------------------------------------------------------------------------------------------

int Finalizers::set(const void* block, Order order, Finalizer f, Finalizer* old) {
  if (old != nullptr) *old = {};
  if (!collected_heap.is_block(block)) return -EINVAL;
  CollectedGuard guard(collected_heap.attached_lock());
  Entry* const e = table_.find(block);
  if (e != nullptr && old != nullptr) *old = {e->fn, e->arg};
  if (f.fn == nullptr) {
    if (e != nullptr) table_.remove(e);
    return 0;
  }
  const Entry fresh = {table_.key_of(block), f.fn, f.arg, order};
  if (e != nullptr) {
    *e = fresh;
    return 0;
  }
  if (!table_.make_room() || !make_due_room()) return -ENOMEM;
  table_.put(fresh);
  ++table_.live;
  any_.store(true, std::memory_order_relaxed);
  return 0;
}

int Finalizers::link(void** at, const void* block, LinkKind kind) {
  if (at == nullptr || reinterpret_cast<uintptr_t>(at) % alignof(void*) != 0 || block == nullptr) return -EINVAL;
  CollectedGuard guard(collected_heap.attached_lock());
  HiddenTable<Link>& links = links_[kind];
  if (Link* const l = links.find(at)) {
    l->inverse = links.key_of(block);
    return 1;
  }
  if (!links.make_room()) return -ENOMEM;
  links.put({links.key_of(at), links.key_of(block)});
  ++links.live;
  return 0;
}

bool Finalizers::unlink(void** at, LinkKind kind) {
  CollectedGuard guard(collected_heap.attached_lock());
  Link* const l = links_[kind].find(at);
  if (l == nullptr) return false;
  links_[kind].remove(l);
  return true;
}

int Finalizers::move_link(void** from, void** to, LinkKind kind) {
  if (to == nullptr || reinterpret_cast<uintptr_t>(to) % alignof(void*) != 0) return -EINVAL;
  CollectedGuard guard(collected_heap.attached_lock());
  HiddenTable<Link>& links = links_[kind];
  if (links.find(from) == nullptr) return -ENOENT;
  if (from == to) return 0;
  if (links.find(to) != nullptr) return -EEXIST;
  if (!links.make_room()) return -ENOMEM;
  // In a table that is a new one, it may be.
  Link* const l = links.find(from);
  const uintptr_t inverse = l->inverse;
  links.remove(l);
  links.put({links.key_of(to), inverse});
  ++links.live;
  return 0;
}

bool Finalizers::take(Due* out) {
  if (due() == 0) return false;
  CollectedGuard guard(collected_heap.attached_lock());
  if (due_head_ == due_tail_) return false;
  Due& d = due_[due_head_++ % due_room_];
  *out = d;
  d = {};
  due_count_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

void Finalizers::drop(const void* block) {
  CollectedGuard guard(collected_heap.attached_lock());
  if (Entry* const e = table_.find(block)) table_.remove(e);
}

// ---- the collector ----------------------------------------------------------------------------------------------------

void Finalizers::clear_links(const Shadow& shadow, LinkKind kind) {
  links_[kind].each([&](Link& l) {
    if (!is_lost(shadow, ~l.inverse)) return;
    auto* const at = static_cast<void**>(links_[kind].address_of(l));
    // In a block that is lost as well it is nobody's, and may be read by a finalizer only.
    *at = nullptr;
    links_[kind].remove(&l);
  });
}

void Finalizers::forget_links(const Shadow& shadow, LinkKind kind) {
  links_[kind].each([&](Link& l) {
    if (is_lost(shadow, ~l.key)) links_[kind].remove(&l);
  });
}

void Finalizers::settle(const Shadow& shadow) {
  clear_links(shadow, kShort);
  if (table_.live != 0) {
    Marker marker(shadow);
    Ref r;
    table_.each([&](const Entry& e) {
      if (e.order != Order::kAny && is_lost(shadow, ~e.key, &r))
        mark_contents(marker, r, e.order == Order::kIgnoreSelf);
    });
    marker.drain();
    const size_t first = due_tail_;
    table_.each([&](Entry& e) {
      if (!is_lost(shadow, ~e.key)) return;
      due_[due_tail_++ % due_room_] = {table_.address_of(e), e.fn, e.arg};
      table_.remove(&e);
    });
    for (size_t i = first; i != due_tail_; ++i) {
      void* const* const word = &due_[i % due_room_].block;
      marker.scan_roots(word, word + 1);
    }
    marker.drain();
    due_count_.fetch_add(due_tail_ - first, std::memory_order_relaxed);
  }
  clear_links(shadow, kLong);
  forget_links(shadow, kShort);
  forget_links(shadow, kLong);
}

}  // namespace tri::gc
