// options.cc - Handlers and switches. See compat.h.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

using OomFn = void* (*)(size_t);
using WarnFn = void (*)(char*, Word);

void* return_null(size_t) { return nullptr; }

/// The message is a format with one place for the argument.
void print_warning(char* message, Word argument) {
  char line[512];
  const int n = snprintf(line, sizeof line, message, argument);
  if (n <= 0) return;
  const size_t length = static_cast<size_t>(n) < sizeof line ? static_cast<size_t>(n) : sizeof line - 1;
  if (write(2, line, length) < 0) return;
}

constinit std::atomic<OomFn> oom_fn{return_null};
constinit std::atomic<WarnFn> warn_fn{print_warning};
constinit std::atomic<Word> divisor{3};
constinit std::atomic<int> dont_expand{0};

}  // namespace

void* out_of_memory(size_t n) {
  errno = ENOMEM;
  return oom_fn.load(std::memory_order_relaxed)(n);
}

void warn(const char* message, Word argument) {
  // The type is libgc's; no procedure writes to it.
  warn_fn.load(std::memory_order_relaxed)(const_cast<char*>(message), argument);
}

}  // namespace tri::compat

using namespace tri::compat;

int GC_all_interior_pointers = 1;
// Data of shared libraries is searched in any case: a library's pointers keep their blocks whatever this says.
GC_EXPORT int GC_no_dls;
int GC_no_dls = 0;
// What a block with a finalizer leads to is kept in any case, until that has run.
GC_EXPORT int GC_java_finalization;
int GC_java_finalization = 0;

GC_EXPORT void GC_set_oom_fn(OomFn fn) { oom_fn.store(fn, std::memory_order_relaxed); }
GC_EXPORT OomFn GC_get_oom_fn() { return oom_fn.load(std::memory_order_relaxed); }

GC_EXPORT void GC_set_warn_proc(WarnFn fn) { warn_fn.store(fn, std::memory_order_relaxed); }
GC_EXPORT WarnFn GC_get_warn_proc() { return warn_fn.load(std::memory_order_relaxed); }
GC_EXPORT void GC_ignore_warn_proc(char*, Word) {}

// Whether pointers to the end of a block keep it. Those to its middle always do, so that there are no displacements to register.
GC_EXPORT void GC_set_all_interior_pointers(int on) { GC_all_interior_pointers = on; }
GC_EXPORT int GC_get_all_interior_pointers() { return GC_all_interior_pointers; }
GC_EXPORT void GC_register_displacement(size_t) {}

GC_EXPORT void GC_set_no_dls(int on) { GC_no_dls = on; }
GC_EXPORT int GC_get_no_dls() { return GC_no_dls; }
GC_EXPORT void GC_set_java_finalization(int on) { GC_java_finalization = on; }
GC_EXPORT int GC_get_java_finalization() { return GC_java_finalization; }

// In libgc, collections are at least 2/divisor of the reachable memory apart: so is the percentage of ours, from this call on.
GC_EXPORT void GC_set_free_space_divisor(Word d) {
  if (d == 0) return;
  divisor.store(d, std::memory_order_relaxed);
  char text[24];
  const Word percent = 200 / d == 0 ? 1 : 200 / d;
  snprintf(text, sizeof text, "%lu", percent);
  (void)tri_set("gc", text);
}
GC_EXPORT Word GC_get_free_space_divisor() { return divisor.load(std::memory_order_relaxed); }

// The percentage says when the heap grows and when it is collected; a program out of memory collects before it fails.
GC_EXPORT void GC_set_dont_expand(int on) { dont_expand.store(on, std::memory_order_relaxed); }
GC_EXPORT int GC_get_dont_expand() { return dont_expand.load(std::memory_order_relaxed); }
