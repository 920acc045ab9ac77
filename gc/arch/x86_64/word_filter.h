// word_filter.h - Which of 64 words lie in a range of addresses, on x86-64: by the widest registers that the processor has.
//
// Memory without pointers is looked through at the speed at which it can be read, a few instructions for 64 bytes. Where most
// words are pointers nothing is gained: blocks of few words are not filtered (marker.cc).
//
// Used by: marker.
#ifndef TRI_GC_WORD_FILTER_H
#define TRI_GC_WORD_FILTER_H

#include <cpuid.h>
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace tri::gc {

/// Bit i is set if words[i] - begin < bytes. The words may be anybody's.
using WordFilter = uint64_t (*)(const uintptr_t* words, uintptr_t begin, size_t bytes);

[[gnu::target("avx512f"), gnu::no_sanitize("address", "thread")]] inline uint64_t filter_by_512(const uintptr_t* words,
                                                                                                uintptr_t begin,
                                                                                                size_t bytes) {
  const __m512i first = _mm512_set1_epi64(static_cast<long long>(begin));
  const __m512i length = _mm512_set1_epi64(static_cast<long long>(bytes));
  uint64_t found = 0;
  for (unsigned i = 0; i < 64; i += 8) {
    const __m512i w = _mm512_sub_epi64(_mm512_loadu_si512(words + i), first);
    found |= uint64_t{_mm512_cmplt_epu64_mask(w, length)} << i;
  }
  return found;
}

[[gnu::target("avx2"), gnu::no_sanitize("address", "thread")]] inline uint64_t filter_by_256(const uintptr_t* words,
                                                                                             uintptr_t begin,
                                                                                             size_t bytes) {
  // There is a comparison of signed words only: both sides are moved by half of the range.
  constexpr uint64_t kHalf = uint64_t{1} << 63;
  const __m256i first = _mm256_set1_epi64x(static_cast<long long>(begin + kHalf));
  const __m256i length = _mm256_set1_epi64x(static_cast<long long>(bytes + kHalf));
  uint64_t found = 0;
  for (unsigned i = 0; i < 64; i += 4) {
    const __m256i w = _mm256_sub_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + i)), first);
    const int mask = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(length, w)));
    found |= uint64_t{static_cast<unsigned>(mask)} << i;
  }
  return found;
}

/// The best one; null if there is none. Asks the processor, which takes long on a virtual machine: once.
inline WordFilter choose_word_filter() {
  unsigned a, b, c, d;
  constexpr unsigned kOsSavesMore = 1U << 27;  // XGETBV tells what
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsSavesMore) == 0) return nullptr;
  unsigned saved, high;
  __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return nullptr;
  constexpr unsigned kYmm = 6;     // of XMM and YMM
  constexpr unsigned kZmm = 0xe0;  // masks, and both parts of ZMM
  constexpr unsigned kAvx2 = 1U << 5, kAvx512F = 1U << 16;
  if ((saved & kYmm) != kYmm) return nullptr;
  if ((saved & kZmm) == kZmm && (b & kAvx512F) != 0) return filter_by_512;
  return (b & kAvx2) != 0 ? filter_by_256 : nullptr;
}

}  // namespace tri::gc

#endif
