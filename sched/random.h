// random.h - Random numbers for choices that should not favour anybody: which ready case of a select, where to look first.
//
// Not for secrets. A counter of the thread, mixed: one load, one store, a few multiplications.
//
// Used by: select, pool.
#ifndef TRI_SCHED_RANDOM_H
#define TRI_SCHED_RANDOM_H

#include <bit>
#include <cstdint>

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

/// One of the bits, each as likely as any other, and those above it. Not of 0.
inline uint64_t keep_from_random(uint64_t bits) {
  // All cases ready is what a busy program sees, and needs no loop, whose end the processor cannot foretell.
  if ((bits & (bits + 1)) == 0)
    return bits & (~uint64_t{0} << random_below(static_cast<uint32_t>(std::countr_one(bits))));
  // Counted by hand: there are few, and the instruction is not on every processor.
  uint32_t count = 0;
  for (uint64_t b = bits; b != 0; b &= b - 1) ++count;
  for (uint32_t skip = random_below(count); skip != 0; --skip) bits &= bits - 1;
  return bits;
}

}  // namespace tri::sched

#endif
