// slice.h - A run of elements that grows at its end, as Go's slices do.
//
// A slice is three words of Go, and two that C needs: the size of an element, which no compiler knows here, and whether
// the memory is its own. A view of a slice (reslice) borrows memory: it may write where its capacity reaches, as in Go,
// but when it must grow it moves away and leaves the lender untouched; only an owner's block is ever resized or freed.
//
//   len <= cap;  owned and cap > 0 and elem_size > 0  <=>  data is a block of at least cap * elem_size bytes
//
// Capacity grows by Go's rule (runtime/slice.go since 1.18): to what is needed if that is more than double, else double
// below 256 elements and by a quarter plus 192 above, which passes smoothly from 2 to 1.25; then up to what the
// allocator would give anyway. A large block grows where it stands if the pages behind it are free, and a huge one moves by
// mapping its pages elsewhere, so most growth copies nothing.
//
// One thread at a time, or readers only. Uses: alloc. Used by: shim.
#ifndef TRI_SCHED_SLICE_H
#define TRI_SCHED_SLICE_H

#include <cstddef>

namespace tri::sched {

struct Slice {
  void* data;
  size_t len;        // elements in use
  size_t cap;        // elements that there is room for
  size_t elem_size;  // bytes; constant after init; 0 is allowed
  bool borrowed;     // the memory is another slice's, or the caller's
};

/// The capacity that Go's rule gives a slice of `cap` that must hold `needed` > cap elements, before rounding up. Neither is
/// above PTRDIFF_MAX.
constexpr size_t grown_capacity(size_t cap, size_t needed) {
  constexpr size_t kThreshold = 256;
  if (needed > cap * 2) return needed;
  if (cap < kThreshold) return cap * 2;
  size_t grown = cap;
  // At most four rounds: needed <= 2 * cap, and each adds a quarter at least.
  while (grown < needed) grown += (grown + 3 * kThreshold) / 4;
  return grown;
}

// All return 0 or -errno; a slice is as it was when they fail. -ENOMEM also stands for more bytes than can be.

/// Room for `more` elements beyond len.
[[nodiscard]] int slice_reserve(Slice* s, size_t more);
/// n elements at the end; null: zeroes. `elems` may lie in the slice itself.
[[nodiscard]] int slice_append(Slice* s, const void* elems, size_t n);
/// n elements in front of element `at`; null: zeroes. `elems` may lie in the slice itself. -ERANGE: at > len.
[[nodiscard]] int slice_insert(Slice* s, size_t at, const void* elems, size_t n);
/// Removes n elements from `at` on. -ERANGE: there are not as many.
[[nodiscard]] int slice_erase(Slice* s, size_t at, size_t n);
/// len = n; new elements are zero.
[[nodiscard]] int slice_resize(Slice* s, size_t n);
/// *out = s[low:high:max], borrowed. -ERANGE unless low <= high <= max <= cap.
[[nodiscard]] int slice_view(const Slice* s, size_t low, size_t high, size_t max, Slice* out);
/// *out = the same elements in memory of their own, with as little room as the allocator gives.
[[nodiscard]] int slice_clone(const Slice* s, Slice* out);
/// Gives back what is beyond len.
[[nodiscard]] int slice_clip(Slice* s);
/// Copies min(dst->len, src->len) elements; they may overlap. The number; the element sizes must agree.
size_t slice_copy(Slice* dst, const Slice* src);
/// Frees what is owned; the slice is then empty and may be used again.
void slice_free(Slice* s);

/// "index out of range", in one line, and the end.
[[noreturn, gnu::cold]] void slice_out_of_range(size_t index, size_t len);

}  // namespace tri::sched

#endif
