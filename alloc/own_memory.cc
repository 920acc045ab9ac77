// own_memory.cc - See own_memory.h.
#include "alloc/own_memory.h"

#include <atomic>

#include "alloc/persistent.h"

namespace tri::own_memory {
namespace {

constinit std::atomic<const Region*> regions{nullptr};

}  // namespace

bool add(const void* start, size_t bytes) {
  auto* const r = static_cast<Region*>(persistent::alloc(sizeof(Region), alignof(Region)));
  if (r != nullptr) add(r, start, bytes);
  return r != nullptr;
}

void add(Region* r, const void* start, size_t bytes) {
  *r = {regions.load(std::memory_order_relaxed), static_cast<const char*>(start), bytes};
  // release: pairs with the acquire in first(), from where all are reached by plain reads.
  while (!regions.compare_exchange_weak(r->next, r, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

const Region* first() { return regions.load(std::memory_order_acquire); }

}  // namespace tri::own_memory
