// loader.cc - Opens libraries at run time. Linked without the C++ runtime, as a C program is.
//
//   loader deepbind LIB      blocks cross the border to a library opened with RTLD_DEEPBIND, both ways
//   loader deepalone LIB     such a library by itself
//   loader runpath LIB       LIB opens another by its own RUNPATH
//   loader throwing LIB      a C++ library in a C program throws bad_alloc, opened with RTLD_LOCAL
//   loader library LIB       our library itself, opened at run time: malloc stays libc's, tri_* work
//   loader names LIB         errors of dlopen and dlerror stay as they are
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>

#include "support/memory.h"
#include "support/require.h"

namespace {

using tri_test::require;

template <class F>
F* find(void* library, const char* name) {
  void* p = dlsym(library, name);
  require(p != nullptr, name);
  return reinterpret_cast<F*>(p);
}

void* open_library(const char* file, int mode) {
  void* library = dlopen(file, mode);
  if (library == nullptr) require(false, dlerror());
  return library;
}

void deepbind(const char* file) {
  void* deep = open_library(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  auto* its_malloc = find<void*(size_t)>(deep, "deep_malloc");
  auto* its_free = find<void(void*)>(deep, "deep_free");
  auto* its_realloc = find<void*(void*, size_t)>(deep, "deep_realloc");
  auto* its_strdup = find<char*(const char*)>(deep, "deep_strdup");
  auto* its_getline = find<char*(char*, size_t*)>(deep, "deep_getline");
  for (size_t n = 0; n < 3000; ++n) {
    free(its_malloc(n));
    its_free(malloc(n));
    free(its_realloc(malloc(n), n + 100));
    its_free(realloc(its_malloc(n), n + 100));
  }
  for (size_t n : {100000u, 3u << 20, 80u << 20}) {
    free(its_malloc(n));
    its_free(malloc(n));
    free(its_realloc(malloc(n), n * 2));
  }
  char* copy = its_strdup("crosses the border");
  require(strcmp(copy, "crosses the border") == 0, "strdup");
  free(copy);
  its_free(strdup("the other way"));
  size_t room = 10;
  free(its_getline(static_cast<char*>(malloc(room)), &room));
  require(find<int()>(deep, "deep_alone")() == 42, "the library by itself");
  dlclose(deep);
}

void throwing(const char* file) {
  require(dlsym(RTLD_DEFAULT, "__cxa_throw") == nullptr,
          "the program has no C++ runtime of its own");
  void* library = open_library(file, RTLD_NOW | RTLD_LOCAL);
  require(find<int()>(library, "throw_and_catch")() == 42, "bad_alloc and the handler");
}

void* use_tri(void* library) {
  auto* alloc = find<void*(size_t, unsigned)>(library, "tri_alloc");
  auto* release = find<void(void*)>(library, "tri_free");
  for (size_t n = 1; n < 3000; ++n) {
    void* p = alloc(n, 0);
    require(p != nullptr, "tri_alloc");
    memset(p, 1, n);
    release(p);
  }
  return nullptr;
}

void own_library(const char* file) {
  void* before = malloc(100);
  for (int round = 0; round < 2; ++round) {
    void* library = open_library(file, RTLD_NOW);
    require(!find<bool()>(library, "tri_active")(), "tri_active is false: malloc is not ours");
    Dl_info info{};
    require(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) != 0 &&
                strstr(info.dli_fname, "libc.so") != nullptr,
            "malloc stays libc's");
    use_tri(library);
    void* p = find<void*(size_t, unsigned)>(library, "tri_alloc")(1000, 0);
    require(find<bool(const void*)>(library, "tri_owns")(p), "tri_owns its block");
    require(!find<bool(const void*)>(library, "tri_owns")(before), "tri_owns not libc's block");
    find<void(void*)>(library, "tri_free")(p);
    pthread_t thread;
    require(pthread_create(&thread, nullptr, use_tri, library) == 0, "a thread");
    pthread_join(thread, nullptr);
    dlclose(library);
  }
  free(before);
  free(malloc(1000));
}

void names() {
  require(dlopen("libno-such-library.so", RTLD_NOW) == nullptr, "no such library");
  const char* error = dlerror();
  require(error != nullptr && strstr(error, "libno-such-library.so") != nullptr,
          "dlerror names the library");
  require(dlerror() == nullptr, "dlerror once");
  void* self = dlopen(nullptr, RTLD_NOW);
  require(self != nullptr, "the program itself");
  require(dlsym(self, "no_such_symbol") == nullptr && dlerror() != nullptr, "no such symbol");
  dlclose(self);
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 3, "loader WHAT LIB");
  const char* what = argv[1];
  if (strcmp(what, "deepbind") == 0) deepbind(argv[2]);
  if (strcmp(what, "deepalone") == 0)
    require(find<int()>(open_library(argv[2], RTLD_LAZY | RTLD_DEEPBIND), "deep_alone")() == 42,
            "the library by itself");
  if (strcmp(what, "runpath") == 0) {
    void* outer = open_library(argv[2], RTLD_NOW);
    require(dlopen("libinner.so", RTLD_NOW) == nullptr,
            "only the RUNPATH of the outer library leads to the inner one");
    require(find<int(int)>(outer, "open_inner")(RTLD_NOW) == 42,
            "dlopen looks into its caller's RUNPATH");
    require(find<int(int)>(outer, "open_inner")(RTLD_NOW | RTLD_DEEPBIND) == 42,
            "with RTLD_DEEPBIND, too");
  }
  if (strcmp(what, "throwing") == 0) throwing(argv[2]);
  if (strcmp(what, "library") == 0) own_library(argv[2]);
  if (strcmp(what, "names") == 0) names();
  tri_test::say("worked\n");
  return 0;
}
