// api.h - The allocation functions as data, so that one test visits all of them.
//
// Functions that this system's headers do not declare (C23, BSD, jemalloc's names) are found at run time.
//
// Used by: api_*_test.cc, new_delete_test.cc.
#pragma once

#include <dlfcn.h>
#include <malloc.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void __libc_free(void*);
void* __libc_memalign(size_t, size_t);
void* __libc_valloc(size_t);
void* __libc_pvalloc(size_t);
}

namespace tri_test {

template <class Function>
Function* exported(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

using Allocate = void* (*)(size_t);

struct Allocator {
  const char* name;
  Allocate allocate;  // null on failure
  bool sets_errno;    // posix_memalign returns the error instead
};

inline void* by_posix_memalign(size_t n) {
  void* p = nullptr;
  return posix_memalign(&p, 64, n) == 0 ? p : nullptr;
}

// Every way to ask for n bytes that answers failure with null.
inline const std::vector<Allocator>& allocators() {
  static const std::vector<Allocator> all = {
      {"malloc", [](size_t n) { return malloc(n); }, true},
      {"calloc(1, n)", [](size_t n) { return calloc(1, n); }, true},
      {"calloc(n, 1)", [](size_t n) { return calloc(n, 1); }, true},
      {"realloc(null, n)", [](size_t n) { return realloc(nullptr, n); }, true},
      {"reallocarray(null, 1, n)", [](size_t n) { return reallocarray(nullptr, 1, n); }, true},
      {"reallocarray(null, n, 1)", [](size_t n) { return reallocarray(nullptr, n, 1); }, true},
      {"aligned_alloc(16, n)", [](size_t n) { return aligned_alloc(16, n); }, true},
      {"aligned_alloc(4096, n)", [](size_t n) { return aligned_alloc(4096, n); }, true},
      {"memalign(64, n)", [](size_t n) { return memalign(64, n); }, true},
      {"memalign(2 MiB, n)", [](size_t n) { return memalign(2u << 20, n); }, true},
      {"posix_memalign(64, n)", by_posix_memalign, false},
      {"valloc", [](size_t n) { return valloc(n); }, true},
      {"pvalloc", [](size_t n) { return pvalloc(n); }, true},
      {"__libc_malloc", [](size_t n) { return __libc_malloc(n); }, true},
      {"__libc_calloc", [](size_t n) { return __libc_calloc(1, n); }, true},
      {"__libc_realloc", [](size_t n) { return __libc_realloc(nullptr, n); }, true},
      {"__libc_memalign", [](size_t n) { return __libc_memalign(32, n); }, true},
      {"__libc_valloc", [](size_t n) { return __libc_valloc(n); }, true},
      {"__libc_pvalloc", [](size_t n) { return __libc_pvalloc(n); }, true},
      {"new (nothrow)", [](size_t n) { return ::operator new(n, std::nothrow); }, true},
      {"new[] (nothrow)", [](size_t n) { return ::operator new[](n, std::nothrow); }, true},
      {"new (align, nothrow)",
       [](size_t n) { return ::operator new (n, std::align_val_t{64}, std::nothrow); }, true},
      {"new[] (align, nothrow)",
       [](size_t n) { return ::operator new[](n, std::align_val_t{64}, std::nothrow); }, true},
  };
  return all;
}

// Sizes at both sides of every kind of boundary: tiny, classes, pages, the small/large border, arenas.
inline const std::vector<size_t>& interesting_sizes() {
  static const std::vector<size_t> all = {0,        1,
                                          7,        8,
                                          9,        15,
                                          16,       17,
                                          24,       31,
                                          32,       33,
                                          48,       63,
                                          64,       65,
                                          100,      127,
                                          128,      129,
                                          255,      256,
                                          257,      511,
                                          513,      1000,
                                          1023,     1024,
                                          1025,     2047,
                                          2049,     4095,
                                          4096,     4097,
                                          8191,     8192,
                                          8193,     12288,
                                          16384,    28672,
                                          32767,    32768,
                                          32769,    40960,
                                          65535,    65536,
                                          65537,    100000,
                                          131072,   131073,
                                          262145,   524289,
                                          1u << 20, (1u << 20) + 1,
                                          2097153,  (4u << 20) - 1,
                                          9u << 20};
  return all;
}

}  // namespace tri_test
