// slice.cc - See slice.h.
#include "sched/slice.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "alloc/base/check.h"
#include "alloc/base/print.h"
#include "alloc/malloc.h"

namespace tri::sched {
namespace {

// What elements of no size point to: a slice that is not null, and nothing to read.
constinit char zero_base = 0;

char* at(const Slice* s, size_t i) { return static_cast<char*>(s->data) + i * s->elem_size; }

/// memcpy and memset forbid null even for no bytes.
void copy_bytes(void* to, const void* from, size_t n) {
  if (n != 0) memcpy(to, from, n);
}
void move_bytes(void* to, const void* from, size_t n) {
  if (n != 0 && to != from) memmove(to, from, n);
}
void zero_bytes(void* to, size_t n) {
  if (n != 0) memset(to, 0, n);
}

void verify(const Slice* s) {
  TRI_ASSERT(s->len <= s->cap);
  TRI_ASSERT(s->borrowed || s->elem_size == 0 || (s->cap == 0) == (s->data == nullptr));
  TRI_ASSERT(s->borrowed || s->elem_size == 0 || usable_size(s->data) >= s->cap * s->elem_size);
}

/// Gives the slice a block for `cap` elements, and as many more as fit into what the allocator rounds it up to.
int set_capacity(Slice* s, size_t cap) {
  const size_t size = s->elem_size;
  if (size == 0) {
    s->data = &zero_base;
    s->cap = cap;
    return 0;
  }
  size_t bytes;
  if (__builtin_mul_overflow(cap, size, &bytes) || bytes > PTRDIFF_MAX) return -ENOMEM;
  void* data;
  if (s->borrowed || s->data == nullptr) {
    data = allocate(bytes);
    if (data != nullptr) copy_bytes(data, s->data, (s->len < cap ? s->len : cap) * size);
  } else {
    data = reallocate(s->data, bytes);
  }
  if (data == nullptr) return -ENOMEM;
  s->data = data;
  s->cap = usable_size(data) / size;  // what the block was rounded up to is room, too
  s->borrowed = false;
  return 0;
}

[[gnu::noinline]] int grow(Slice* s, size_t needed) {
  size_t bytes;
  if (__builtin_mul_overflow(needed, s->elem_size, &bytes) || bytes > PTRDIFF_MAX) return -ENOMEM;
  const size_t cap = s->elem_size == 0 ? needed : grown_capacity(s->cap, needed);
  int result = set_capacity(s, cap);
  // What is needed may be there where what the rule wants is not.
  if (result != 0 && cap != needed) result = set_capacity(s, needed);
  verify(s);
  return result;
}

/// True if `elems` are elements of the slice: they move when it does.
bool is_within(const Slice* s, const void* elems) {
  const auto begin = reinterpret_cast<uintptr_t>(s->data);
  const auto p = reinterpret_cast<uintptr_t>(elems);
  return s->data != nullptr && p - begin < s->len * s->elem_size;
}

}  // namespace

int slice_reserve(Slice* s, size_t more) {
  if (TRI_LIKELY(more <= s->cap - s->len)) return 0;
  size_t needed;
  if (__builtin_add_overflow(s->len, more, &needed)) return -ENOMEM;
  return grow(s, needed);
}

int slice_append(Slice* s, const void* elems, size_t n) {
  if (TRI_UNLIKELY(n > s->cap - s->len)) {
    const bool own = elems != nullptr && is_within(s, elems);
    const size_t offset = own ? static_cast<size_t>(static_cast<const char*>(elems) - at(s, 0)) : 0;
    if (const int result = slice_reserve(s, n); result != 0) return result;
    if (own) elems = at(s, 0) + offset;
  }
  const size_t bytes = n * s->elem_size;
  if (elems == nullptr) {
    zero_bytes(at(s, s->len), bytes);
  } else {
    copy_bytes(at(s, s->len), elems, bytes);
  }
  s->len += n;
  return 0;
}

int slice_insert(Slice* s, size_t i, const void* elems, size_t n) {
  if (i > s->len) return -ERANGE;
  const bool own = elems != nullptr && is_within(s, elems);
  const size_t offset = own ? static_cast<size_t>(static_cast<const char*>(elems) - at(s, 0)) : 0;
  if (const int result = slice_reserve(s, n); result != 0) return result;
  char* const to = at(s, i);
  const size_t bytes = n * s->elem_size;
  move_bytes(to + bytes, to, (s->len - i) * s->elem_size);
  if (elems == nullptr) {
    zero_bytes(to, bytes);
  } else if (!own) {
    copy_bytes(to, elems, bytes);
  } else {
    // The part in front of `to` stayed, the part from there on made room.
    const size_t split = i * s->elem_size;
    const size_t stayed = offset >= split ? 0 : (split - offset < bytes ? split - offset : bytes);
    copy_bytes(to, at(s, 0) + offset, stayed);
    copy_bytes(to + stayed, at(s, 0) + offset + stayed + bytes, bytes - stayed);
  }
  s->len += n;
  return 0;
}

int slice_erase(Slice* s, size_t i, size_t n) {
  if (i > s->len || n > s->len - i) return -ERANGE;
  move_bytes(at(s, i), at(s, i + n), (s->len - i - n) * s->elem_size);
  s->len -= n;
  return 0;
}

int slice_resize(Slice* s, size_t n) {
  if (n > s->len) {
    if (const int result = slice_reserve(s, n - s->len); result != 0) return result;
    zero_bytes(at(s, s->len), (n - s->len) * s->elem_size);
  }
  s->len = n;
  return 0;
}

int slice_view(const Slice* s, size_t low, size_t high, size_t max, Slice* out) {
  if (low > high || high > max || max > s->cap) return -ERANGE;
  *out = Slice{s->data == nullptr ? nullptr : at(s, low), high - low, max - low, s->elem_size, true};
  return 0;
}

int slice_clone(const Slice* s, Slice* out) {
  Slice copy{nullptr, 0, 0, s->elem_size, false};
  if (s->len != 0) {
    if (const int result = set_capacity(&copy, s->len); result != 0) return result;
    copy_bytes(copy.data, s->data, s->len * s->elem_size);
    copy.len = s->len;
  }
  verify(&copy);
  *out = copy;
  return 0;
}

int slice_clip(Slice* s) {
  if (s->borrowed || s->elem_size == 0) {
    s->cap = s->len;
    return 0;
  }
  if (s->len == 0) {
    slice_free(s);
    return 0;
  }
  const int result = s->len == s->cap ? 0 : set_capacity(s, s->len);
  verify(s);
  return result;
}

size_t slice_copy(Slice* dst, const Slice* src) {
  TRI_CHECK(dst->elem_size == src->elem_size);
  const size_t n = dst->len < src->len ? dst->len : src->len;
  move_bytes(dst->data, src->data, n * dst->elem_size);
  return n;
}

void slice_free(Slice* s) {
  if (!s->borrowed && s->elem_size != 0) deallocate(s->data);
  *s = Slice{nullptr, 0, 0, s->elem_size, false};
}

void slice_out_of_range(size_t index, size_t len) {
  Line line;
  line.text("tri: index ").number(uint64_t{index}).text(" out of range of a slice of length ").number(uint64_t{len});
  line.in_program().write_to(2);
  abort();
}

}  // namespace tri::sched
