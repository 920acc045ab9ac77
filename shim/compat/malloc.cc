// malloc.cc - Blocks: GC_malloc() and its relatives. See compat.h.
//
// All memory is zeroed, also where libgc does not promise it. A block of n bytes has room for one more, so that a pointer to its end keeps it, unless the
// program has set GC_all_interior_pointers to 0: what then does not have to keep a block, a pointer to its middle, keeps it all the same.
#include <errno.h>
#include <string.h>
#include <wchar.h>

#include "shim/compat/compat.h"

namespace tri::compat {

namespace {

[[gnu::always_inline]] inline void* allocate_or_fail(size_t n, unsigned flags) {
  look();
  void* const p = allocate(n, flags);
  return unlikely(p == nullptr) ? out_of_memory(n) : p;
}

void* allocate_kept(size_t n, unsigned flags) {
  look();
  void* const p = allocate(n, flags);
  if (unlikely(p == nullptr)) return out_of_memory(n);
  if (keep(p)) return p;
  tri_free(p);
  return out_of_memory(n);
}

/// Beyond what the program asks for, a block is always zeroed: it may ask for more later on, and old words there would keep other blocks.
void clear_end(void* p, size_t n, size_t before) {
  const size_t now = tri_size(p);
  const size_t end = before < now ? before : now;
  if (n < end) memset(static_cast<char*>(p) + n, 0, end - n);
}

void* reallocate_kept(void* p, size_t n) {
  const size_t before = tri_size(p);
  if (padded(n) <= before && n > before / 2) {
    clear_end(p, n, before);
    return p;
  }
  void* const q = GC_malloc_uncollectable(n);
  if (q == nullptr) return nullptr;
  memcpy(q, p, before < n ? before : n);
  GC_free(p);
  return q;
}

template <class Char>
Char* copy_of(const Char* s, size_t n) {
  auto* const p = static_cast<Char*>(GC_malloc_atomic((n + 1) * sizeof(Char)));
  if (p == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  memcpy(p, s, n * sizeof(Char));
  p[n] = 0;
  return p;
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

GC_EXPORT void* GC_malloc(size_t n) { return allocate_or_fail(n, TRI_GC); }
GC_EXPORT void* GC_malloc_atomic(size_t n) { return allocate_or_fail(n, TRI_GC | TRI_NOSCAN); }

GC_EXPORT void* GC_malloc_uncollectable(size_t n) { return allocate_kept(n, TRI_GC); }
GC_EXPORT void* GC_malloc_atomic_uncollectable(size_t n) { return allocate_kept(n, TRI_GC | TRI_NOSCAN); }

// The promise that a pointer to the first 256 bytes will be there is not made use of: others keep the block as well.
GC_EXPORT void* GC_malloc_ignore_off_page(size_t n) { return GC_malloc(n); }
GC_EXPORT void* GC_malloc_atomic_ignore_off_page(size_t n) { return GC_malloc_atomic(n); }
// Blocks of which the program promises not to change them are no longer told apart, in libgc either.
GC_EXPORT void* GC_malloc_stubborn(size_t n) { return GC_malloc(n); }

GC_EXPORT void* GC_memalign(size_t alignment, size_t n) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) return nullptr;
  return allocate_or_fail(n, TRI_GC | TRI_ALIGN(alignment));
}

GC_EXPORT int GC_posix_memalign(void** out, size_t alignment, size_t n) {
  if (alignment < sizeof(void*) || (alignment & (alignment - 1)) != 0) return EINVAL;
  void* const p = GC_memalign(alignment, n);
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}

GC_EXPORT void GC_free(void* p) {
  if (unlikely(any_kept())) (void)forget(p);
  tri_free(p);
}

GC_EXPORT void* GC_realloc(void* p, size_t n) {
  if (p == nullptr) return GC_malloc(n);
  if (n == 0) {
    GC_free(p);
    return nullptr;
  }
  // A larger block may have no room in the table, so that the old one must stay until then.
  if (unlikely(any_kept()) && is_kept(p)) return reallocate_kept(p, n);
  look();
  const size_t before = tri_size(p);
  void* const q = tri_realloc(p, padded(n), 0);
  if (unlikely(q == nullptr)) return out_of_memory(n);
  clear_end(q, n, before);
  return q;
}

GC_EXPORT char* GC_strdup(const char* s) { return s == nullptr ? nullptr : copy_of(s, strlen(s)); }
GC_EXPORT char* GC_strndup(const char* s, size_t n) { return copy_of(s, strnlen(s, n)); }
GC_EXPORT wchar_t* GC_wcsdup(const wchar_t* s) { return copy_of(s, wcslen(s)); }

// ---- what is known of a block ---------------------------------------------------------------------------------------------

GC_EXPORT void* GC_base(void* p) { return tri_gc_base(p); }
GC_EXPORT int GC_is_heap_ptr(const void* p) { return tri_gc_base(p) != nullptr; }
GC_EXPORT size_t GC_size(const void* p) { return tri_size(p); }

// Written pages are found by the kernel, so that nobody has to tell of writes.
GC_EXPORT void GC_change_stubborn(const void*) {}
GC_EXPORT void GC_end_stubborn_change(const void*) {}
GC_EXPORT void GC_ptr_store_and_dirty(void* p, const void* q) { *static_cast<const void**>(p) = q; }
