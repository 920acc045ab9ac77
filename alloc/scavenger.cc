// scavenger.cc - See scavenger.h.
#include "alloc/scavenger.h"

#include <atomic>

#include "alloc/base/sys.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/thread.h"

namespace tri {
namespace {

constexpr int64_t kTick = 100'000'000;  // ns

// Below this a purge is not worth its system call: 128 KiB.
constexpr size_t kFewPages = 32;
// Worth a thread: 1 MiB.
constexpr size_t kManyPages = 256;
// Worth a second thread in a program that has only one: 64 MiB.
constexpr size_t kPagesWorthASecondThread = 64 * 1024 * 1024 / kPageSize;
// The thread ends after so many ticks without work.
constexpr int kIdleTicks = 10;

// ns; while there is a limit, kLimited more, so that the path which every slow path of every thread takes has one question for both.
constinit std::atomic<int64_t> half_life_now{1'000'000'000};
constexpr int64_t kLimited = INT64_MIN + 1;
constinit std::atomic<uint64_t> limit_now{UINT64_MAX};
// Given back beyond what must be, so that not each span that is taken asks the kernel: 1 MiB.
constexpr size_t kPagesBeyond = 256;

enum class Background : uint32_t { kNone, kRunning };
constinit std::atomic<Background> background{Background::kNone};
constinit std::atomic<bool> in_background{false};  // the thread's own word
constinit std::atomic<int64_t> last_step{0};
constinit std::atomic<uint32_t> polls{0};
constinit std::atomic<bool> stepping{false};
constinit std::atomic<uint64_t> huge_before{0};
constinit os::BareThread thread;

/// Free pages that make way for huge blocks mapped since the last call. Those cannot use them, and the process would hold
/// both; purging n bytes costs less than the page faults of n new ones. A sixteenth of the heap stays.
size_t pages_in_the_way(size_t dirty) {
  const uint64_t huge = counters->huge_bytes.load(std::memory_order_relaxed) + heap.kept_huge_bytes();
  // Looked at first: every slow path of every thread comes here, and a write each would pass the line around between them.
  if (TRI_LIKELY(huge == huge_before.load(std::memory_order_relaxed))) return 0;
  const uint64_t before = huge_before.exchange(huge, std::memory_order_relaxed);
  if (huge <= before) return 0;
  const size_t keep = counters->used_bytes.load(std::memory_order_relaxed) / kPageSize / 16;
  const size_t mapped = (huge - before) / kPageSize;
  return dirty < keep ? 0 : mapped < dirty - keep ? mapped : dirty - keep;
}

/// Free pages that are too many.
size_t pages_beyond_limit(size_t idle) {
  const uint64_t limit = limit_now.load(std::memory_order_relaxed);
  const uint64_t all = counters->used_bytes.load(std::memory_order_relaxed) + idle * kPageSize;
  if (all <= limit) return 0;
  const size_t most = (all - limit) / kPageSize + kPagesBeyond;
  return most < idle ? most : idle;
}

/// What could go back to the OS.
size_t idle_pages() { return heap.dirty_pages() + heap.kept_huge_bytes() / kPageSize; }

/// 2^-x for x >= 0, to 1 %: the error of a purge is made good by the next.
double half_to_the(double x) {
  double result = 1;
  for (; x >= 1 && result > 1e-6; x -= 1) result /= 2;
  return x >= 1 ? 0 : result * (1 - x * (0.6931 - x * (0.2402 - x * 0.0529)));
}

void step(int64_t now) {
  if (stepping.exchange(true, std::memory_order_acquire)) return;
  const int64_t elapsed = now - last_step.load(std::memory_order_relaxed);
  last_step.store(now, std::memory_order_relaxed);
  const int64_t life = scavenger::half_life();
  const size_t pages = decayed_pages(heap.take_lowest_dirty(), elapsed, life);
  if (pages != 0) heap.purge(pages);
  heap.release_huge(now - life);
  stepping.store(false, std::memory_order_release);
}

void look_in_background() {
  constinit static const uint32_t never_changes = 0;
  int idle = 0;
  for (;;) {
    sys::futex_wait(&never_changes, 0, kTick);
    step(os::now_ns());
    idle = idle_pages() < kFewPages ? idle + 1 : 0;
    if (idle < kIdleTicks) continue;
    // seq_cst, as the exchange in poll(): either poll() sees that nobody runs, or we see what it freed.
    background.store(Background::kNone, std::memory_order_seq_cst);
    if (idle_pages() < kManyPages) return;
    Background none = Background::kNone;
    if (!background.compare_exchange_strong(none, Background::kRunning, std::memory_order_seq_cst)) return;
    idle = 0;
  }
}

void run_in_background(void*) {
  in_background.store(true, std::memory_order_relaxed);
  look_in_background();
  in_background.store(false, std::memory_order_relaxed);
}

/// True if the background thread runs, started now or before.
bool have_background(size_t idle) {
  if (background.load(std::memory_order_seq_cst) == Background::kRunning) return true;
  if (Thread::count() < 2 && idle < kPagesWorthASecondThread) return false;
  Background none = Background::kNone;
  if (!background.compare_exchange_strong(none, Background::kRunning, std::memory_order_seq_cst)) return true;
  last_step.store(os::now_ns(), std::memory_order_relaxed);
  if (os::start_bare_thread(&thread, run_in_background, nullptr)) return true;
  background.store(Background::kNone, std::memory_order_relaxed);
  return false;
}

/// The half-life as it was set. Out of line: poll() is to save no registers for it.
[[gnu::noinline, gnu::cold]] int64_t keep_below_limit(size_t idle) {
  const int64_t life = scavenger::half_life();
  const size_t beyond = pages_beyond_limit(idle);
  if (beyond == 0) return life;
  SlowPath slow;
  if (slow.get() == nullptr) return life;
  const size_t huge = heap.release_huge(INT64_MAX) / kPageSize;
  if (huge < beyond) heap.purge(beyond - huge);
  return life;
}

}  // namespace

size_t decayed_pages(size_t unused, int64_t elapsed_ns, int64_t half_life_ns) {
  if (unused <= kFewPages || half_life_ns <= 0) return unused;
  const double kept = half_to_the(static_cast<double>(elapsed_ns) / static_cast<double>(half_life_ns));
  const size_t give = static_cast<size_t>(static_cast<double>(unused) * (1 - kept)) + 1;
  return give < unused ? give : unused;
}

namespace scavenger {

void set_half_life(int64_t ns) {
  const bool limited = limit_now.load(std::memory_order_relaxed) != UINT64_MAX;
  half_life_now.store(limited ? ns + kLimited : ns, std::memory_order_relaxed);
}
int64_t half_life() {
  const int64_t ns = half_life_now.load(std::memory_order_relaxed);
  return ns < kPurgeNever ? ns - kLimited : ns;
}

void set_limit(uint64_t bytes) {
  const int64_t ns = half_life();
  limit_now.store(bytes, std::memory_order_relaxed);
  set_half_life(ns);
}

size_t purge_all() { return heap.purge(SIZE_MAX) * kPageSize + heap.release_huge(INT64_MAX); }

void poll() {
  const size_t idle = idle_pages();
  if (TRI_LIKELY(idle < kManyPages)) return;
  int64_t life = half_life_now.load(std::memory_order_relaxed);
  if (TRI_UNLIKELY(life < 0)) {
    life = life == kPurgeNever ? life : keep_below_limit(idle);
    if (life == kPurgeNever) return;
  }
  // Locks are taken from here on: a signal handler that comes in between must know (see thread.h).
  SlowPath slow;
  if (slow.get() == nullptr) return;
  if (life == kPurgeNow) {
    purge_all();
    return;
  }
  if (const size_t pages = pages_in_the_way(heap.dirty_pages()); pages != 0) heap.purge(pages);
  if (have_background(idle)) return;
  // The clock costs a system call, so it is looked at now and then only.
  if (polls.fetch_add(1, std::memory_order_relaxed) % 64 != 0) return;
  const int64_t now = os::now_ns();
  if (now - last_step.load(std::memory_order_relaxed) >= kTick) step(now);
}

bool is_in_background() { return in_background.load(std::memory_order_relaxed); }

void reset_after_fork() {
  in_background.store(false, std::memory_order_relaxed);
  background.store(Background::kNone, std::memory_order_relaxed);
  stepping.store(false, std::memory_order_relaxed);
  os::forget_bare_threads();
}

}  // namespace scavenger
}  // namespace tri
