// arena.cc - See arena.h.
#include "alloc/arena.h"

#include "alloc/os/os.h"
#include "alloc/own_memory.h"

namespace tri::pagemap {

constinit uintptr_t near_base = 0;
constinit size_t near_pages = 0;
constinit NearEntry* near_entries = nullptr;

namespace {

// A sixteenth of the window lies above the first arena; the kernel places later mappings below it as a rule.
constexpr size_t kShareAbove = 16;
constexpr size_t kNearSlots = kNearBytes / kArenaBytes + 1;
constinit std::atomic<Arena*> near_arenas[kNearSlots] = {};

struct Leaf {
  FarEntry entries[kArenaPages];  // null: no span
  std::atomic<Arena*> arena;
};
constexpr size_t kLeafBytes = align_up(sizeof(Leaf), 4096);

// kSlots words, made when first needed.
constinit std::atomic<std::atomic<Leaf*>*> far_table{nullptr};

size_t page_in_slot(const void* p) { return (reinterpret_cast<uintptr_t>(p) >> kPageShift) % kArenaPages; }
size_t slot_of(const void* p) { return reinterpret_cast<uintptr_t>(p) >> kArenaShift; }

Leaf* leaf_of(const void* p) {
  // acquire, twice: who sees the table or a leaf sees it made.
  auto* table = far_table.load(std::memory_order_acquire);
  const size_t slot = slot_of(p);
  return table == nullptr || slot >= kSlots ? nullptr : table[slot].load(std::memory_order_acquire);
}

std::atomic<Arena*>* arena_entry_of(const void* p) {
  size_t index;
  if (is_near(p, &index)) return &near_arenas[slot_of(p) - (near_base >> kArenaShift)];
  Leaf* leaf = leaf_of(p);
  return leaf == nullptr ? nullptr : &leaf->arena;
}

/// Memory that reads as zero, and is made writable piece by piece: it costs nothing under mlockall() or a commit limit
/// before it is used.
void* map_sparse(size_t bytes) {
  void* p = os::reserve(bytes, os::page_size());
  if (p == nullptr || (os::make_readable(p, bytes) && own_memory::add(p, bytes))) return p;
  os::unmap(p, bytes);
  return nullptr;
}

// Which kernel pages of the near table are writable already: blocks with mappings of their own come and go often.
constinit PageBits<align_up(sizeof(NearTable) / 4096 + 1, 64)> near_writable = {};

bool make_writable(void* begin, size_t bytes) {
  const size_t first = align_down(reinterpret_cast<size_t>(begin), os::page_size());
  const size_t last = align_up(reinterpret_cast<size_t>(begin) + bytes, os::page_size());
  return os::commit(reinterpret_cast<void*>(first), last - first);
}

bool make_near_writable(size_t index, size_t pages) {
  const size_t first = (sizeof(Span) + index * sizeof(NearEntry)) / os::page_size();
  const size_t last = (sizeof(Span) + (index + pages) * sizeof(NearEntry) - 1) / os::page_size();
  if (near_writable.all(first, last - first + 1)) return true;
  if (!make_writable(&near_entries[index], pages * sizeof(NearEntry))) return false;
  near_writable.set(first, last - first + 1);
  return true;
}

bool place_window(const void* p) {
  const bool is_limited = os::address_space_limit() != SIZE_MAX;
  const size_t bytes = is_limited ? kNearBytesIfLimited : kNearBytes;
  const size_t table_bytes = align_up(sizeof(Span) + bytes / kPageSize * sizeof(NearEntry), os::page_size());
  auto* table = static_cast<NearTable*>(map_sparse(table_bytes));
  if (table == nullptr) return false;
  const size_t above = align_down(reinterpret_cast<uintptr_t>(p) + bytes / kShareAbove, kArenaBytes);
  near_base = above > bytes ? above - bytes : 0;
  near_entries = table->entries;
  near_pages = bytes / kPageSize;
  return true;
}

}  // namespace

Span* far_lookup(const void* p) {
  Leaf* leaf = leaf_of(p);
  if (leaf == nullptr) return &null_span;
  Span* s = leaf->entries[page_in_slot(p)].load(std::memory_order_relaxed);
  return s == nullptr ? &null_span : s;
}

bool prepare(const void* p, size_t bytes) {
  if (near_pages == 0 && !place_window(p)) return false;
  size_t index;
  if (is_near(p, &index)) return make_near_writable(index, bytes / kPageSize);
  if (leaf_of(p) != nullptr) return true;
  const size_t slot = slot_of(p);
  if (slot >= kSlots) return false;
  auto* table = far_table.load(std::memory_order_relaxed);
  if (table == nullptr) {
    table = static_cast<std::atomic<Leaf*>*>(map_sparse(kSlots * sizeof(*table)));
    if (table == nullptr) return false;
    far_table.store(table, std::memory_order_release);
  }
  if (!make_writable(&table[slot], sizeof(*table))) return false;
  auto* leaf = static_cast<Leaf*>(os::map(kLeafBytes, os::page_size()));
  if (leaf == nullptr) return false;
  if (!own_memory::add(leaf, kLeafBytes)) {
    os::unmap(leaf, kLeafBytes);
    return false;
  }
  table[slot].store(leaf, std::memory_order_release);
  return true;
}

void set(const void* p, size_t pages, Span* span) {
  size_t index;
  if (is_near(p, &index)) {
    const uintptr_t distance = span == &null_span ? 0
                                                  : reinterpret_cast<uintptr_t>(span) + sizeof(Span) -
                                                        reinterpret_cast<uintptr_t>(near_entries);
    // release: who comes by a pointer that is not his (misuse, tri_base()) finds a span that is made, if he finds it.
    for (size_t i = 0; i < pages; ++i) near_entries[index + i].store(distance, std::memory_order_release);
    return;
  }
  Leaf* const leaf = leaf_of(p);
  TRI_ASSERT(leaf != nullptr);
  Span* const entry = span == &null_span ? nullptr : span;
  for (size_t i = 0; i < pages; ++i) leaf->entries[page_in_slot(p) + i].store(entry, std::memory_order_release);
}

Arena* arena_of(const void* p) {
  const auto* entry = arena_entry_of(p);
  // acquire: pairs with set_arena().
  return entry == nullptr ? nullptr : entry->load(std::memory_order_acquire);
}

void set_arena(Arena* arena) { arena_entry_of(arena->base)->store(arena, std::memory_order_release); }

Span* find(const void* p) {
  Span* s = lookup(p);
  if (s != &null_span) return s;
  // A large span has only its first page in the map; a small one has a page there only once a block starts in it.
  auto* q = static_cast<const char*>(p);
  for (size_t i = 0; i < kArenaPages && reinterpret_cast<uintptr_t>(q) >= kPageSize; ++i) {
    q -= kPageSize;
    s = lookup(q);
    if (s == &null_span) continue;
    return s->contains(p) ? s : nullptr;
  }
  return nullptr;
}

}  // namespace tri::pagemap
