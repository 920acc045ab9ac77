// init.cc - The composition root: what happens before main(), around fork(), and at exit.
//
// The allocator needs none of it: it works from the first call on, whenever that comes. What is set up here is what
// only a process as a whole has: options, fork handlers, the report, the way to other allocators.
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <stdlib.h>

#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/misuse.h"
#include "alloc/thread.h"
#include "gc/gc.h"
#include "gc/quarantine.h"
#include "gc/stop.h"
#include "gc/worker.h"
#include "shim/leaks_report.h"
#include "shim/options.h"
#include "shim/report.h"
#include "shim/safe.h"

// For arch/*/dlopen.S. Written once with the same value by whoever comes first.
extern "C" {
void* (*tri_real_dlopen)(const char*, int) = nullptr;
[[gnu::used]] void* tri_find_dlopen() {
  tri_real_dlopen = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  return reinterpret_cast<void*>(tri_real_dlopen);
}
}

namespace tri {
namespace {

NextAllocator next_allocator() {
  return {reinterpret_cast<void (*)(void*)>(dlsym(RTLD_NEXT, "free")),
          reinterpret_cast<void* (*)(void*, size_t)>(dlsym(RTLD_NEXT, "realloc")),
          reinterpret_cast<size_t (*)(void*)>(dlsym(RTLD_NEXT, "malloc_usable_size"))};
}

/// True if the free() behind ours is not libc's: another preloaded or linked allocator.
bool another_allocator_is_loaded() {
  void* const next = dlsym(RTLD_NEXT, "free");
  Dl_info its{};
  Dl_info libc{};
  if (next == nullptr || dladdr(next, &its) == 0) return false;
  return dladdr(reinterpret_cast<void*>(&gnu_get_libc_version), &libc) != 0 && its.dli_fbase != libc.dli_fbase;
}

void child_after_fork() {
  fork_child();
  gc::stop_reset_after_fork();
  gc::workers_reset_after_fork();
  gc::reset_after_fork();
  gc::quarantine::reset_after_fork();
  leave_parents_slot();
}

[[gnu::constructor]] void start() {
  set_next_allocator(next_allocator);
  misuse::set_next_allocator_probe(another_allocator_is_loaded);
  pthread_atfork(fork_prepare, fork_parent, child_after_fork);
  prepare_collector();
  read_options();
  if (options.safe && concerns_this_program()) start_safe();
  prepare_report();
  // The first handler to be registered is the last to run: after all of the program's, and the destructors of its libraries.
  on_exit(check_leaks_at_exit, nullptr);
  on_exit(report_at_exit, nullptr);
  if (options.verbose && concerns_this_program()) {
    Line line;
    line.text("tri: version " TRI_VERSION " is active").in_program().write_to(2);
  }
}

}  // namespace
}  // namespace tri
