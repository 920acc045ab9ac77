// emergency.cc - See emergency.h.
#include "alloc/emergency.h"

#include <atomic>
#include <cstdint>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"
#include "alloc/size_class.h"

namespace tri::emergency {
namespace {

// Each area begins with its size, and so does, in the word before it, each block.
constexpr size_t kHeader = kBlockAlignment;
constexpr size_t kAreaBytes = 1024 * 1024;
// 64 areas: a handler that leaks more than that has leaked enough.
constexpr size_t kAreas = 64;

struct Area {
  std::atomic<char*> start{nullptr};
  std::atomic<size_t> used{kHeader};
};
constinit Area areas[kAreas];

size_t area_size(const char* start) { return *reinterpret_cast<const size_t*>(start); }

void* alloc_in(Area& area, size_t bytes, size_t alignment) {
  // acquire: pairs with the release in open_area().
  char* const start = area.start.load(std::memory_order_acquire);
  if (start == nullptr) return nullptr;
  const size_t limit = area_size(start);
  size_t used = area.used.load(std::memory_order_relaxed);
  for (;;) {
    char* const p = align_up(start + used + kHeader, alignment);
    const auto end = static_cast<size_t>(p - start) + bytes;
    if (end > limit) return nullptr;
    if (!area.used.compare_exchange_weak(used, end, std::memory_order_relaxed)) continue;
    reinterpret_cast<size_t*>(p)[-1] = bytes;
    return p;
  }
}

}  // namespace

void* alloc(size_t bytes, size_t alignment) {
  if (bytes > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4) return nullptr;
  if (alignment < kBlockAlignment) alignment = kBlockAlignment;
  bytes = align_up(bytes == 0 ? 1 : bytes, kBlockAlignment);
  for (Area& area : areas) {
    if (void* p = alloc_in(area, bytes, alignment)) return p;
    if (area.start.load(std::memory_order_relaxed) != nullptr) continue;
    const size_t need = align_up(bytes + alignment + 2 * kHeader, os::page_size());
    const size_t area_bytes = need < kAreaBytes ? kAreaBytes : need;
    auto* memory = static_cast<char*>(os::map(area_bytes, os::page_size()));
    if (memory == nullptr) return nullptr;
    *reinterpret_cast<size_t*>(memory) = area_bytes;
    char* nobody = nullptr;
    // release: publishes the size. Who loses the race to open an area uses the winner's, or goes on to the next.
    if (!area.start.compare_exchange_strong(nobody, memory, std::memory_order_release, std::memory_order_acquire)) {
      os::unmap(memory, area_bytes);
    }
    if (void* p = alloc_in(area, bytes, alignment)) return p;
  }
  return nullptr;
}

bool owns(const void* p) {
  for (const Area& area : areas) {
    const char* start = area.start.load(std::memory_order_acquire);
    if (start == nullptr) return false;
    if (p >= start && p < start + area_size(start)) return true;
  }
  return false;
}

size_t usable_size(const void* p) { return static_cast<const size_t*>(p)[-1]; }

}  // namespace tri::emergency
