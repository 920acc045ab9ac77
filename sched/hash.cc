// hash.cc - See hash.h.
#include "sched/hash.h"

namespace tri::sched {

uint64_t hash_long(const char* p, size_t n, uint64_t seed) {
  const uint64_t other = second_seed(seed);
  const uint64_t third = std::rotl(seed, 47) * kHash3;
  const char* const end = p + n;
  uint64_t h1 = seed;
  if (n > 48) {
    // Three chains, so that the multiplications overlap in time.
    uint64_t h2 = other;
    uint64_t h3 = third;
    do {
      h1 = fold(read8(p) ^ other, read8(p + 8) ^ h1);
      h2 = fold(read8(p + 16) ^ third, read8(p + 24) ^ h2);
      h3 = fold(read8(p + 32) ^ seed, read8(p + 40) ^ h3);
      p += 48;
    } while (end - p > 48);
    h1 ^= h2 ^ h3;
  }
  while (end - p > 16) {
    h1 = fold(read8(p) ^ other, read8(p + 8) ^ h1);
    p += 16;
  }
  // The last 16 bytes, some of them perhaps for the second time.
  h1 = fold(read8(end - 16) ^ third, read8(end - 8) ^ h1);
  return fold(h1 ^ (n * kHash3), other ^ kHash2);
}

}  // namespace tri::sched
