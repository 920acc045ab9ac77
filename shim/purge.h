// purge.h - Giving memory back on request: malloc_trim() and tri_purge().
#ifndef TRI_SHIM_PURGE_H
#define TRI_SHIM_PURGE_H

#include "alloc/scavenger.h"
#include "alloc/thread.h"

namespace tri {

/// What the calling thread keeps, and all free pages; returns the bytes given back.
inline size_t purge_heap() {
  SlowPath slow;
  if (slow.get() == nullptr) return 0;
  slow.get()->release_caches();
  return scavenger::purge_all();
}

}  // namespace tri

#endif
