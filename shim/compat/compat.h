// compat.h - The functions of libgc (Boehm, Demers, Weiser), on our collector: a library of its own that stands in for libgc.so.1.
//
// Programs that were built with libgc's headers find here what they import, under the same names, with the same types. What each function promises is written
// in those headers (gc.h, gc_mark.h, gc_typed.h); comments here say how it is kept, and where ours does more or something else. All of it goes by way of
// tri.h: this library knows nothing of the collector's inside.
//
//   malloc         blocks, of any kind, and back
//   uncollectable  blocks that stay until they are freed
//   kinds          kinds of blocks of the program's own, and typed ones
//   finalize       finalizers and disappearing links
//   collect        collections, and their figures
//   options        the handlers and switches
//   threads        what has to do with threads, stacks and roots
//   debug          the names that programs call that were built with GC_DEBUG
//
// A function that cannot be had is not here, so that the dynamic linker names it when the program starts. Some have nothing to do, because what they
// ask for is so in any case: their comments say why.
#ifndef TRI_SHIM_COMPAT_COMPAT_H
#define TRI_SHIM_COMPAT_COMPAT_H

#include <stddef.h>
#include <stdint.h>
#include <tri.h>

#include <atomic>

#define GC_EXPORT extern "C" [[gnu::visibility("default")]]

namespace tri::compat {

using Word = unsigned long;  // GC_word

inline bool unlikely(bool x) { return __builtin_expect(x, false); }

/// What GC_oom_fn says; with errno.
void* out_of_memory(size_t n);
/// A line for the program's warn procedure.
void warn(const char* message, Word argument);

// ---- cycles (finalize.cc)

extern const uint32_t* moments;
extern std::atomic<uint32_t> moments_seen;
/// What there is to do since a cycle began or came to its end: calls the program's procedures. In the second form only where GC_gcollect() has done without.
void moments_changed();
void notice_moments(bool call_start);
void call_start_callback();
/// In every function that allocates, before it does.
inline void look() {
  if (unlikely(__atomic_load_n(moments, __ATOMIC_RELAXED) != moments_seen.load(std::memory_order_relaxed))) {
    moments_changed();
  }
}

// ---- blocks that stay. Any thread.

/// False if there is no memory.
bool keep(const void* p);
/// Whether it was kept.
bool is_kept(const void* p);
bool forget(const void* p);
/// Whether any block is.
bool any_kept();

}  // namespace tri::compat

// Data that programs read or set by themselves.
GC_EXPORT int GC_all_interior_pointers;

namespace tri::compat {

/// The size to ask for, so that a pointer to the end of the n bytes points into the block; SIZE_MAX if there is no such size.
inline size_t padded(size_t n) { return unlikely(n > PTRDIFF_MAX) ? SIZE_MAX : n + (GC_all_interior_pointers != 0); }

/// A block by the flags of tri_alloc(); null when there is none, before out_of_memory() was asked.
inline void* allocate(size_t n, unsigned flags) { return tri_alloc(padded(n), flags); }

}  // namespace tri::compat

extern "C" {
void* GC_malloc(size_t n);
void* GC_malloc_atomic(size_t n);
void* GC_malloc_uncollectable(size_t n);
void* GC_malloc_atomic_uncollectable(size_t n);
void* GC_realloc(void* p, size_t n);
void GC_free(void* p);
char* GC_strdup(const char* s);
char* GC_strndup(const char* s, size_t n);
void GC_gcollect(void);
}

#endif
