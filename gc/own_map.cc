// own_map.cc - See own_map.h.
#include "gc/own_map.h"

#include <new>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"
#include "alloc/persistent.h"

namespace tri::gc {

constinit std::atomic<OwnMap*> own_maps{nullptr};

namespace {

/// A record that is the caller's, its begin being 1; null without memory.
OwnMap* take_record() {
  for (OwnMap* m = own_maps.load(std::memory_order_acquire); m != nullptr; m = m->next) {
    uintptr_t free = 0;
    if (m->begin.load(std::memory_order_relaxed) != 0) continue;
    if (m->begin.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) return m;
  }
  void* const memory = persistent::alloc(sizeof(OwnMap), alignof(OwnMap));
  if (memory == nullptr) return nullptr;
  auto* const m = ::new (memory) OwnMap{own_maps.load(std::memory_order_relaxed), {1}, {0}};
  // release: pairs with the acquire of whoever walks the list, which then reads `next` plainly.
  while (!own_maps.compare_exchange_weak(m->next, m, std::memory_order_release, std::memory_order_relaxed)) {
  }
  return m;
}

void* take(void* (*get)(size_t, size_t), size_t bytes, size_t alignment) {
  OwnMap* const m = take_record();
  if (m == nullptr) return nullptr;
  void* const p = get(bytes, alignment < os::page_size() ? os::page_size() : alignment);
  m->bytes.store(bytes, std::memory_order_relaxed);
  m->begin.store(reinterpret_cast<uintptr_t>(p), std::memory_order_release);
  return p;
}

}  // namespace

void* map_own(size_t bytes, size_t alignment) { return take(os::map, bytes, alignment); }

void* reserve_own(size_t bytes, size_t alignment) { return take(os::reserve, bytes, alignment); }

void unmap_own(void* p, size_t bytes) {
  os::unmap(p, bytes);
  for (OwnMap* m = own_maps.load(std::memory_order_acquire); m != nullptr; m = m->next) {
    if (m->begin.load(std::memory_order_relaxed) != reinterpret_cast<uintptr_t>(p)) continue;
    m->begin.store(0, std::memory_order_release);  // pairs with the acquire of its next user
    return;
  }
}

size_t own_array_bytes(size_t bytes) { return align_up(bytes, os::page_size()); }

}  // namespace tri::gc
