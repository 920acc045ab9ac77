// support.h - What the tests of the allocator share: seeds, patterns in blocks, threads, children, a settled heap.
#ifndef TRI_TESTS_ALLOC_SUPPORT_H
#define TRI_TESTS_ALLOC_SUPPORT_H

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "alloc/base/bits.h"
#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "alloc/scavenger.h"

namespace tri::test {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif
#ifdef __SANITIZE_THREAD__
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif
inline constexpr bool kSanitized = kAsan || kTsan;
/// Another processor's program, under an emulator.
inline constexpr bool kEmulated = TRI_TEST_EMULATED;
/// Each step takes several times as long, and so do crowds that come to a deadline.
inline constexpr bool kSlow = kSanitized || kEmulated;
// For tests that cannot be in such a build, each with its reason.
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define TRI_TEST_SANITIZED 1
#else
#define TRI_TEST_SANITIZED 0
#endif

/// How often a random test runs its loop: fewer times where each step costs more.
constexpr size_t rounds(size_t in_release) {
  return kTsan ? in_release / 10 : kSlow || kVerify ? in_release / 4 : in_release;
}

/// The background thread is no thread of libc, so no sanitizer's either: tests that want it say so.
class NoBackgroundThread : public ::testing::Environment {
 public:
  void SetUp() override { scavenger::set_half_life(scavenger::kPurgeNever); }
};
inline ::testing::Environment* const no_background_thread = ::testing::AddGlobalTestEnvironment(new NoBackgroundThread);

// ---- chance -----------------------------------------------------------------------------------

/// Drawn before main(). A function's own variable has a guard, and a goroutine that is interrupted while it holds one makes who waits for
/// it wait for ever where TSan keeps the signal from him.
inline const uint64_t drawn_seed = [] {
  const char* given = getenv("TRI_SEED");
  return given != nullptr ? strtoull(given, nullptr, 0) : uint64_t{std::random_device{}()};
}();

/// The seed of this run: that of the environment, or a new one; printed when first asked for.
inline uint64_t seed() {
  static std::atomic<bool> printed{false};
  if (!printed.exchange(true)) {
    printf("seed: TRI_SEED=%llu repeats this run\n", static_cast<unsigned long long>(drawn_seed));
    fflush(stdout);
  }
  return drawn_seed;
}

/// A stream of numbers; streams of one seed differ by `stream`.
class Random {
 public:
  explicit Random(uint64_t stream = 0) : state_(mix(seed() ^ mix(stream))) {}

  uint64_t next() { return mix(state_++); }
  /// In [0, n).
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }
  /// In [low, high].
  size_t between(size_t low, size_t high) { return low + below(high - low + 1); }
  bool one_in(size_t n) { return below(n) == 0; }
  /// Small numbers as likely as large ones: uniform in the logarithm, 1 ... most.
  size_t size_up_to(size_t most) {
    const size_t bits = between(0, log2_floor(most));
    const size_t n = (size_t{1} << bits) | below(size_t{1} << bits);
    return n < most ? n : most;
  }

 private:
  uint64_t state_;
};

// ---- contents of blocks -----------------------------------------------------------------------

/// Calls fn(offset, length) for the parts of an n-byte block that carry a pattern: all of the first 4 KiB, eight bytes of
/// each 64 KiB, and the end if `tail`. A block's prefix carries what a shorter block would.
template <class Fn>
void each_part(size_t n, bool tail, Fn&& fn) {
  fn(size_t{0}, n < 4096 ? n : size_t{4096});
  for (size_t at = 65536; at + 8 <= n; at += 65536) fn(at, size_t{8});
  if (tail && n > 4096) fn(n - 16, size_t{16});
}

inline unsigned char pattern_byte(uint64_t tag, size_t i) {
  return static_cast<unsigned char>(mix(tag + i / 8) >> (i % 8 * 8));
}

inline void fill(void* p, size_t n, uint64_t tag) {
  auto* bytes = static_cast<unsigned char*>(p);
  each_part(n, true, [&](size_t at, size_t length) {
    size_t i = at;
    for (; i % 8 == 0 && i + 8 <= at + length; i += 8) {
      const uint64_t word = mix(tag + i / 8);
      memcpy(bytes + i, &word, 8);
    }
    for (; i < at + length; ++i) bytes[i] = pattern_byte(tag, i);
  });
}

/// True if the first `n` bytes are as fill() left them in a block of `filled` bytes.
inline bool holds(const void* p, size_t n, uint64_t tag, size_t filled) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  bool same = true;
  each_part(n, n == filled, [&](size_t at, size_t length) {
    size_t i = at;
    for (; i % 8 == 0 && i + 8 <= at + length; i += 8) {
      const uint64_t word = mix(tag + i / 8);
      same = same && memcmp(bytes + i, &word, 8) == 0;
    }
    for (; i < at + length; ++i) same = same && bytes[i] == pattern_byte(tag, i);
  });
  return same;
}
inline bool holds(const void* p, size_t n, uint64_t tag) { return holds(p, n, tag, n); }

/// All of the first 64 KiB, and a word of each page after that.
inline bool is_zero(const void* p, size_t n) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  for (size_t i = 0; i < n; i += i < 65536 || i + 4096 >= n ? 1 : 4096) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

inline bool aligned_to(const void* p, size_t alignment) {
  return is_aligned(reinterpret_cast<uintptr_t>(p), alignment);
}

inline char* at(void* p, size_t offset) { return static_cast<char*>(p) + offset; }

// ---- the heap ---------------------------------------------------------------------------------

/// Gives back what the calling thread keeps for later.
inline void drop_caches() {
  SlowPath slow;
  slow.get()->release_caches();
}

inline uint64_t used_bytes() { return counters->used_bytes.load(std::memory_order_relaxed); }
inline uint64_t arena_bytes() { return counters->arena_bytes.load(std::memory_order_relaxed); }

/// Gives the calling thread a record, and an arena to the heap, so that counters can be compared from here on.
inline void warm_up() {
  deallocate(allocate(1));
  drop_caches();
}

/// Makes the system refuse memory from its call number `n` on, until the end of the scope.
class Faults {
 public:
  explicit Faults(long n) { os::fail_after(n); }
  ~Faults() { os::fail_after(-1); }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;
};

// ---- threads and processes --------------------------------------------------------------------

/// Runs fn(i) in `count` threads and waits for them.
template <class Fn>
void in_threads(size_t count, Fn&& fn) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i) threads.emplace_back([&fn, i] { fn(i); });
  for (std::thread& t : threads) t.join();
}

template <class Fn>
void in_thread(Fn&& fn) {
  std::thread(fn).join();
}

class Barrier {
 public:
  explicit Barrier(unsigned count) { pthread_barrier_init(&barrier_, nullptr, count); }
  ~Barrier() { pthread_barrier_destroy(&barrier_); }
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;
  void wait() { pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

/// The exit status of a child in which fn() returned it; 1000 and more: the signal that ended it.
inline int wait_for(pid_t pid) {
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// fork() while every other thread sleeps. A sanitizer's allocator is not told of fork(): a lock of its own that a thread holds at that moment,
/// one that just begins for example, would stay taken in the child.
inline pid_t fork_at_rest() {
  const auto all_sleep = [] {
    const std::string self = std::to_string(gettid());
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      if (task.path().filename() == self) continue;
      std::string stat;
      std::getline(std::ifstream(task.path() / "stat"), stat);
      const size_t name_end = stat.rfind(')');
      if (name_end != std::string::npos && stat.substr(name_end, 3) != ") S") return false;
    }
    return true;
  };
  for (int sleeping = 0; sleeping < 3;) {
    sleeping = all_sleep() ? sleeping + 1 : 0;
    usleep(500);
  }
  return fork();
}

/// For a death test: the program's last word is this line. An emulator adds its own on how the program ended.
inline std::string in_one_line(const std::string& what) {
  return "^tri: " + what + " in .*\\[[0-9]+\\]\n" + (kEmulated ? "qemu: .*\n$" : "$");
}

/// Runs fn() in a child that knows nothing of what the allocator does at fork(): before the process has threads.
template <class Fn>
int in_child(Fn&& fn) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) _exit(fn());
  return wait_for(pid);
}

}  // namespace tri::test

// For children, which cannot report to GoogleTest: says where, and ends.
#define CHILD_CHECK(condition)                                                    \
  do {                                                                            \
    if (!(condition)) {                                                           \
      fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #condition); \
      _exit(3);                                                                   \
    }                                                                             \
  } while (false)

#endif
