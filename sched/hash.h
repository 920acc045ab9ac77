// hash.h - Hashes of integers and bytes, seeded so that nobody outside can choose keys that collide.
//
// The building block multiplies two words and folds the 128-bit product (as wyhash and Go's memhash do): two instructions,
// after which each bit of the result depends on all bits of both. Both factors are mixed with words that derive from the
// seed alone: with a published constant in one of them, a key could be chosen that makes it 0, and with it the product,
// whatever the seed.
//
// Used by: map, shim.
#ifndef TRI_SCHED_HASH_H
#define TRI_SCHED_HASH_H

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tri::sched {

/// The 128-bit product, its halves folded.
inline uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Odd, and half of the bits set: the fractions of the square roots of 2, 3 and 5.
inline constexpr uint64_t kHash1 = 0x6a09e667f3bcc909;
inline constexpr uint64_t kHash2 = 0xbb67ae8584caa73b;
inline constexpr uint64_t kHash3 = 0x3c6ef372fe94f82b;

inline uint64_t second_seed(uint64_t seed) { return std::rotl(seed, 29) * kHash1; }

inline uint64_t hash_word(uint64_t word, uint64_t seed) {
  return fold(fold(word ^ seed, second_seed(seed) | 1), kHash2);
}

inline uint64_t read8(const void* p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}
inline uint64_t read4(const void* p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}

/// What is left after the blocks of hash_bytes(): more than 16 bytes.
[[gnu::noinline]] uint64_t hash_long(const char* p, size_t n, uint64_t seed);

inline uint64_t hash_bytes(const void* data, size_t n, uint64_t seed) {
  const auto* p = static_cast<const char*>(data);
  uint64_t a = 0;
  uint64_t b = 0;
  if (n > 16) return hash_long(p, n, seed);
  if (n >= 8) {
    a = read8(p);
    b = read8(p + n - 8);  // may overlap: the length is hashed, too
  } else if (n >= 4) {
    a = read4(p);
    b = read4(p + n - 4);
  } else if (n > 0) {
    const auto byte = [p](size_t i) { return uint64_t{static_cast<unsigned char>(p[i])}; };
    a = byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16;
  }
  const uint64_t other = second_seed(seed);
  return fold(fold(a ^ seed, b ^ other) ^ (n * kHash3), other ^ kHash2);
}

}  // namespace tri::sched

#endif
