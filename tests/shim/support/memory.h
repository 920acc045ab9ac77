// memory.h - Memory seen from inside: resident size, and blocks whose content can be checked.
//
// Nothing here allocates, so that measuring does not change what is measured.
//
// Used by: the probes and the tests that run under the library.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace tri_test {

// Hides a value from the optimiser: it may neither fold the size of an allocation nor drop the allocation.
template <class T>
inline T opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

// A number that stands after `key` in a file of /proc, or -1.
inline long proc_number(const char* file, const char* key) {
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[8192];
  size_t filled = 0;
  for (ssize_t n;
       filled < sizeof text - 1 && (n = read(fd, text + filled, sizeof text - 1 - filled)) > 0;)
    filled += static_cast<size_t>(n);
  close(fd);
  text[filled] = 0;
  const char* found = strstr(text, key);
  return found == nullptr ? -1 : strtol(found + strlen(key), nullptr, 10);
}

// Exact, where VmRSS of /proc/self/status lags by the kernel's per-CPU batches.
inline long rss_kib() { return proc_number("/proc/self/smaps_rollup", "\nRss:"); }
inline long thread_count() { return proc_number("/proc/self/status", "\nThreads:"); }

// A byte of the pattern of a block with this seed.
inline unsigned char pattern_byte(uint64_t seed, size_t at) {
  return static_cast<unsigned char>((seed * 0x9E3779B97F4A7C15u >> 56) + at * 131 + (at >> 8) * 17);
}

inline void fill(void* block, size_t size, uint64_t seed) {
  auto* bytes = static_cast<unsigned char*>(block);
  for (size_t i = 0; i < size; ++i) bytes[i] = pattern_byte(seed, i);
}

inline bool holds(const void* block, size_t size, uint64_t seed) {
  auto* bytes = static_cast<const unsigned char*>(block);
  for (size_t i = 0; i < size; ++i)
    if (bytes[i] != pattern_byte(seed, i)) return false;
  return true;
}

inline bool all_zero(const void* block, size_t size) {
  auto* bytes = static_cast<const unsigned char*>(block);
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

inline bool aligned_to(const void* p, size_t alignment) {
  return reinterpret_cast<uintptr_t>(p) % alignment == 0;
}

// A small deterministic generator (xorshift64*): the same seed gives the same test everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Du;
  }
  size_t below(size_t bound) { return static_cast<size_t>(next() % bound); }

 private:
  uint64_t state_;
};

}  // namespace tri_test
