// arena.cc - See arena.h.
#include "alloc/arena.h"

#include "alloc/os/os.h"

namespace tri::pagemap {
namespace {

struct Leaf {
  Entry entries[kArenaPages];
  std::atomic<Arena*> arena;
};

constexpr size_t kLeafBytes = (sizeof(Leaf) + 4095) / 4096 * 4096;

uintptr_t bias(size_t slot) { return slot * kArenaPages * sizeof(Entry); }

Leaf* leaf_of(const void* p) {
  const size_t slot = reinterpret_cast<uintptr_t>(p) >> kArenaShift;
  if (slot >= slots) return nullptr;
  const uintptr_t biased = table[slot].load(std::memory_order_acquire);
  return biased == 0 ? nullptr : reinterpret_cast<Leaf*>(biased + bias(slot));
}

}  // namespace

constinit std::atomic<uintptr_t>* table = nullptr;
constinit size_t slots = 0;

bool init() {
  if (table != nullptr) return true;
  // Readable as a whole, so that any address can be looked up; made writable where an entry is added. So it costs
  // nothing under mlockall() or a commit limit.
  constexpr size_t kBytes = kSlots * sizeof(uintptr_t);
  void* p = os::reserve(kBytes, os::page_size());
  if (p == nullptr) return false;
  if (!os::make_readable(p, kBytes)) {
    os::unmap(p, kBytes);
    return false;
  }
  table = static_cast<std::atomic<uintptr_t>*>(p);
  // Plain stores: init() runs before the process has a block, and so before anything can be looked up elsewhere.
  slots = kSlots;
  return true;
}

bool ensure_leaf(const void* p) {
  if (leaf_of(p) != nullptr) return true;
  const size_t slot = reinterpret_cast<uintptr_t>(p) >> kArenaShift;
  if (slot >= slots) return false;
  auto* entry = &table[slot];
  auto* entry_page = reinterpret_cast<char*>(align_down(reinterpret_cast<size_t>(entry), os::page_size()));
  if (!os::commit(entry_page, os::page_size())) return false;
  auto* leaf = static_cast<Leaf*>(os::map(kLeafBytes, os::page_size()));
  if (leaf == nullptr) return false;
  for (Entry& e : leaf->entries) e.store(&null_span, std::memory_order_relaxed);
  // release: a lookup that sees the leaf sees it filled.
  entry->store(reinterpret_cast<uintptr_t>(leaf) - bias(slot), std::memory_order_release);
  return true;
}

void set(const void* p, size_t pages, Span* span) {
  Leaf* leaf = leaf_of(p);
  const size_t first = (reinterpret_cast<uintptr_t>(p) >> kPageShift) % kArenaPages;
  TRI_ASSERT(leaf != nullptr);
  TRI_ASSERT(first + pages <= kArenaPages);
  for (size_t i = 0; i < pages; ++i) leaf->entries[first + i].store(span, std::memory_order_relaxed);
}

Arena* arena_of(const void* p) {
  Leaf* leaf = leaf_of(p);
  // acquire: pairs with set_arena().
  return leaf == nullptr ? nullptr : leaf->arena.load(std::memory_order_acquire);
}

void set_arena(Arena* arena) { leaf_of(arena->base)->arena.store(arena, std::memory_order_release); }

Span* find(const void* p) {
  Span* s = lookup(p);
  if (s != &null_span) return s;
  // A small span maps a page only once a block starts there, and a block spans at most four more pages.
  auto* q = static_cast<const char*>(p);
  for (size_t i = 0; i < kMaxSmallSize / kPageSize && reinterpret_cast<uintptr_t>(q) >= kPageSize; ++i) {
    q -= kPageSize;
    s = lookup(q);
    if (s == &null_span) continue;
    return s->contains(p) ? s : nullptr;
  }
  return nullptr;
}

}  // namespace tri::pagemap
