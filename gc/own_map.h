// own_map.h - Memory that the collector maps for itself while it works: no root, however full of addresses it is.
//
// Like alloc/own_memory.h, but for a while only: records are never freed, so that whoever is stopped, or reads the list meanwhile, finds
// it whole; they are used again.
//
// Any thread. See gc.h for the overview. Used by: all of gc that outlives one stop.
#ifndef TRI_GC_OWN_MAP_H
#define TRI_GC_OWN_MAP_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// os::map(), os::reserve() and os::unmap() of such memory. Null without memory, be it for the record alone.
[[nodiscard]] void* map_own(size_t bytes, size_t alignment);
[[nodiscard]] void* reserve_own(size_t bytes, size_t alignment);
void unmap_own(void* p, size_t bytes);

/// An array of n, zeroed; null without memory. T has no destructor.
template <class T>
[[nodiscard]] T* map_own_array(size_t n);
template <class T>
void unmap_own_array(T* p, size_t n);

/// Calls fn(start, bytes) for all that is mapped now.
template <class Fn>
void each_own_map(Fn&& fn);

// ---- what those stand on

struct OwnMap {
  OwnMap* next;                  // constant
  std::atomic<uintptr_t> begin;  // 0: free to be used
  std::atomic<size_t> bytes;
};
extern constinit std::atomic<OwnMap*> own_maps;
size_t own_array_bytes(size_t bytes);

template <class T>
T* map_own_array(size_t n) {
  return static_cast<T*>(map_own(own_array_bytes(n * sizeof(T)), alignof(T)));
}

template <class T>
void unmap_own_array(T* p, size_t n) {
  if (p != nullptr) unmap_own(p, own_array_bytes(n * sizeof(T)));
}

template <class Fn>
void each_own_map(Fn&& fn) {
  for (const OwnMap* m = own_maps.load(std::memory_order_acquire); m != nullptr; m = m->next) {
    // acquire: pairs with the release in take(): the length belongs to it.
    const uintptr_t begin = m->begin.load(std::memory_order_acquire);
    if (begin > 1) fn(reinterpret_cast<const char*>(begin), m->bytes.load(std::memory_order_relaxed));
  }
}

}  // namespace tri::gc

#endif
