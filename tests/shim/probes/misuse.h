// misuse.h - What the cases of the probe `misuse` share.
//
// Each file of cases exports a list of them; misuse.cc runs one by its name.
#pragma once

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "support/memory.h"
#include "support/require.h"

namespace misuse {

using namespace tri_test;

struct Case {
  const char* name;
  void (*run)();
};

extern const std::vector<Case> kDoubleFrees;  // misuse_double_free.cc
extern const std::vector<Case> kPointers;     // misuse_pointers.cc
extern const std::vector<Case> kContents;     // misuse_contents.cc

// The driver reads the pointer and the usable size from here.
inline void tell(const void* p, size_t usable = 0) {
  char text[64];
  int n = snprintf(text, sizeof text, "0x%lx %zu\n", reinterpret_cast<unsigned long>(p), usable);
  require(write(1, text, static_cast<size_t>(n)) == n, "stdout takes the pointer");
}

inline void* block(size_t size) {
  void* p = opaque(malloc(size));
  require(p != nullptr, "memory");
  memset(p, 0x55, size);
  tell(p, malloc_usable_size(p));
  return p;
}

inline char* inside(void* p, size_t offset) { return opaque(static_cast<char*>(p) + offset); }

inline void* on_another_thread(void* (*work)(void*), void* argument) {
  pthread_t thread;
  void* result = nullptr;
  require(pthread_create(&thread, nullptr, work, argument) == 0, "a thread");
  pthread_join(thread, &result);
  return result;
}

inline void* free_it(void* p) {
  free(p);
  return nullptr;
}

using FreeSized = void (*)(void*, size_t);
using FreeAlignedSized = void (*)(void*, size_t, size_t);

template <class F>
F exported(const char* name) {
  auto f = reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
  require(f != nullptr, name);
  return f;
}

}  // namespace misuse
