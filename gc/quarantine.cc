// quarantine.cc - See quarantine.h.
#include "gc/quarantine.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <atomic>
#include <cerrno>

#include "alloc/base/print.h"
#include "alloc/base/sys.h"
#include "alloc/held.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "alloc/thread.h"
#include "gc/cycle.h"
#include "gc/heap.h"
#include "gc/leaks.h"
#include "gc/roots.h"
#include "gc/stop.h"
#include "gc/sweep_linear.h"
#include "tri_arch.h"

namespace tri::gc::quarantine {
namespace {

constinit std::atomic<uint32_t> looking{0};  // 1: somebody does; futex of those who wait for it
constinit std::atomic<size_t> bound{SIZE_MAX};
constinit std::atomic<bool> trace{false};
constinit Totals sums;  // who looks

/// Also on threads that libc does not know.
int64_t now() {
  timespec t = {};
  arch::system_call(SYS_clock_gettime, CLOCK_MONOTONIC, reinterpret_cast<long>(&t));
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

/// Whether the process has no other thread, of whatever making: the kernel counts a directory for each.
bool is_alone() {
  struct stat s;
  return arch::system_call(SYS_newfstatat, AT_FDCWD, reinterpret_cast<long>("/proc/self/task"),
                           reinterpret_cast<long>(&s), 0) == 0 &&
         s.st_nlink == 3;
}

struct Look {
  bool beside = false;  // the program ran meanwhile
  int64_t stop_ns = 0;  // the longest
  size_t heap_bytes = 0;
  size_t root_bytes = 0;
  size_t candidates = 0;  // what was held at the beginning, by its weight
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
  out->candidates = held::held_bytes();
  const bool alone = is_alone();
  const int64_t before = now();
  if (!alone) {
    if (const int error = stop_world(lock_allocator, unlock_allocator); error != 0) return error;
  }
  const int error = read_all(sp, out);
  if (!alone) resume_world();
  out->stop_ns = now() - before;
  if (error == 0) out->returned = held::return_unreached();
  return error;
}

// At least so much is held between two looks, and up to that much in a program that frees so fast that looks would take too large a share of its time.
constexpr size_t kLeastBytes = size_t{512} << 10;
constexpr size_t kMostLeastBytes = size_t{2} << 20;
// Of all that a look reads, this part more.
constexpr size_t kShare = 5;

constinit size_t least = kLeastBytes;  // who looks, as the next ones
constinit int64_t last_end = 0;
constinit size_t last_read = 0;
constinit int beside_error = 0;  // why looks cannot be made beside the program
constinit os::BareThread thread;
constinit bool thread_is_known = false;

// A stop to read so much takes some thirty milliseconds. Marking beside a program that writes a lot, and faults on each page once more, takes the
// processor ten times as long: a compiler with 250 MiB took 1.9 times its time with that, 1.3 times with stops.
constexpr size_t kMostInOneStop = size_t{256} << 20;

/// `kept`: of what is held, what the look could not give back. All else will be looked at for the first time.
void set_trigger(size_t read_bytes, size_t kept) {
  last_read = read_bytes;
  const size_t share = read_bytes / kShare;
  const size_t more = share > least ? share : least;
  bound.store(kept + 2 * more, std::memory_order_relaxed);
  held::set_trigger(kept + more);
}

/// Who frees while another thread looks goes on, but not without end: threads that free faster than one can look would fill the memory.
void wait_while_too_much() {
  for (int i = 0; i < 10 && held::held_bytes() > bound.load(std::memory_order_relaxed); ++i) {
    if (looking.load(std::memory_order_relaxed) == 0) return;
    sys::futex_wait(&looking, 1, 10'000'000);
  }
}

/// What a stop takes is the same however much is held; to give blocks back takes longer the more there are.
void adapt(int64_t stop_ns, int64_t begin, int64_t end) {
  const int64_t between_ns = begin - last_end;
  last_end = end;
  if (stop_ns * 5 > between_ns && least < kMostLeastBytes) least *= 2;
  if (stop_ns * 20 < between_ns && least > kLeastBytes) least /= 2;
}

void say(const Look& l, int error, int64_t ns) {
  Line line;
  line.text("tri: safe: ");
  if (error != 0) line.text("failed, ");
  if (l.beside) line.text("beside, ");
  line.text("heap ").bytes(l.heap_bytes).text(", roots ").bytes(l.root_bytes).text(", returned ");
  line.bytes(l.returned.bytes).text(" in ").number(uint64_t{l.returned.blocks}).text(" blocks, held ");
  line.bytes(held::held_bytes()).text(", stop ").number(l.stop_ns / 1000).text(" us of ");
  line.number(ns / 1000).text(" us").in_program().write_to(2);
}

}  // namespace

Totals totals() { return sums; }

void start() { set_trigger(0, 0); }

namespace {

/// By who has `looking`, which it gives up.
void finish(const Look& l, int error, int64_t before) {
  const int64_t end = now();
  const int64_t ns = end - before;
  ++sums.looks;
  sums.failed += error != 0;
  sums.returned_blocks += l.returned.blocks;
  sums.returned_bytes += l.returned.bytes;
  sums.total_ns += static_cast<uint64_t>(ns);
  if (static_cast<uint64_t>(l.stop_ns) > sums.longest_stop_ns) sums.longest_stop_ns = static_cast<uint64_t>(l.stop_ns);
  adapt(l.stop_ns, before, end);
  // What has just been given back is no part of the program's memory: counting it would let the bound follow what it bounds.
  const size_t read = l.heap_bytes + l.root_bytes;
  set_trigger(l.beside || read < l.returned.weight ? read : read - l.returned.weight,
              l.candidates < l.returned.weight ? 0 : l.candidates - l.returned.weight);
  if (trace.load(std::memory_order_relaxed)) say(l, error, ns);
  looking.store(0, std::memory_order_release);
  sys::futex_wake(&looking, INT32_MAX);
}

/// A look by marking, in a cycle of the collector's (cycle.h): what the marks do not reach goes back.
int mark_beside(Look* out) {
  held::begin_look();
  out->candidates = held::held_bytes();
  CycleOptions options;
  options.verify = kVerify;
  Cycle cycle(options);
  const int error = cycle.run({}, 0);
  const CycleStats& c = cycle.stats();
  out->beside = true;
  out->stop_ns = c.first_stop_ns < c.last_stop_ns ? c.last_stop_ns : c.first_stop_ns;
  out->heap_bytes = c.marked_bytes;
  out->root_bytes = c.root_bytes;
  if (error != 0) return error;
  const auto is_marked = [](void* shadow, const void* block) {
    Ref r;
    // What is in no table is younger than they: nothing is known of it.
    return !static_cast<const Shadow*>(shadow)->find(reinterpret_cast<uintptr_t>(block), &r) || r.is_marked();
  };
  out->returned = held::return_unreached(is_marked, &cycle.shadow());
  return c.why_full;
}

void run_on_thread(void*) {
  // All thread-local variables are zero here.
  tls_mcache = &empty_mcache;
  tls_cache = &empty_cache;
  const int64_t before = now();
  Look l;
  const int error = mark_beside(&l);
  // Once it was one stop after all, or none, because of something that stays as it is: the other kind of look is shorter.
  beside_error = error;
  // Of a failed one nothing is known, but that there is as much as before.
  if (l.heap_bytes == 0) l.heap_bytes = last_read;
  finish(l, error, before);
}

/// By who has `looking`, which is the thread's from then on. False if there can be no thread.
bool start_beside() {
  os::join_bare_thread(&thread);
  if (!os::start_bare_thread(&thread, run_on_thread, nullptr)) return false;
  if (!thread_is_known) thread_is_known = own_memory::add(thread.memory, os::bare_thread_bytes());
  return true;
}

int look_here() {
  const int saved_errno = errno;
  const int64_t before = now();
  Look l;
  const int error = below_program([&l](uintptr_t sp) { return look_from(sp, &l); });
  finish(l, error, before);
  errno = saved_errno;
  return error;
}

}  // namespace

int look() {
  if (in_slow_path()) return -EAGAIN;
  if (looking.exchange(1, std::memory_order_acquire) != 0) {
    wait_while_too_much();
    return -EAGAIN;
  }
  return look_here();
}

int look_beside() {
  if (in_slow_path() || looking.exchange(1, std::memory_order_acquire) != 0) return -EAGAIN;
  if (!start_beside()) {
    looking.store(0, std::memory_order_release);
    return -EAGAIN;
  }
  while (looking.load(std::memory_order_acquire) != 0) sys::futex_wait(&looking, 1, 10'000'000);
  return beside_error;
}

void look_when_due() {
  if (in_slow_path()) return;
  if (looking.exchange(1, std::memory_order_acquire) != 0) return wait_while_too_much();
  if (last_read < kMostInOneStop || beside_error != 0 || !start_beside()) (void)look_here();
}

void set_trace(bool on) { trace.store(on, std::memory_order_relaxed); }
bool is_tracing() { return trace.load(std::memory_order_relaxed); }

void reset_after_fork() { looking.store(0, std::memory_order_relaxed); }

}  // namespace tri::gc::quarantine
