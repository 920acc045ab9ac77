// gc_names.h - What the tests call of libgc's functions, as its headers declare them.
#ifndef TRI_TESTS_COMPAT_GC_NAMES_H
#define TRI_TESTS_COMPAT_GC_NAMES_H

#include <pthread.h>
#include <stddef.h>
#include <wchar.h>

extern "C" {
using GC_word = unsigned long;
using GC_finalization_proc = void (*)(void*, void*);
struct GC_stack_base {
  void* mem_base;
};

extern int GC_all_interior_pointers;
extern void* GC_stackbottom;
extern void* GC_least_plausible_heap_addr;
extern void* GC_greatest_plausible_heap_addr;

void GC_init();
unsigned GC_get_version();
void* GC_malloc(size_t);
void* GC_malloc_atomic(size_t);
void* GC_malloc_uncollectable(size_t);
void* GC_malloc_atomic_uncollectable(size_t);
void* GC_malloc_many(size_t);
void* GC_malloc_ignore_off_page(size_t);
void* GC_memalign(size_t, size_t);
int GC_posix_memalign(void**, size_t, size_t);
void* GC_realloc(void*, size_t);
void GC_free(void*);
char* GC_strdup(const char*);
char* GC_strndup(const char*, size_t);
wchar_t* GC_wcsdup(const wchar_t*);
void* GC_base(void*);
int GC_is_heap_ptr(const void*);
size_t GC_size(const void*);

void GC_gcollect();
void GC_gcollect_and_unmap();
int GC_try_to_collect(int (*)());
int GC_collect_a_little();
void GC_disable();
void GC_enable();
int GC_is_disabled();
int GC_expand_hp(size_t);
GC_word GC_get_gc_no();
size_t GC_get_heap_size();
size_t GC_get_free_bytes();
size_t GC_get_bytes_since_gc();
size_t GC_get_total_bytes();
void GC_get_heap_usage_safe(GC_word*, GC_word*, GC_word*, GC_word*, GC_word*);

void GC_set_oom_fn(void* (*)(size_t));
void* (*GC_get_oom_fn())(size_t);
void GC_set_warn_proc(void (*)(char*, GC_word));
void (*GC_get_warn_proc())(char*, GC_word);
void GC_set_all_interior_pointers(int);
void GC_set_free_space_divisor(GC_word);
GC_word GC_get_free_space_divisor();

void GC_register_finalizer(void*, GC_finalization_proc, void*, GC_finalization_proc*, void**);
void GC_register_finalizer_ignore_self(void*, GC_finalization_proc, void*, GC_finalization_proc*, void**);
void GC_register_finalizer_no_order(void*, GC_finalization_proc, void*, GC_finalization_proc*, void**);
int GC_invoke_finalizers();
int GC_should_invoke_finalizers();
void GC_set_finalize_on_demand(int);
void GC_set_finalizer_notifier(void (*)());
void GC_set_start_callback(void (*)());

int GC_general_register_disappearing_link(void**, const void*);
int GC_register_disappearing_link(void**);
int GC_unregister_disappearing_link(void**);
int GC_move_disappearing_link(void**, void**);
int GC_register_long_link(void**, const void*);
void* GC_call_with_alloc_lock(void* (*)(void*), void*);

void** GC_new_free_list();
unsigned GC_new_proc(void* (*)(GC_word*, void*, void*, GC_word));
unsigned GC_new_kind(void**, GC_word, int, int);
void* GC_generic_malloc(size_t, int);
void GC_generic_malloc_many(size_t, int, void**);
GC_word GC_make_descriptor(const GC_word*, size_t);
void* GC_malloc_explicitly_typed(size_t, GC_word);
void* GC_calloc_explicitly_typed(size_t, size_t, GC_word);

void GC_allow_register_threads();
int GC_register_my_thread(const GC_stack_base*);
int GC_unregister_my_thread();
int GC_thread_is_registered();
int GC_get_stack_base(GC_stack_base*);
void* GC_call_with_stack_base(void* (*)(GC_stack_base*, void*), void*);
void* GC_do_blocking(void* (*)(void*), void*);
void* GC_call_with_gc_active(void* (*)(void*), void*);
int GC_get_suspend_signal();
int GC_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int GC_pthread_join(pthread_t, void**);
int GC_pthread_sigmask(int, const sigset_t*, sigset_t*);

void GC_add_roots(void*, void*);
void GC_remove_roots(void*, void*);
void GC_clear_roots();

void* GC_debug_malloc(size_t, const char*, int);
void GC_debug_free(void*);
size_t GC_get_debug_header_size();
}

#endif
