// workload.h - What every workload shares: arguments, a random source, blocks that prove their content, threads.
//
// A workload does a fixed amount of work, so that its wall time is its score, and it ends with `ops N`. The amount is
// the same for every allocator: all choices come from a seeded Rng, never from an address or a clock.
#ifndef TRI_BENCH_WORKLOAD_H_
#define TRI_BENCH_WORKLOAD_H_

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "workload: %s\n", what);
  std::exit(1);
}

// `NAME [--threads N] [--producers N] [--consumers N] [--mode M] [--scale F]`; TRI_BENCH_SCALE is the default of --scale.
struct Args {
  unsigned threads = 1;
  unsigned producers = 1;
  unsigned consumers = 1;
  double scale = 1.0;
  std::string_view mode;

  Args(int argc, char** argv) {
    if (const char* env = std::getenv("TRI_BENCH_SCALE")) scale = std::atof(env);
    for (int i = 1; i + 1 < argc; i += 2) {
      std::string_view name = argv[i];
      const char* value = argv[i + 1];
      if (name == "--threads") {
        threads = parse_count(value);
      } else if (name == "--producers") {
        producers = parse_count(value);
      } else if (name == "--consumers") {
        consumers = parse_count(value);
      } else if (name == "--mode") {
        mode = value;
      } else if (name == "--scale") {
        scale = std::atof(value);
      } else {
        fail("unknown argument");
      }
    }
    if (argc % 2 == 0) fail("an argument lacks its value");
    if (!(scale > 0)) fail("--scale must be positive");
  }

  // `full` repetitions at scale 1, and at least one.
  uint64_t scaled(uint64_t full) const {
    return std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(full) * scale));
  }

 private:
  static unsigned parse_count(const char* text) {
    int n = std::atoi(text);
    if (n < 1) fail("a count must be positive");
    return static_cast<unsigned>(n);
  }
};

// Marsaglia's xorshift64, with the multiplication that makes its high bits good (Vigna). Three shifts: the generator
// must not be what is measured.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) { next(); }

  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return (state_ * 0x2545f4914f6cdd1du) >> 16;  // 48 bits
  }
  // Below n < 2^32, by multiplication: a division costs as much as a malloc.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(((next() & 0xffffffffu) * n) >> 32); }
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  // Log-uniform: each power of two is as likely as the next. Heaps of real programs look more like this than like `between`.
  uint32_t log_between(unsigned low_log2, unsigned high_log2) {
    unsigned log2 = low_log2 + below(high_log2 - low_log2);
    return (1u << log2) + below(1u << log2);
  }

 private:
  uint64_t state_;
};

// A block and what was written at both its ends: one handed out twice, or cut too small, loses its tag.
struct Block {
  void* data = nullptr;
  uint32_t size = 0;
  uint32_t tag = 0;

  void stamp() const {
    char* bytes = static_cast<char*>(data);
    size_t n = std::min<size_t>(size, sizeof tag);
    std::memcpy(bytes, &tag, n);
    std::memcpy(bytes + size - n, &tag, n);
  }
  void check() const {
    const char* bytes = static_cast<const char*>(data);
    size_t n = std::min<size_t>(size, sizeof tag);
    // Below 8 bytes the two tags overlap and the second one wins.
    if (std::memcmp(bytes + size - n, &tag, n)) fail("a block lost its tail");
    if (size >= 2 * sizeof tag && std::memcmp(bytes, &tag, n)) fail("a block lost its head");
  }
};

inline Block make_block(Rng& rng, uint32_t size) {
  Block block{std::malloc(size), size, static_cast<uint32_t>(rng.next())};
  if (!block.data) fail("out of memory");
  block.stamp();
  return block;
}

inline void drop_block(Block& block) {
  if (!block.data) return;
  block.check();
  std::free(block.data);
  block.data = nullptr;
}

// Runs body(index) on n threads. One thread is the caller itself: some allocators treat the first thread apart.
template <typename Body>
void run_threads(unsigned n, Body body) {
  if (n == 1) return body(0u);
  std::barrier start(static_cast<std::ptrdiff_t>(n));
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < n; i++)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      body(i);
    });
  for (auto& thread : threads) thread.join();
}

inline int done(uint64_t ops) {
  std::printf("ops %llu\n", static_cast<unsigned long long>(ops));
  return 0;
}

}  // namespace bench

#endif  // TRI_BENCH_WORKLOAD_H_
