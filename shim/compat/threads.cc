// threads.cc - Threads and their stacks. See compat.h.
//
// The collector finds all threads that the kernel knows, and searches all of their stacks, and every other mapping that was written to, coroutines' stacks among them. So
// nobody has to register; who does gets the answers that libgc would give.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "shim/compat/compat.h"

namespace tri::compat {
namespace {

struct StackBase {  // GC_stack_base
  void* mem_base;
};

constexpr int kSuccess = 0, kDuplicate = 1, kUnimplemented = 3;

enum class Registered : uint8_t { kNot, kByHand, kByUs };
constinit thread_local Registered registered = Registered::kNot;

struct Start {
  void* (*fn)(void*);
  void* arg;
};

void* run_thread(void* p) {
  const Start start = *static_cast<Start*>(p);
  tri_free(p);
  registered = Registered::kByUs;
  return start.fn(start.arg);
}

/// The end of the calling thread's stack that is used first; null if it is not known.
void* stack_bottom() {
  pthread_attr_t attr;
  if (pthread_getattr_np(pthread_self(), &attr) != 0) return nullptr;
  void* low = nullptr;
  size_t bytes = 0;
  const int error = pthread_attr_getstack(&attr, &low, &bytes);
  pthread_attr_destroy(&attr);
  return error != 0 ? nullptr : static_cast<char*>(low) + bytes;
}

}  // namespace
}  // namespace tri::compat

using namespace tri::compat;

// Of the main thread, for programs that read it, and write to it when they change stacks: all stacks are searched.
GC_EXPORT void* GC_stackbottom;
void* GC_stackbottom = nullptr;

namespace {
[[gnu::constructor]] void note_main_thread() {
  registered = Registered::kByUs;
  GC_stackbottom = stack_bottom();
}
}  // namespace

// ---- registering ----------------------------------------------------------------------------------------------------------

GC_EXPORT void GC_allow_register_threads() {}
GC_EXPORT int GC_register_my_thread(const StackBase*) {
  if (registered != Registered::kNot) return kDuplicate;
  registered = Registered::kByHand;
  return kSuccess;
}
GC_EXPORT int GC_unregister_my_thread() {
  registered = Registered::kNot;
  return kSuccess;
}
GC_EXPORT int GC_thread_is_registered() { return registered != Registered::kNot; }
// Markers are started when there is something to mark.
GC_EXPORT void GC_start_mark_threads() {}

// ---- stacks -----------------------------------------------------------------------------------------------------------------

GC_EXPORT int GC_get_stack_base(StackBase* base) {
  base->mem_base = stack_bottom();
  return base->mem_base != nullptr ? kSuccess : kUnimplemented;
}
GC_EXPORT void* GC_get_my_stackbottom(StackBase* base) {
  base->mem_base = stack_bottom();
  return reinterpret_cast<void*>(pthread_self());
}
GC_EXPORT void GC_set_stackbottom(void*, const StackBase*) {}

GC_EXPORT void* GC_call_with_stack_base(void* (*fn)(StackBase*, void*), void* arg) {
  StackBase base;
  base.mem_base = __builtin_frame_address(0);
  void* const result = fn(&base, arg);
  // The frame is there until fn returns.
  asm volatile("" : : "r"(&base) : "memory");
  return result;
}

// A thread that blocks is stopped like any other, and its stack is searched: the first promises only that it need not be, and the second takes that back.
GC_EXPORT void* GC_do_blocking(void* (*fn)(void*), void* arg) { return fn(arg); }
GC_EXPORT void* GC_call_with_gc_active(void* (*fn)(void*), void* arg) { return fn(arg); }

GC_EXPORT int GC_get_suspend_signal() {
  const int signal = tri_gc_signal();
  return signal != 0 ? signal : -1;
}
// Threads go on without one.
GC_EXPORT int GC_get_thr_restart_signal() { return -1; }
// fork() is looked after in any case.
GC_EXPORT void GC_set_handle_fork(int) {}
GC_EXPORT void GC_atfork_prepare() {}
GC_EXPORT void GC_atfork_parent() {}
GC_EXPORT void GC_atfork_child() {}

// ---- what libgc's headers redirect ------------------------------------------------------------------------------------------

GC_EXPORT int GC_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*fn)(void*), void* arg) {
  auto* const start = static_cast<Start*>(tri_alloc(sizeof(Start), 0));
  if (start == nullptr) return EAGAIN;
  *start = {fn, arg};
  const int error = pthread_create(thread, attr, run_thread, start);
  if (error != 0) tri_free(start);
  return error;
}
GC_EXPORT int GC_pthread_join(pthread_t thread, void** result) { return pthread_join(thread, result); }
GC_EXPORT int GC_pthread_detach(pthread_t thread) { return pthread_detach(thread); }
GC_EXPORT int GC_pthread_cancel(pthread_t thread) { return pthread_cancel(thread); }
GC_EXPORT [[noreturn]] void GC_pthread_exit(void* result) { pthread_exit(result); }

/// The signal that stops threads stays open.
GC_EXPORT int GC_pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
  sigset_t without;
  if (const int stop = tri_gc_signal(); set != nullptr && stop != 0 && how != SIG_UNBLOCK) {
    without = *set;
    sigdelset(&without, stop);
    set = &without;
  }
  return pthread_sigmask(how, set, old);
}

GC_EXPORT void* GC_dlopen(const char* path, int mode) { return dlopen(path, mode); }
