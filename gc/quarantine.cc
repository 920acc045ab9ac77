// quarantine.cc - See quarantine.h.
#include "gc/quarantine.h"

#include <time.h>

#include <atomic>
#include <cerrno>

#include "alloc/base/print.h"
#include "alloc/counters.h"
#include "alloc/held.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"
#include "gc/leaks.h"
#include "gc/roots.h"
#include "gc/stop.h"
#include "gc/sweep_linear.h"
#include "gc/tasks.h"

namespace tri::gc::quarantine {
namespace {

constinit std::atomic<bool> looking{false};
constinit std::atomic<bool> trace{false};
constinit Totals sums;  // who looks

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

bool is_alone() {
  size_t n = 0;
  return each_task([&n](uint32_t) { ++n; }) == 0 && n == 1;
}

struct Look {
  int64_t stop_ns = 0;
  size_t heap_bytes = 0;
  size_t root_bytes = 0;
  held::Returned returned;
};

int read_all(uintptr_t sp, Look* out) {
  Roots roots;
  if (const int error = roots.find(sp); error != 0) return error;
  struct Scan {
    const LinearSweep sweep;
    size_t bytes = 0;
  } scan;
  roots.each({[](void* arg, const void* begin, const void* end) {
                auto* const s = static_cast<Scan*>(arg);
                s->sweep.scan(begin, end);
                s->bytes += static_cast<size_t>(static_cast<const char*>(end) - static_cast<const char*>(begin));
              },
              &scan});
  out->root_bytes = scan.bytes;
  out->heap_bytes = scan.sweep.scan_heap(roots);
  return 0;
}

int look_from(uintptr_t sp, Look* out) {
  held::begin_look();
  const bool alone = is_alone();
  const int64_t before = now();
  if (!alone) {
    if (const int error = stop_world(fork_prepare, fork_parent); error != 0) return error;
  }
  const int error = read_all(sp, out);
  if (!alone) resume_world();
  out->stop_ns = now() - before;
  if (error == 0) out->returned = held::return_unreached();
  return error;
}

size_t next_trigger() {
  constexpr size_t kLeast = size_t{1} << 20;
  const size_t held = held::held_bytes();
  const size_t used = counters->used_bytes.load(std::memory_order_relaxed);
  const size_t live = used > held ? used - held : 0;
  const size_t more = live / 5;
  return held + (more > kLeast ? more : kLeast);
}

void say(const Look& l, int error, int64_t ns) {
  Line line;
  line.text("tri: safe: ");
  if (error != 0) line.text("failed, ");
  line.text("heap ").bytes(l.heap_bytes).text(", roots ").bytes(l.root_bytes).text(", returned ");
  line.bytes(l.returned.bytes).text(" in ").number(uint64_t{l.returned.blocks}).text(" blocks, held ");
  line.bytes(held::held_bytes()).text(", stop ").number(l.stop_ns / 1000).text(" us of ");
  line.number(ns / 1000).text(" us").in_program().write_to(2);
}

}  // namespace

Totals totals() { return sums; }

void start() { held::set_trigger(next_trigger()); }

int look() {
  if (in_slow_path() || looking.exchange(true, std::memory_order_acquire)) return -EAGAIN;
  const int saved_errno = errno;
  const int64_t before = now();
  Look l;
  const int error = below_program([&l](uintptr_t sp) { return look_from(sp, &l); });
  const int64_t ns = now() - before;
  ++sums.looks;
  sums.failed += error != 0;
  sums.returned_blocks += l.returned.blocks;
  sums.returned_bytes += l.returned.bytes;
  sums.total_ns += static_cast<uint64_t>(ns);
  if (static_cast<uint64_t>(l.stop_ns) > sums.longest_stop_ns) sums.longest_stop_ns = static_cast<uint64_t>(l.stop_ns);
  held::set_trigger(next_trigger());
  if (trace.load(std::memory_order_relaxed)) say(l, error, ns);
  looking.store(false, std::memory_order_release);
  errno = saved_errno;
  return error;
}

void set_trace(bool on) { trace.store(on, std::memory_order_relaxed); }
bool is_tracing() { return trace.load(std::memory_order_relaxed); }

void reset_after_fork() { looking.store(false, std::memory_order_relaxed); }

}  // namespace tri::gc::quarantine
