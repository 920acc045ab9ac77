// gc_api.cc - The functions of tri/gc.h.
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>

#include <cstring>

#include "alloc/base/sys.h"
#include "gc/attached.h"
#include "gc/gc.h"
#include "gc/heap.h"
#include "gc/stop.h"
#include "shim/export.h"
#include "shim/include/tri/gc.h"

namespace tri {
namespace {

// The process whose thread runs the cleanups: a forked child has none.
constinit std::atomic<int> cleanups_in{0};

void* run_cleanups(void*) {
  for (;;) {
    gc::Attached::Fn fn;
    void* arg;
    while (gc::attached.take(&fn, &arg)) fn(arg);
    gc::attached.wait();
  }
}

/// 0 or -EAGAIN.
int start_cleanups() {
  const int me = sys::process_id();
  int before = cleanups_in.load(std::memory_order_relaxed);
  if (before == me || !cleanups_in.compare_exchange_strong(before, me, std::memory_order_relaxed)) return 0;
  // The program's signals are for its own threads. The stop signal, a real-time one as a rule, is for all.
  sigset_t most, old;
  sigfillset(&most);
  for (int s = SIGRTMIN; s <= SIGRTMAX; ++s) sigdelset(&most, s);
  if (gc::get_stop_signal() > 0) sigdelset(&most, gc::get_stop_signal());
  for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&most, s);
  pthread_sigmask(SIG_SETMASK, &most, &old);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attr, run_cleanups, nullptr);
  pthread_attr_destroy(&attr);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (error == 0) return 0;
  cleanups_in.store(0, std::memory_order_relaxed);
  return -EAGAIN;
}

}  // namespace
}  // namespace tri

TRI_EXPORT_BEGIN

using namespace tri;

int tri_gc(void) {
  if (gc::attached.cleanups() != 0) (void)start_cleanups();
  return gc::collect();
}

int tri_gc_pin(const void* p) { return gc::attached.pin(p); }

int tri_gc_unpin(const void* p) { return gc::attached.unpin(p); }

int tri_gc_add_cleanup(const void* p, void (*fn)(void* arg), void* arg) {
  if (const int error = start_cleanups(); error != 0) return error;
  return gc::attached.add_cleanup(p, fn, arg);
}

tri_weak* tri_weak_new(const void* p) {
  auto* const w = reinterpret_cast<tri_weak*>(gc::attached.new_weak(p));
  if (w == nullptr) errno = gc::collected_heap.is_block(p) ? ENOMEM : EINVAL;
  return w;
}

void* tri_weak_get(const tri_weak* w) { return gc::attached.get(reinterpret_cast<const gc::Weak*>(w)); }

void tri_weak_free(tri_weak* w) {
  if (w != nullptr) gc::attached.free_weak(reinterpret_cast<gc::Weak*>(w));
}

void tri_gc_write(void* slot, const void* value) {
  static_cast<std::atomic<const void*>*>(slot)->store(value, std::memory_order_release);
}

void tri_gc_disable(void) { gc::disable(); }

int tri_gc_enable(void) { return gc::enable() ? 0 : -EINVAL; }

int tri_gc_stats_get(struct tri_gc_stats* out, size_t size) {
  if (out == nullptr || size == 0) return -EINVAL;
  const gc::CollectorStats from = gc::get_stats();
  struct tri_gc_stats s = {};
  s.cycles = from.cycles;
  s.failed_cycles = from.failed_cycles;
  s.live_bytes = from.live_bytes;
  s.goal_bytes = from.goal_bytes;
  s.allocated_bytes = from.allocated_bytes;
  s.collected_bytes = from.collected_bytes;
  s.collected_blocks = from.collected_blocks;
  s.pause_ns = static_cast<uint64_t>(from.pause_ns);
  s.pause_ns_max = static_cast<uint64_t>(from.pause_ns_max);
  s.pause_ns_last = static_cast<uint64_t>(from.pause_ns_last);
  s.recent_bytes = from.recent_bytes;
  memset(out, 0, size);
  memcpy(out, &s, size < sizeof s ? size : sizeof s);
  return 0;
}

TRI_EXPORT_END
