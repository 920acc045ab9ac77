// new_delete.cc - The operators new and delete of C++.
//
// They live here without a C++ runtime. When memory is out, the host's own operator is called: it calls the new_handler
// as often as it must, tries malloc() again each time - ours - and throws bad_alloc by the host's own unwinder.
#include <dlfcn.h>

#include <cstdlib>
#include <new>

#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "shim/export.h"

namespace tri {
namespace {

/// The host's function of this name: behind us in the search order, or in a C++ runtime that was loaded privately.
void* host_function(const char* name) {
  if (void* f = dlsym(RTLD_NEXT, name)) return f;
  for (const char* library : {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"}) {
    void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) continue;
    if (void* f = dlsym(handle, name)) return f;
  }
  Line line;
  line.text("tri: operator new found no memory, and no C++ runtime to throw bad_alloc").in_program().write_to(2);
  abort();
}

template <class Function, class... Args>
[[gnu::cold, gnu::noinline]] void* ask_host(const char* name, Args... args) {
  return reinterpret_cast<Function>(host_function(name))(args...);
}

using New = void* (*)(size_t);
using NewNothrow = void* (*)(size_t, const std::nothrow_t&);
using NewAligned = void* (*)(size_t, std::align_val_t);
using NewAlignedNothrow = void* (*)(size_t, std::align_val_t, const std::nothrow_t&);

[[gnu::noinline]] void* new_slow(size_t n) {
  void* const p = allocate_slow(n);
  return p != nullptr ? p : ask_host<New>("_Znwm", n);
}

[[gnu::noinline]] void* new_array_slow(size_t n) {
  void* const p = allocate_slow(n);
  return p != nullptr ? p : ask_host<New>("_Znam", n);
}

void* new_nothrow(const char* name, size_t n, const std::nothrow_t& tag) {
  void* const p = allocate(n);
  return p != nullptr ? p : ask_host<NewNothrow, size_t, const std::nothrow_t&>(name, n, tag);
}

/// The host's aligned operators round the size up without a look at overflow; their plain ones refuse it as they should.
bool is_too_large(size_t n, size_t alignment) { return n > PTRDIFF_MAX - alignment; }

void* new_aligned(const char* name, size_t n, std::align_val_t alignment) {
  const auto a = static_cast<size_t>(alignment);
  if (TRI_LIKELY(is_power_of_two(a) && !is_too_large(n, a))) {
    if (void* p = allocate_aligned(n, a)) return p;
  } else if (is_power_of_two(a)) {
    return ask_host<New>("_Znwm", n);
  }
  return ask_host<NewAligned>(name, n, alignment);
}

void* new_aligned_nothrow(const char* name, size_t n, std::align_val_t alignment, const std::nothrow_t& tag) {
  const auto a = static_cast<size_t>(alignment);
  if (TRI_LIKELY(is_power_of_two(a) && !is_too_large(n, a))) {
    if (void* p = allocate_aligned(n, a)) return p;
  } else if (is_power_of_two(a)) {
    return ask_host<NewNothrow, size_t, const std::nothrow_t&>("_ZnwmRKSt9nothrow_t", n, tag);
  }
  using Args = NewAlignedNothrow;
  return ask_host<Args, size_t, std::align_val_t, const std::nothrow_t&>(name, n, alignment, tag);
}

}  // namespace
}  // namespace tri

using namespace tri;

#pragma GCC visibility push(default)

void* operator new(size_t n) { return allocate_or<new_slow>(n); }
void* operator new[](size_t n) { return allocate_or<new_array_slow>(n); }
void* operator new(size_t n, const std::nothrow_t& t) noexcept { return new_nothrow("_ZnwmRKSt9nothrow_t", n, t); }
void* operator new[](size_t n, const std::nothrow_t& t) noexcept { return new_nothrow("_ZnamRKSt9nothrow_t", n, t); }
void* operator new(size_t n, std::align_val_t a) { return new_aligned("_ZnwmSt11align_val_t", n, a); }
void* operator new[](size_t n, std::align_val_t a) { return new_aligned("_ZnamSt11align_val_t", n, a); }
void* operator new(size_t n, std::align_val_t a, const std::nothrow_t& t) noexcept {
  return new_aligned_nothrow("_ZnwmSt11align_val_tRKSt9nothrow_t", n, a, t);
}
void* operator new[](size_t n, std::align_val_t a, const std::nothrow_t& t) noexcept {
  return new_aligned_nothrow("_ZnamSt11align_val_tRKSt9nothrow_t", n, a, t);
}

void operator delete(void* p) noexcept { deallocate_inline(p); }
void operator delete[](void* p) noexcept { deallocate_inline(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { deallocate_inline(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { deallocate_inline(p); }
void operator delete(void* p, size_t n) noexcept { deallocate_sized_inline(p, n); }
void operator delete[](void* p, size_t n) noexcept { deallocate_sized_inline(p, n); }
void operator delete(void* p, std::align_val_t) noexcept { deallocate_inline(p); }
void operator delete[](void* p, std::align_val_t) noexcept { deallocate_inline(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { deallocate_inline(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { deallocate_inline(p); }
void operator delete(void* p, size_t n, std::align_val_t a) noexcept {
  deallocate_aligned_sized(p, n, static_cast<size_t>(a));
}
void operator delete[](void* p, size_t n, std::align_val_t a) noexcept {
  deallocate_aligned_sized(p, n, static_cast<size_t>(a));
}

#pragma GCC visibility pop
