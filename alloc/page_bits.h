// page_bits.h - A bit for each page of an arena.
//
// Ranges are [first, first + count). Guarded by whoever guards the arena.
#ifndef TRI_ALLOC_PAGE_BITS_H
#define TRI_ALLOC_PAGE_BITS_H

#include <bit>
#include <cstddef>
#include <cstdint>

#include "alloc/base/check.h"

namespace tri {

template <size_t kBits>
class PageBits {
  static_assert(kBits % 64 == 0);

 public:
  bool test(size_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }

  /// 64 of them, from 64 * i on.
  uint64_t word(size_t i) const { return words_[i]; }

  void set_word(size_t i, uint64_t bits) { words_[i] = bits; }

  void set(size_t first, size_t count) {
    each_word(first, count, [this](size_t w, uint64_t mask) { words_[w] |= mask; });
  }
  void clear(size_t first, size_t count) {
    each_word(first, count, [this](size_t w, uint64_t mask) { words_[w] &= ~mask; });
  }
  size_t count(size_t first, size_t length) const {
    size_t n = 0;
    each_word(first, length,
              [&](size_t w, uint64_t mask) { n += static_cast<size_t>(std::popcount(words_[w] & mask)); });
    return n;
  }
  bool all(size_t first, size_t length) const { return count(first, length) == length; }
  bool none(size_t first, size_t length) const { return count(first, length) == 0; }

  /// The first i in [from, to) whose bit is `value`; `to` if there is none.
  size_t find(bool value, size_t from, size_t to) const {
    TRI_ASSERT(to <= kBits);
    while (from < to) {
      const uint64_t word = (value ? words_[from / 64] : ~words_[from / 64]) >> (from % 64);
      if (word != 0) {
        const size_t i = from + static_cast<size_t>(std::countr_zero(word));
        return i < to ? i : to;
      }
      from = (from / 64 + 1) * 64;
    }
    return to;
  }

  /// The start of the first run of at least `length` clear bits in [from, to); `to` if there is none.
  size_t find_clear_run(size_t length, size_t from, size_t to) const {
    while (from < to) {
      const size_t begin = find(false, from, to);
      const size_t end = find(true, begin, to);
      if (end - begin >= length) return begin;
      from = end;
    }
    return to;
  }

 private:
  template <class Fn>
  static void each_word(size_t first, size_t count, Fn&& fn) {
    TRI_ASSERT(first + count <= kBits);
    while (count != 0) {
      const size_t bit = first % 64;
      const size_t n = count < 64 - bit ? count : 64 - bit;
      fn(first / 64, (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << bit);
      first += n;
      count -= n;
    }
  }

  uint64_t words_[kBits / 64] = {};
};

}  // namespace tri

#endif
