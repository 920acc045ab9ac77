// counting.cc - A library to preload: counts malloc and free on their way to whoever is next, as tracing tools do.
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <atomic>

namespace {

std::atomic<long> g_mallocs{0};
std::atomic<long> g_frees{0};

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

__attribute__((destructor)) void tell() {
  char text[100];
  int n = snprintf(text, sizeof text, "counted %s\n",
                   g_mallocs > 1000 && g_frees > 1000 ? "many" : "few");
  if (write(1, text, static_cast<size_t>(n)) < 0) _exit(3);
}

}  // namespace

extern "C" {

void* malloc(size_t n) {
  static auto* real = next<void*(size_t)>("malloc");
  ++g_mallocs;
  return real(n);
}

void free(void* p) {
  static auto* real = next<void(void*)>("free");
  ++g_frees;
  real(p);
}

void* calloc(size_t a, size_t b) {
  // dlsym may ask for memory before it has found us the next calloc; null is an answer that it copes with.
  static void* (*real)(size_t, size_t) = nullptr;
  static bool searching = false;
  if (real == nullptr) {
    if (searching) return nullptr;
    searching = true;
    real = next<void*(size_t, size_t)>("calloc");
    searching = false;
  }
  ++g_mallocs;
  return real(a, b);
}

void* realloc(void* p, size_t n) {
  static auto* real = next<void*(void*, size_t)>("realloc");
  ++g_mallocs;
  return real(p, n);
}
}
