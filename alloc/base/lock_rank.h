// lock_rank.h - The order in which locks are taken: a thread takes only locks of a higher rank than it holds.
#ifndef TRI_ALLOC_BASE_LOCK_RANK_H
#define TRI_ALLOC_BASE_LOCK_RANK_H

#include <cstdint>

namespace tri {

enum class LockRank : uint8_t {
  kOptions,    // parsing and setting options
  kReport,     // one report at a time
  kCollector,  // when a cycle is due, and figures of the last
  kCollected,  // the spans of a class of collected blocks; two of them are held at once only around fork() and stops. Who holds one must not allocate
  kThreads,    // the list of Thread records
  // ---- the MALLOC line: who holds a lock below must not allocate ----
  kHeld,       // giving back what was held (TRI=safe)
  kCentral,    // one for each size class; two of them are held at once only around fork()
  kSampler,    // spans of sampled blocks
  kSites,      // where blocks were allocated
  kScavenger,  // starting and stopping the background thread
  kHeap,       // pages, arenas, span records
  kMarkQueue,  // what the collector's markers have still to scan
  kMetadata,   // persistent memory
};

}  // namespace tri

#endif
