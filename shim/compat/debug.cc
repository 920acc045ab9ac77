// debug.cc - The names that programs call that were built with GC_DEBUG. See compat.h.
//
// libgc's blocks then begin with a header, of who asked for them, and are checked in each collection for writes beyond their ends. Ours are the same as all others. The library's own
// checks of the heap are always there (TRI=check), and TRI=leaks:on says where blocks were allocated.
#include "shim/compat/compat.h"

using Finalizer = void (*)(void*, void*);

extern "C" {
void* GC_malloc_ignore_off_page(size_t n);
void* GC_malloc_atomic_ignore_off_page(size_t n);
void GC_register_finalizer(void*, Finalizer, void*, Finalizer*, void**);
void GC_register_finalizer_ignore_self(void*, Finalizer, void*, Finalizer*, void**);
void GC_register_finalizer_no_order(void*, Finalizer, void*, Finalizer*, void**);
}

GC_EXPORT size_t GC_get_debug_header_size() { return 0; }

GC_EXPORT void* GC_debug_malloc(size_t n, const char*, int) { return GC_malloc(n); }
GC_EXPORT void* GC_debug_malloc_atomic(size_t n, const char*, int) { return GC_malloc_atomic(n); }
GC_EXPORT void* GC_debug_malloc_uncollectable(size_t n, const char*, int) { return GC_malloc_uncollectable(n); }
GC_EXPORT void* GC_debug_malloc_atomic_uncollectable(size_t n, const char*, int) {
  return GC_malloc_atomic_uncollectable(n);
}
GC_EXPORT void* GC_debug_malloc_ignore_off_page(size_t n, const char*, int) { return GC_malloc_ignore_off_page(n); }
GC_EXPORT void* GC_debug_malloc_atomic_ignore_off_page(size_t n, const char*, int) {
  return GC_malloc_atomic_ignore_off_page(n);
}
GC_EXPORT void* GC_debug_malloc_replacement(size_t n) { return GC_malloc(n); }
GC_EXPORT void* GC_debug_realloc(void* p, size_t n, const char*, int) { return GC_realloc(p, n); }
GC_EXPORT void* GC_debug_realloc_replacement(void* p, size_t n) { return GC_realloc(p, n); }
GC_EXPORT void GC_debug_free(void* p) { GC_free(p); }
GC_EXPORT char* GC_debug_strdup(const char* s, const char*, int) { return GC_strdup(s); }
GC_EXPORT char* GC_debug_strndup(const char* s, size_t n, const char*, int) { return GC_strndup(s, n); }

GC_EXPORT void GC_debug_register_finalizer(void* p, Finalizer fn, void* arg, Finalizer* old_fn, void** old_arg) {
  GC_register_finalizer(p, fn, arg, old_fn, old_arg);
}
GC_EXPORT void GC_debug_register_finalizer_ignore_self(void* p, Finalizer fn, void* arg, Finalizer* old_fn,
                                                       void** old_arg) {
  GC_register_finalizer_ignore_self(p, fn, arg, old_fn, old_arg);
}
GC_EXPORT void GC_debug_register_finalizer_no_order(void* p, Finalizer fn, void* arg, Finalizer* old_fn,
                                                    void** old_arg) {
  GC_register_finalizer_no_order(p, fn, arg, old_fn, old_arg);
}
GC_EXPORT void GC_debug_register_displacement(size_t) {}
GC_EXPORT void GC_debug_change_stubborn(const void*) {}
GC_EXPORT void GC_debug_end_stubborn_change(const void*) {}
GC_EXPORT void GC_debug_ptr_store_and_dirty(void* p, const void* q) { *static_cast<const void**>(p) = q; }
