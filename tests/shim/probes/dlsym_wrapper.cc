// dlsym_wrapper.cc - A library to preload: replaces dlsym by one that allocates, as graphics overlays do.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

extern "C" void* dlsym(void* handle, const char* name) {
  static void* (*real)(void*, const char*) = nullptr;
  if (real == nullptr)
    real =
        reinterpret_cast<void* (*)(void*, const char*)>(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
  char* copy = strdup(name);
  void* list = calloc(10, 100);
  void* result = real(handle, copy);
  free(list);
  free(copy);
  return result;
}
