// counters.h - The few figures that are kept up to date all the time, at the grain of spans.
//
// They stand in a record of their own so that it can lie in memory that a launcher reads: then a report can be made
// even after a process that left without a word. Written with relaxed atomics by any thread; nothing decides by them.
//
// Used by: mheap, thread_list, stats, shim (report), launcher.
#ifndef TRI_ALLOC_COUNTERS_H
#define TRI_ALLOC_COUNTERS_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri {

struct Counters {
  std::atomic<uint64_t> used_bytes{0};      // in spans of all kinds
  std::atomic<uint64_t> peak_bytes{0};      // the most that used_bytes was
  std::atomic<uint64_t> huge_bytes{0};      // of used_bytes: in mappings of their own
  std::atomic<uint64_t> free_bytes{0};      // in free pages that hold memory of the OS
  std::atomic<uint64_t> returned_bytes{0};  // ever given back
  std::atomic<uint64_t> arena_bytes{0};     // address space
  std::atomic<uint64_t> committed_bytes{0};
  std::atomic<uint64_t> threads{0};  // that have a record now
  std::atomic<uint64_t> most_threads{0};

  void add_used(uint64_t more, uint64_t less) {
    // A peak that another thread has just topped may be lost for a moment: the next change finds it again.
    const uint64_t used = used_bytes.fetch_add(more - less, std::memory_order_relaxed) + more - less;
    if (used > peak_bytes.load(std::memory_order_relaxed)) peak_bytes.store(used, std::memory_order_relaxed);
  }
  void set_threads(uint64_t n) {
    threads.store(n, std::memory_order_relaxed);
    if (n > most_threads.load(std::memory_order_relaxed)) most_threads.store(n, std::memory_order_relaxed);
  }
  void copy_from(const Counters& other);
};

inline void Counters::copy_from(const Counters& other) {
  const auto copy = [](std::atomic<uint64_t>& to, const std::atomic<uint64_t>& from) {
    to.store(from.load(std::memory_order_relaxed), std::memory_order_relaxed);
  };
  copy(used_bytes, other.used_bytes);
  copy(peak_bytes, other.peak_bytes);
  copy(huge_bytes, other.huge_bytes);
  copy(free_bytes, other.free_bytes);
  copy(returned_bytes, other.returned_bytes);
  copy(arena_bytes, other.arena_bytes);
  copy(committed_bytes, other.committed_bytes);
  copy(threads, other.threads);
  copy(most_threads, other.most_threads);
}

/// Where the counters are now; starts with a record inside the library.
extern constinit Counters* counters;
/// Moves them to another record, with their values. While no other thread allocates.
void move_counters(Counters* to);

}  // namespace tri

#endif
