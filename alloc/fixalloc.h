// fixalloc.h - A free list of records of one type.
//
// The memory is type-stable: once a T, always a T, so a stale pointer to a record can be read (and found out of date)
// without a crash. The caller brings the lock.
//
// Uses: persistent. Used by: mheap (Span).
#ifndef TRI_ALLOC_FIXALLOC_H
#define TRI_ALLOC_FIXALLOC_H

#include <new>

#include "alloc/persistent.h"

namespace tri {

template <class T, T* T::*Next>
class FixAlloc {
 public:
  /// Null when there is no memory. The record is as free() left it, or zero.
  [[nodiscard]] T* alloc() {
    T* t = free_;
    if (t == nullptr) {
      void* memory = persistent::alloc(sizeof(T), alignof(T));
      if (memory == nullptr) return nullptr;
      t = ::new (memory) T;
    } else {
      free_ = t->*Next;
      t->*Next = nullptr;
    }
    ++in_use_;
    return t;
  }

  void free(T* t) {
    t->*Next = free_;
    free_ = t;
    --in_use_;
  }

  size_t in_use() const { return in_use_; }

 private:
  T* free_ = nullptr;
  size_t in_use_ = 0;
};

}  // namespace tri

#endif
