// set_bits.h - Changing a word in the presence of signal handlers alone, on x86-64.
//
// Used by: held.
#ifndef TRI_ALLOC_SET_BITS_H
#define TRI_ALLOC_SET_BITS_H

#include <atomic>
#include <cstdint>

namespace tri::arch {

/// Sets bits of a word that this thread alone writes to, signal handlers included: one instruction, into which none of them can come.
inline void set_bits_alone(std::atomic<uint64_t>* word, uint64_t bits) {
  __asm__ volatile("orq %1, %0" : "+m"(*word) : "r"(bits) : "cc");
}

}  // namespace tri::arch

#endif
