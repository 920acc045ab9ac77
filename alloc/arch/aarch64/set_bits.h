// set_bits.h - Changing a word in the presence of signal handlers alone, on aarch64.
//
// Used by: held.
#ifndef TRI_ALLOC_SET_BITS_H
#define TRI_ALLOC_SET_BITS_H

#include <atomic>
#include <cstdint>

namespace tri::arch {

/// Sets bits of a word that this thread alone writes to, signal handlers included, which may come between any two instructions.
inline void set_bits_alone(std::atomic<uint64_t>* word, uint64_t bits) {
  word->fetch_or(bits, std::memory_order_relaxed);
}

}  // namespace tri::arch

#endif
