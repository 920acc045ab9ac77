// bits.h - Arithmetic on powers of two, and hashing of addresses.
#ifndef TRI_ALLOC_BASE_BITS_H
#define TRI_ALLOC_BASE_BITS_H

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tri {

constexpr bool is_power_of_two(size_t n) { return n != 0 && (n & (n - 1)) == 0; }

/// `alignment` is a power of two; the caller rules out overflow.
constexpr size_t align_up(size_t n, size_t alignment) { return (n + alignment - 1) & ~(alignment - 1); }
constexpr size_t align_down(size_t n, size_t alignment) { return n & ~(alignment - 1); }
constexpr bool is_aligned(size_t n, size_t alignment) { return (n & (alignment - 1)) == 0; }

template <class T>
T* align_up(T* p, size_t alignment) {
  return reinterpret_cast<T*>(align_up(reinterpret_cast<size_t>(p), alignment));
}

constexpr size_t ceil_div(size_t n, size_t d) { return (n + d - 1) / d; }

/// Position of the highest set bit; n > 0.
constexpr unsigned log2_floor(size_t n) { return 63U - static_cast<unsigned>(std::countl_zero(n)); }

/// A 64-bit finaliser (the constants are those of SplitMix64): every input bit reaches every output bit.
constexpr uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace tri

#endif
