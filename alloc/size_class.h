// size_class.h - The sizes that small blocks come in.
//
// Up to 128 bytes the classes are 16 apart; above, every doubling is cut into eight. So class_size() and size_class()
// are a few shifts, no table is needed, and a block is never more than 12.5 % larger than asked for (from 64 bytes on,
// where the 16 bytes that alignment demands are the smaller share). Go's table has 67 classes by a search for little
// waste at span ends; what is left over here at the end of a span is never touched, so it costs addresses, not memory.
// Measured over bench/workloads: sixteen steps a doubling take 6 % more memory (each class keeps its own free blocks for
// each thread), four take the same and lose it again for caches of one thread (a block is 20 % too large).
//
// All sizes are multiples of 16, as the ABI wants of malloc() for every size. The tiny path of Go, which packs several
// objects into one 16-byte block, has no place in C: each object must be freed alone. Tiny here is the class of 16.
//
// Used by: span, mcache, malloc, stats.
#ifndef TRI_ALLOC_SIZE_CLASS_H
#define TRI_ALLOC_SIZE_CLASS_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/bits.h"

namespace tri {

// The heap's page. Go's is 8 KiB; half of it carves small classes at the grain in which the kernel gives memory, which is
// what 2,000 threads with a dozen classes each notice.
inline constexpr size_t kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;

inline constexpr size_t kBlockAlignment = 16;
inline constexpr size_t kMaxSmallSize = 32 * 1024;
inline constexpr unsigned kStepsPerDoubling = 8;
inline constexpr unsigned kLinearClasses = 8;  // 16, 32, ... 128
inline constexpr size_t kMaxLinearSize = kLinearClasses * kBlockAlignment;
inline constexpr unsigned kSizeClasses =
    kLinearClasses + kStepsPerDoubling * (log2_floor(kMaxSmallSize) - log2_floor(kMaxLinearSize));

using SizeClass = uint8_t;

/// The smallest class whose blocks hold `n` bytes; n <= kMaxSmallSize.
constexpr SizeClass size_class(size_t n) {
  if (n <= kMaxLinearSize) return static_cast<SizeClass>(n == 0 ? 0 : (n - 1) / kBlockAlignment);
  const unsigned doubling = log2_floor(n - 1);
  const size_t step = (n - 1) >> (doubling - 3);  // 8 ... 15
  return static_cast<SizeClass>(kLinearClasses + (doubling - log2_floor(kMaxLinearSize)) * kStepsPerDoubling + step -
                                kStepsPerDoubling);
}

constexpr size_t class_size(unsigned size_class) {
  if (size_class < kLinearClasses) return (size_class + 1) * kBlockAlignment;
  const unsigned above = size_class - kLinearClasses;
  const size_t base = kMaxLinearSize << (above / kStepsPerDoubling);
  return base + base / kStepsPerDoubling * (above % kStepsPerDoubling + 1);
}

/// Pages of a span of this class: enough blocks that a refill is rare; and no more, so that a span becomes wholly free now and
/// then, and can serve another class, and that a thread that uses many classes a little does not hold much of each. The larger
/// the block, the more its content costs compared to finding it. Over bench/workloads, twice as many take 3 % more memory.
constexpr size_t class_span_pages(unsigned size_class) {
  const size_t size = class_size(size_class);
  if (size <= 256) return 16 * 1024 / kPageSize;
  const size_t blocks = size <= 1024 ? 32 : size <= 2048 ? 8 : size <= 8192 ? 4 : 2;
  return ceil_div(blocks * size, kPageSize);
}

constexpr size_t class_capacity(unsigned size_class) {
  return class_span_pages(size_class) * kPageSize / class_size(size_class);
}

/// The smallest class that holds n bytes and whose blocks are all aligned to `alignment` (a power of two, at most a
/// page): the one whose size is a multiple of it. kSizeClasses if there is none.
constexpr unsigned aligned_size_class(size_t n, size_t alignment) {
  const size_t rounded = n == 0 ? alignment : align_up(n, alignment);
  if (rounded > kMaxSmallSize) return kSizeClasses;
  unsigned c = size_class(rounded);
  // At most eight steps: every doubling ends in a power of two.
  while (c < kSizeClasses && !is_aligned(class_size(c), alignment)) ++c;
  return c;
}

namespace size_class_proof {
constexpr bool sizes_round_trip() {
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    if (size_class(class_size(c)) != c) return false;
    if (c != 0 && size_class(class_size(c - 1) + 1) != c) return false;
    if (class_size(c) % kBlockAlignment != 0) return false;
  }
  return class_size(kSizeClasses - 1) == kMaxSmallSize;
}
constexpr bool waste_is_bounded() {
  for (unsigned c = 1; c < kSizeClasses; ++c) {
    const size_t rounding = class_size(c) - (class_size(c - 1) + 1);
    if (rounding >= kBlockAlignment && rounding * 8 > class_size(c)) return false;
    const size_t span = class_span_pages(c) * kPageSize;
    if ((span - class_capacity(c) * class_size(c)) * 5 > span) return false;
  }
  return true;
}
static_assert(sizes_round_trip());
static_assert(waste_is_bounded());
static_assert(kSizeClasses == 72);
static_assert(size_class(0) == 0);
static_assert(aligned_size_class(1, 4096) < kSizeClasses);
}  // namespace size_class_proof

}  // namespace tri

#endif
