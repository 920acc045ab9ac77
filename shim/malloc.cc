// malloc.cc - The malloc family of C17, C23, POSIX, BSD and glibc, as programs call it.
//
// Arguments are checked here, errno is set here and nowhere below; every function behaves as glibc's, in what it
// returns for odd arguments, too. The fast paths are inlined from alloc/malloc.h: malloc() and free() make no call.
#include "alloc/malloc.h"

#include <errno.h>

#include <cstring>

#include "alloc/os/os.h"
#include "shim/export.h"

namespace tri {
namespace {

[[gnu::cold, gnu::noinline]] void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

[[gnu::noinline]] void* malloc_slow(size_t n) {
  void* const p = allocate_slow(n);
  return p != nullptr ? p : out_of_memory();
}

void* or_out_of_memory(void* p) { return p != nullptr ? p : out_of_memory(); }

/// glibc's rule for alignments that are no power of two: the next one up. 0 if there is none.
size_t round_alignment(size_t alignment) {
  if (alignment <= kBlockAlignment) return kBlockAlignment;
  return alignment > (SIZE_MAX >> 1) + 1 ? 0 : std::bit_ceil(alignment);
}

void* allocate_rounded(size_t alignment, size_t n) {
  alignment = round_alignment(alignment);
  if (alignment == 0) {
    errno = EINVAL;
    return nullptr;
  }
  return or_out_of_memory(allocate_aligned(n, alignment));
}

void* allocate_pages(size_t n, bool whole) {
  const size_t page = os::page_size();
  if (whole) {
    if (n > PTRDIFF_MAX - page) return out_of_memory();
    n = align_up(n == 0 ? 1 : n, page);
  }
  return or_out_of_memory(allocate_aligned(n, page));
}

void* resize(void* p, size_t n) {
  if (p == nullptr) return malloc(n);
  if (n == 0) {
    deallocate(p);
    return nullptr;
  }
  return or_out_of_memory(reallocate(p, n));
}

}  // namespace
}  // namespace tri

using namespace tri;

TRI_EXPORT_BEGIN

void* malloc(size_t n) { return allocate_or<malloc_slow>(n); }

void free(void* p) { deallocate_inline(p); }

void* calloc(size_t count, size_t size) {
  size_t n;
  if (TRI_UNLIKELY(__builtin_mul_overflow(count, size, &n))) return out_of_memory();
  return or_out_of_memory(allocate_zeroed(n));
}

void* realloc(void* p, size_t n) { return resize(p, n); }

void* reallocarray(void* p, size_t count, size_t size) {
  size_t n;
  if (__builtin_mul_overflow(count, size, &n)) return out_of_memory();
  return resize(p, n);
}

void* reallocf(void* p, size_t n) {
  void* const q = resize(p, n);
  if (q == nullptr && n != 0) deallocate(p);
  return q;
}

void cfree(void* p) { deallocate(p); }

void free_sized(void* p, size_t n) { deallocate_sized_inline(p, n); }

void free_aligned_sized(void* p, size_t alignment, size_t n) {
  deallocate_aligned_sized(p, n, round_alignment(alignment));
}

void* aligned_alloc(size_t alignment, size_t n) { return allocate_rounded(alignment, n); }

void* memalign(size_t alignment, size_t n) { return allocate_rounded(alignment, n); }

int posix_memalign(void** out, size_t alignment, size_t n) {
  if (!is_power_of_two(alignment) || alignment % sizeof(void*) != 0) return EINVAL;
  void* const p = allocate_aligned(n, alignment);
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}

void* valloc(size_t n) { return allocate_pages(n, false); }

void* pvalloc(size_t n) { return allocate_pages(n, true); }

size_t malloc_usable_size(void* p) { return usable_size(p); }

size_t malloc_good_size(size_t n) {
  const size_t good = good_size(n);
  return good == 0 ? n : good;
}

// jemalloc's two entry points that other projects call by name. The low six bits of flags are log2 of the alignment.
size_t nallocx(size_t n, int flags) {
  const size_t alignment = size_t{1} << (flags & 63);
  if (alignment <= kBlockAlignment) return good_size(n);
  const unsigned c = alignment <= kPageSize && n <= kMaxSmallSize ? aligned_size_class(n, alignment) : kSizeClasses;
  return c < kSizeClasses ? class_size(c) : good_size(n <= kMaxSmallSize ? kMaxSmallSize + 1 : n);
}

void sdallocx(void* p, size_t n, int flags) { deallocate_aligned_sized(p, n, size_t{1} << (flags & 63)); }

void* __libc_malloc(size_t n) { return malloc(n); }
void* __libc_calloc(size_t count, size_t size) { return calloc(count, size); }
void* __libc_realloc(void* p, size_t n) { return resize(p, n); }
void __libc_free(void* p) { deallocate(p); }
void* __libc_memalign(size_t alignment, size_t n) { return allocate_rounded(alignment, n); }
void* __libc_valloc(size_t n) { return allocate_pages(n, false); }
void* __libc_pvalloc(size_t n) { return allocate_pages(n, true); }

TRI_EXPORT_END
