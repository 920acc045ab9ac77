// random.h - Random numbers for choices that should not favour anybody: which ready case of a select, where to look first.
//
// Not for secrets. A counter of the thread, mixed: one load, one store, a few multiplications.
//
// Used by: select, pool.
#ifndef TRI_SCHED_RANDOM_H
#define TRI_SCHED_RANDOM_H

#include "alloc/base/bits.h"
#include "tri_arch.h"

namespace tri::sched {

/// Of this thread; a goroutine draws from the counter of the thread that it runs on.
extern constinit thread_local uint32_t tls_random;

/// In [0, n), n > 0.
inline uint32_t random_below(uint32_t n) {
  const uint64_t x = mix(arch::thread_pointer() ^ ++tls_random);
  return static_cast<uint32_t>((x >> 32) * n >> 32);
}

}  // namespace tri::sched

#endif
