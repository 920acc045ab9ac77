// stack.cc - See stack.h.
#include "sched/stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdlib>

#include "alloc/base/bits.h"
#include "alloc/base/print.h"
#include "alloc/malloc.h"
#include "alloc/os/os.h"
#include "alloc/own_memory.h"
#include "sched/m.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

constexpr int kMadvGuardInstall = 102;
// In place of a descriptor: this process.
constexpr int kPidfdSelf = -10000;
// Guards made in one call, ahead of their use: as many as one page table holds, of the default size.
constexpr size_t kGuardBatch = 32;
// Of 65,530 mappings: the program wants some, too.
constexpr uint32_t kMaxMappedGuards = 16'000;
constexpr unsigned kMinLog2 = 14;
constexpr unsigned kMaxLog2 = 28;
constexpr unsigned kSizes = kMaxLog2 - kMinLog2 + 1;
static_assert(kMinStack == size_t{1} << kMinLog2);
static_assert(kMaxStack == size_t{1} << kMaxLog2);
constexpr size_t kFirstChunk = size_t{2} * 1024 * 1024;
constexpr size_t kMaxChunk = size_t{64} * 1024 * 1024;
constexpr Time kTrimAfter = 1'000'000'000;
// Stacks given back at a time: about 0.1 ms.
constexpr uint32_t kTrimBatch = 128;
constexpr size_t kSignalStack = 64 * 1024;

enum class Guards : uint8_t { kUnknown, kAdvised, kMapped };

/// A growable array of stack tops.
struct Tops {
  char** data = nullptr;
  uint32_t count = 0;
  uint32_t capacity = 0;

  bool push(char* top) {
    if (count == capacity) {
      const uint32_t more = capacity == 0 ? 64 : capacity * 2;
      void* const p = data == nullptr ? allocate(more * sizeof(char*)) : reallocate(data, more * sizeof(char*));
      if (p == nullptr) return false;
      data = static_cast<char**>(p);
      capacity = more;
    }
    data[count++] = top;
    return true;
  }
  char* pop() { return count == 0 ? nullptr : data[--count]; }
};

/// Free stacks of one size.
struct Pool {
  Tops warm;             // may have memory; the last in is the first out
  Tops empty;            // given back
  char* next = nullptr;  // the rest of the newest chunk, carved upward
  char* end = nullptr;
  char* guarded = nullptr;  // of that, the stacks below this have their guards
  size_t chunk = kFirstChunk;
};

constinit SpinLock lock;
constinit Pool pools[kSizes];                   // lock
constinit Time oldest_warm = kForever;          // lock: when the pools of warm stacks were last empty, about
constinit std::atomic<Time> trim_at{kForever};  // written under lock
constinit Guards guards = Guards::kUnknown;     // lock
constinit bool batches = true;                  // lock: as far as is known
constinit uint32_t mapped_guards = 0;           // lock
constinit std::atomic<size_t> reserved{0};
constinit std::atomic<uint32_t> default_bytes{kDefaultStack};

Pool& pool_of(uint32_t bytes) { return pools[log2_floor(bytes) - kMinLog2]; }

bool advise_guard(char* low) {
  return arch::system_call(SYS_madvise, reinterpret_cast<long>(low), static_cast<long>(os::page_size()),
                           kMadvGuardInstall) == 0;
}

void make_guard(char* low) {
  if (guards != Guards::kMapped) {
    if (advise_guard(low)) {
      guards = Guards::kAdvised;
      return;
    }
    if (guards == Guards::kAdvised) return;  // no memory for the page table: it overflows unseen, as beyond the bound
    guards = Guards::kMapped;
  }
  if (mapped_guards >= kMaxMappedGuards) return;
  if (arch::system_call(SYS_mprotect, reinterpret_cast<long>(low), static_cast<long>(os::page_size()), PROT_NONE) ==
      0) {
    ++mapped_guards;
  }
}

/// The guards of the next stacks, in one call, which halves their cost; false where the kernel does not do that (before 6.15).
bool make_guards(Pool& pool, uint32_t bytes) {
  if (!batches || guards != Guards::kAdvised) return false;
  iovec each[kGuardBatch];
  size_t n = 0;
  for (char* low = pool.next; low != pool.end && n < kGuardBatch; low += bytes) each[n++] = {low, os::page_size()};
  const long done = arch::system_call(SYS_process_madvise, kPidfdSelf, reinterpret_cast<long>(each),
                                      static_cast<long>(n), kMadvGuardInstall, 0);
  if (done < static_cast<long>(os::page_size())) {
    batches = done >= 0 || done == -ENOMEM;
    return false;
  }
  // It may stop on its way for want of memory.
  pool.guarded = pool.next + static_cast<size_t>(done) / os::page_size() * bytes;
  return true;
}

char* carve(Pool& pool, uint32_t bytes) {
  if (pool.next == pool.end) {
    const size_t chunk = pool.chunk < bytes ? bytes : pool.chunk;
    auto* p = static_cast<char*>(os::map(chunk, os::page_size()));
    size_t got = chunk;
    if (p == nullptr && chunk > bytes) p = static_cast<char*>(os::map(got = bytes, os::page_size()));
    if (p == nullptr) return nullptr;
    if (!own_memory::add(p, got)) {  // of a stack, only the part in use may keep something alive
      os::unmap(p, got);
      return nullptr;
    }
    // A huge page would make one touched stack cost 2 MiB.
    os::advise_huge(p, got, -1);
    reserved.fetch_add(got, std::memory_order_relaxed);
    pool.next = pool.guarded = p;
    pool.end = p + got;
    if (pool.chunk < kMaxChunk) pool.chunk *= 2;
  }
  char* const low = pool.next;
  if (low == pool.guarded && !make_guards(pool, bytes)) {
    make_guard(low);
    pool.guarded += bytes;
  }
  pool.next += bytes;
  return low + bytes;
}

}  // namespace

size_t guard_bytes() { return os::page_size(); }

uint32_t stack_size_for(size_t wish) {
  if (wish == 0) return default_stack();
  if (wish < kMinStack) wish = kMinStack;
  if (wish > kMaxStack) wish = kMaxStack;
  return static_cast<uint32_t>(std::bit_ceil(wish));
}

void set_default_stack(size_t bytes) {
  default_bytes.store(bytes == 0 ? static_cast<uint32_t>(kDefaultStack) : stack_size_for(bytes),
                      std::memory_order_relaxed);
}
uint32_t default_stack() { return default_bytes.load(std::memory_order_relaxed); }

char* take_stack(uint32_t bytes) {
  SpinGuard guard(lock);
  Pool& pool = pool_of(bytes);
  if (char* top = pool.warm.pop()) return top;
  if (char* top = pool.empty.pop()) return top;
  return carve(pool, bytes);
}

void put_stack(char* top, uint32_t bytes) {
  SpinGuard guard(lock);
  Pool& pool = pool_of(bytes);
  if (!pool.warm.push(top)) {
    // No memory to remember it by: its own goes back, and its addresses are lost.
    os::purge(top - bytes + guard_bytes(), bytes - guard_bytes());
    return;
  }
  if (oldest_warm == kForever) {
    oldest_warm = now();
    trim_at.store(oldest_warm + kTrimAfter, std::memory_order_relaxed);
  }
}

Time next_trim() { return trim_at.load(std::memory_order_relaxed); }

void trim_stacks(Time at) {
  if (at < next_trim()) return;
  SpinGuard guard(lock);
  uint32_t done = 0;
  bool is_left = false;
  for (unsigned i = 0; i < kSizes; ++i) {
    Pool& pool = pools[i];
    const size_t bytes = size_t{1} << (i + kMinLog2);
    // Those that have lain longest are at the front, but order does not matter: a second of rest is what counts, and
    // a program that uses them again takes warm ones first.
    while (pool.warm.count != 0 && done < kTrimBatch) {
      char* const top = pool.warm.data[pool.warm.count - 1];
      if (!pool.empty.push(top)) break;
      pool.warm.pop();
      os::purge(top - bytes + guard_bytes(), bytes - guard_bytes());
      ++done;
    }
    is_left = is_left || pool.warm.count != 0;
  }
  // The rest soon, but not at once: somebody may wait for this lock.
  oldest_warm = is_left ? at : kForever;
  trim_at.store(is_left ? at + kTrimAfter / 100 : kForever, std::memory_order_relaxed);
}

namespace {

StackStats stats_locked() {
  StackStats s{reserved.load(std::memory_order_relaxed), 0, 0};
  for (const Pool& pool : pools) {
    s.pooled += pool.warm.count;
    s.empty += pool.empty.count;
  }
  return s;
}

}  // namespace

bool try_stack_stats(StackStats* stats) {
  if (!lock.try_lock()) return false;
  *stats = stats_locked();
  lock.unlock();
  return true;
}

StackStats stack_stats() {
  SpinGuard guard(lock);
  return stats_locked();
}

SpinLock& stack_pool_lock() { return lock; }

// ---- overflow ---------------------------------------------------------------------------------------------------

namespace {

constinit struct sigaction previous = {};

[[noreturn]] void overflowed(const G* g) {
  Line line;
  line.text("tri: stack overflow: goroutine ").number(uint64_t{g->slot} + 1);
  if (g->name[0] != 0) line.text(" (").text(g->name).text(")");
  line.text(" has used up its ").bytes(g->stack_bytes).text("; it runs ");
  // dladdr() takes the linker's lock, which this thread could hold only if the linker itself ran out of stack.
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(g->entry), &info) != 0 && info.dli_sname != nullptr) {
    line.text(info.dli_sname).text(" at ");
  }
  line.pointer(reinterpret_cast<void*>(g->entry)).in_program().write_to(2);
  abort();
}

void on_segv(int signal, siginfo_t* info, void* context) {
  const G* const g = current_g();
  if (g != nullptr && g->stack_top != nullptr && info->si_code > 0) {
    const char* const low = g->stack_top - g->stack_bytes;
    const auto* const at = static_cast<const char*>(info->si_addr);
    if (at >= low && at < low + guard_bytes()) overflowed(g);
  }
  // Not ours: as if we were not there.
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    // The instruction faults again when we return, and then the default action is taken. A signal that was sent has to be sent again.
    sigaction(signal, &previous, nullptr);
    if (info->si_code <= 0) raise(signal);
  }
}

}  // namespace

void install_overflow_handler() {
  struct sigaction action = {};
  action.sa_sigaction = on_segv;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  struct sigaction before = {};
  sigaction(SIGSEGV, &action, &before);
  if (before.sa_sigaction != on_segv) previous = before;  // a forked child that starts anew has it already
}

bool set_signal_stack() {
  const size_t least = getauxval(AT_MINSIGSTKSZ);  // grows with the processor's registers
  const size_t bytes = align_up(kSignalStack + least, os::page_size());
  void* const low = os::map(bytes, os::page_size());
  if (low == nullptr) return false;
  stack_t s = {};
  s.ss_sp = low;
  s.ss_size = bytes;
  return sigaltstack(&s, nullptr) == 0;
}

}  // namespace tri::sched
