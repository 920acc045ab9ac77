// api_resolve_test.cc - Every name of the malloc family leads to the library, not past it.
//
// One name that falls through to the next allocator is enough to mix two heaps, so the whole list is checked: by
// dlsym, as plug-ins look names up, and by the addresses that this program itself was linked to.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "support/api.h"
#include "support/process.h"

namespace tri_test {
namespace {

std::string real_file(const char* path) {
  char* real = realpath(path, nullptr);
  std::string result = real == nullptr ? path : real;
  free(real);
  return result;
}

std::string home_of(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "nowhere";
  return real_file(info.dli_fname);
}

std::string library_file() { return real_file(library().c_str()); }

const char* const kNames[] = {
    // C, POSIX, BSD, glibc
    "malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "aligned_alloc",
    "posix_memalign", "memalign", "valloc", "pvalloc", "malloc_usable_size", "reallocf",
    "malloc_good_size",
    // C23, jemalloc
    "free_sized", "free_aligned_sized", "nallocx", "sdallocx",
    // glibc's facade
    "malloc_trim", "mallinfo", "mallinfo2", "mallopt", "malloc_stats", "malloc_info",
    // glibc's aliases
    "__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_free", "__libc_memalign",
    "__libc_valloc", "__libc_pvalloc",
    // operator new and delete: plain, array, nothrow, aligned, sized
    "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t", "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t", "_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t"};

TEST(ApiResolve, EveryNameFoundByDlsymIsTheLibrarys) {
  for (const char* name : kNames) {
    void* address = dlsym(RTLD_DEFAULT, name);
    EXPECT_NE(address, nullptr) << name << " is not exported";
    if (address != nullptr) {
      EXPECT_EQ(home_of(address), library_file()) << name;
    }
  }
}

TEST(ApiResolve, TheProgramsOwnReferencesAreBoundToTheLibrary) {
  struct {
    const char* name;
    const void* address;
  } const bound[] = {
      {"malloc", reinterpret_cast<void*>(&malloc)},
      {"calloc", reinterpret_cast<void*>(&calloc)},
      {"realloc", reinterpret_cast<void*>(&realloc)},
      {"reallocarray", reinterpret_cast<void*>(&reallocarray)},
      {"free", reinterpret_cast<void*>(&free)},
      {"aligned_alloc", reinterpret_cast<void*>(&aligned_alloc)},
      {"posix_memalign", reinterpret_cast<void*>(&posix_memalign)},
      {"memalign", reinterpret_cast<void*>(&memalign)},
      {"valloc", reinterpret_cast<void*>(&valloc)},
      {"pvalloc", reinterpret_cast<void*>(&pvalloc)},
      {"malloc_usable_size", reinterpret_cast<void*>(&malloc_usable_size)},
      {"malloc_trim", reinterpret_cast<void*>(&malloc_trim)},
      {"mallinfo2", reinterpret_cast<void*>(&mallinfo2)},
      {"mallopt", reinterpret_cast<void*>(&mallopt)},
      {"malloc_stats", reinterpret_cast<void*>(&malloc_stats)},
      {"malloc_info", reinterpret_cast<void*>(&malloc_info)},
      {"__libc_malloc", reinterpret_cast<void*>(&__libc_malloc)},
      {"__libc_free", reinterpret_cast<void*>(&__libc_free)},
      {"__libc_memalign", reinterpret_cast<void*>(&__libc_memalign)},
      {"operator new", reinterpret_cast<void*>(static_cast<void* (*)(size_t)>(&::operator new))},
      {"operator delete",
       reinterpret_cast<void*>(static_cast<void (*)(void*)>(&::operator delete))},
  };
  for (const auto& b : bound) EXPECT_EQ(home_of(b.address), library_file()) << b.name;
}

TEST(ApiResolve, LibcItselfAllocatesFromTheLibrary) {
  // strdup, getline and asprintf call malloc inside libc: their blocks must be ours, or free would be handed a stranger.
  auto* owns = exported<bool(const void*)>("tri_owns");
  ASSERT_NE(owns, nullptr);
  char* copy = strdup("libc's own call");
  char* printed = nullptr;
  ASSERT_GT(asprintf(&printed, "%d", 42), 0);
  EXPECT_TRUE(owns(copy));
  EXPECT_TRUE(owns(printed));
  free(copy);
  free(printed);
}

TEST(ApiResolve, TheLibraryNeedsOnlyLibc) {
  // What it links to it would force on every program: libstdc++ above all must not be among it.
  Outcome dump = run({.argv = {"/usr/bin/readelf", "-d", library()}, .preload = false});
  ASSERT_TRUE(dump.exited(0)) << dump.describe();
  for (const auto& line : lines(dump.out)) {
    if (line.find("(NEEDED)") == std::string::npos) continue;
    bool known = line.find("[libc.so.6]") != std::string::npos ||
                 line.find("[ld-linux") != std::string::npos;
    EXPECT_TRUE(known) << line;
  }
}

}  // namespace
}  // namespace tri_test
