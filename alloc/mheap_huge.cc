// mheap_huge.cc - The heap's huge blocks: each a mapping of its own, the last freed ones kept for a while. See mheap.h and huge_cache.h.
#include "alloc/mheap.h"
#include "alloc/os/os.h"

namespace tri {

Span* MHeap::alloc_huge(size_t bytes, size_t alignment) {
  if (bytes > PTRDIFF_MAX - kPageSize) return nullptr;
  const size_t mapped = align_up(bytes, kPageSize);
  if (Span* const kept = take_kept_huge(mapped, alignment)) return kept;
  // The system call is made outside of the lock: it may take long when there are many mappings.
  // The kernel's alignment will do: a block of this size has its pagemap entry for itself wherever it starts.
  auto* const p = static_cast<char*>(os::map(mapped, alignment < os::page_size() ? os::page_size() : alignment));
  if (p == nullptr) return nullptr;
  if (huge_pages_ != HugePages::kAuto) os::advise_huge(p, mapped, huge_pages_ == HugePages::kAlways ? 1 : -1);
  Span* s = nullptr;
  {
    LockGuard guard(lock_);
    if (pagemap::prepare(p, kPageSize)) s = records_.alloc();
    if (s != nullptr) {
      s->start = p;
      s->bytes = mapped;
      s->kind = SpanKind::kHuge;
      s->place = SpanPlace::kNowhere;
      s->origin = p;
      s->reciprocal = s->reciprocal_bound = 1;
      s->size = 0;
      s->needs_zero = false;
      s->mapped_pages = 1;
      huge_.push_back(s);
      counters->huge_bytes.fetch_add(mapped, std::memory_order_relaxed);
      counters->add_used(mapped, 0);
      pagemap::set(p, 1, s);
    }
  }
  if (s == nullptr) os::unmap(p, mapped);
  return s;
}

void* MHeap::remap_huge(Span* s, size_t bytes) {
  if (bytes > PTRDIFF_MAX - kPageSize) return nullptr;
  const size_t new_bytes = align_up(bytes, kPageSize);
  // The pagemap must have room for the new place before the kernel moves the block there.
  auto* place = static_cast<char*>(os::reserve(new_bytes, os::page_size()));
  if (place == nullptr) return nullptr;
  LockGuard guard(lock_);
  if (observer_ != nullptr || !pagemap::prepare(place, kPageSize) || !os::move(s->start, s->bytes, place, new_bytes)) {
    os::unmap(place, new_bytes);
    return nullptr;
  }
  pagemap::clear(s->start, 1);
  counters->huge_bytes.fetch_add(new_bytes - s->bytes, std::memory_order_relaxed);
  counters->add_used(new_bytes, s->bytes);
  remember_freed(s);
  s->start = place;
  s->origin = place;
  s->bytes = new_bytes;
  pagemap::set(place, 1, s);
  return place;
}

void MHeap::free_huge(Span* s) {
  {
    LockGuard guard(lock_);
    counters->huge_bytes.fetch_sub(s->bytes, std::memory_order_relaxed);
    counters->add_used(0, s->bytes);
    remember_freed(s);
  }
  unmap_huge(s);
}

void MHeap::unmap_huge(Span* s) {
  char* const start = s->start;
  const size_t bytes = s->bytes;
  {
    LockGuard guard(lock_);
    pagemap::clear(start, 1);
    huge_.remove(s);
    if (observer_ != nullptr) {
      tell_gone(start, bytes);
      s->kind = SpanKind::kNone;
      s->next = leaving_;
      leaving_ = s;
      os::purge(start, bytes);
      return;
    }
    free_record(s);
  }
  os::unmap(start, bytes);
}

void MHeap::count_kept(int64_t bytes) {
  const auto change = static_cast<uint64_t>(bytes);
  counters->committed_bytes.fetch_add(change, std::memory_order_relaxed);
  counters->arena_bytes.fetch_add(change, std::memory_order_relaxed);
  note_dirty();
}

bool MHeap::keep_huge(Span* s) {
  const int64_t now = os::now_ns();
  for (;;) {
    Span* oldest;
    {
      LockGuard guard(lock_);
      if (!huge_cache_.wants(s)) {
        huge_cache_.note_gone(s->bytes);
        return false;
      }
      if (huge_cache_.has_room(s->bytes)) {
        counters->huge_bytes.fetch_sub(s->bytes, std::memory_order_relaxed);
        counters->add_used(0, s->bytes);
        remember_freed(s);
        huge_cache_.put(s, now);
        count_kept(static_cast<int64_t>(s->bytes));
        return true;
      }
      oldest = huge_cache_.take_oldest();
      count_kept(-static_cast<int64_t>(oldest->bytes));
    }
    unmap_huge(oldest);
  }
}

Span* MHeap::take_kept_huge(size_t bytes, size_t alignment) {
  LockGuard guard(lock_);
  Span* const s = huge_cache_.take(bytes, alignment);
  if (s == nullptr) return nullptr;
  count_kept(-static_cast<int64_t>(s->bytes));
  counters->huge_bytes.fetch_add(s->bytes, std::memory_order_relaxed);
  counters->add_used(s->bytes, 0);
  return s;
}

size_t MHeap::release_huge(int64_t ns) {
  size_t released = 0;
  while (kept_huge_bytes() != 0) {
    Span* s;
    {
      LockGuard guard(lock_);
      s = huge_cache_.take_older(ns);
      if (s == nullptr) break;
      count_kept(-static_cast<int64_t>(s->bytes));
    }
    released += s->bytes;
    unmap_huge(s);
  }
  return released;
}

Span* MHeap::find_huge(const void* p) {
  LockGuard guard(lock_);
  Span* found = nullptr;
  huge_.each([&](Span* s) {
    if (s->contains(p) && s->place != SpanPlace::kCached) found = s;
  });
  return found;
}

}  // namespace tri
