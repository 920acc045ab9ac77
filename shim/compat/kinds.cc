// kinds.cc - Kinds of blocks that the program makes itself, typed blocks, and lists of them. See compat.h.
//
// gc_mark.h asks of a mark procedure that it looks for pointers in a part of the places only in which the conservative marker would, and that this marker may take its
// place at any time. Here it always does: no procedure is called, and each block is searched word by word, unless its descriptor says that it holds no pointers at
// all. So a kind keeps what its procedure would have marked, and possibly more. The same goes for typed blocks, of which gc_typed.h allows the conservative
// approximation.
#include <stdlib.h>

#include <atomic>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

using MarkProc = void* (*)(Word*, void*, void*, Word);

enum BuiltIn : unsigned { kPointerFree, kNormal, kUncollectable, kPointerFreeUncollectable, kFirstFree };
// As many as libgc has, and more than any program that is known makes.
constexpr unsigned kMostKinds = 64;
constexpr unsigned kMostProcs = 64;  // as many as GC_MAKE_PROC() has room for
constexpr unsigned kFirstProc = 8;   // GC_RESERVED_MARK_PROCS
constexpr size_t kManyBytes = 4096;  // in one list: a block of libgc's heap
constexpr size_t kBitsInDescriptor = 62;
constexpr Word kBitmap = 1;  // GC_DS_BITMAP; 0 is a length

constinit std::atomic<unsigned> kinds{kFirstFree};
constinit std::atomic<bool> kind_is_pointer_free[kMostKinds] = {};
constinit std::atomic<unsigned> procs{kFirstProc};

unsigned flags_of(unsigned kind) {
  const bool pointer_free = kind == kPointerFree || kind == kPointerFreeUncollectable ||
                            (kind < kMostKinds && kind_is_pointer_free[kind].load(std::memory_order_relaxed));
  return pointer_free ? TRI_GC | TRI_NOSCAN : TRI_GC;
}

bool is_uncollectable(unsigned kind) { return kind == kUncollectable || kind == kPointerFreeUncollectable; }

[[noreturn]] void too_many(const char* what) {
  warn(what, 0);
  abort();
}

/// Blocks that are linked by their first words; as many as there is memory for.
void* list_of(size_t n, unsigned flags) {
  void* first = nullptr;
  const size_t count = n >= kManyBytes ? 1 : kManyBytes / (n < 16 ? 16 : n);
  for (size_t i = 0; i < count; ++i) {
    void* const p = allocate(n, flags);
    if (p == nullptr) break;
    *static_cast<void**>(p) = first;
    first = p;
  }
  return first;
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

// ---- kinds --------------------------------------------------------------------------------------------------------------

// Lists of free blocks are the collector's own; what the program gets stands for one, and is given back to GC_new_kind().
GC_EXPORT void** GC_new_free_list() { return static_cast<void**>(tri_alloc(sizeof(void*), TRI_ZERO)); }
GC_EXPORT void** GC_new_free_list_inner() { return GC_new_free_list(); }

GC_EXPORT unsigned GC_new_proc(MarkProc) {
  const unsigned n = procs.fetch_add(1, std::memory_order_relaxed);
  if (n >= kMostProcs) too_many("GC: too many mark procedures\n");
  return n;
}
GC_EXPORT unsigned GC_new_proc_inner(MarkProc proc) { return GC_new_proc(proc); }

GC_EXPORT unsigned GC_new_kind(void**, Word descriptor, int add_size, int) {
  const unsigned n = kinds.fetch_add(1, std::memory_order_relaxed);
  if (n >= kMostKinds) too_many("GC: too many kinds\n");
  // A length of 0.
  kind_is_pointer_free[n].store(descriptor == 0 && add_size == 0, std::memory_order_relaxed);
  return n;
}
GC_EXPORT unsigned GC_new_kind_inner(void** list, Word descriptor, int add_size, int clear) {
  return GC_new_kind(list, descriptor, add_size, clear);
}

// For mark procedures and for the program's other roots: neither is ever called, so these have nothing to add to.
GC_EXPORT void* GC_mark_and_push(void*, void* stack, void*, void**) { return stack; }

GC_EXPORT void* GC_generic_malloc(size_t n, int kind) {
  const auto k = static_cast<unsigned>(kind);
  if (is_uncollectable(k)) return k == kUncollectable ? GC_malloc_uncollectable(n) : GC_malloc_atomic_uncollectable(n);
  look();
  void* const p = allocate(n, flags_of(k));
  return unlikely(p == nullptr) ? out_of_memory(n) : p;
}
GC_EXPORT void* GC_generic_malloc_ignore_off_page(size_t n, int kind) { return GC_generic_malloc(n, kind); }

GC_EXPORT void GC_generic_malloc_many(size_t n, int kind, void** result) {
  look();
  void* const list = list_of(n, flags_of(static_cast<unsigned>(kind)));
  *result = unlikely(list == nullptr) ? out_of_memory(n) : list;
}

GC_EXPORT void* GC_malloc_many(size_t n) {
  look();
  void* const list = list_of(n, TRI_GC);
  return unlikely(list == nullptr) ? out_of_memory(n) : list;
}

// ---- typed blocks -----------------------------------------------------------------------------------------------------------

GC_EXPORT Word GC_make_descriptor(const Word* bitmap, size_t bits) {
  constexpr size_t kWordBits = 8 * sizeof(Word);
  Word descriptor = 0;
  size_t last = 0;
  for (size_t i = 0; i < bits; ++i) {
    if ((bitmap[i / kWordBits] >> (i % kWordBits) & 1) == 0) continue;
    if (i < kBitsInDescriptor) descriptor |= Word{1} << (kWordBits - 1 - i);
    last = i + 1;
  }
  if (last == 0) return 0;
  return last <= kBitsInDescriptor ? descriptor | kBitmap : last * sizeof(void*);
}

GC_EXPORT void* GC_malloc_explicitly_typed(size_t n, Word descriptor) {
  return descriptor == 0 ? GC_malloc_atomic(n) : GC_malloc(n);
}
GC_EXPORT void* GC_malloc_explicitly_typed_ignore_off_page(size_t n, Word descriptor) {
  return GC_malloc_explicitly_typed(n, descriptor);
}
GC_EXPORT void* GC_calloc_explicitly_typed(size_t count, size_t n, Word descriptor) {
  size_t bytes;
  if (__builtin_mul_overflow(count, n, &bytes)) return out_of_memory(SIZE_MAX);
  return GC_malloc_explicitly_typed(bytes, descriptor);
}
