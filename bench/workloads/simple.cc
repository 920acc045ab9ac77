// simple.cc - Batches of one size, freed in order and in reverse (after glibc's bench-malloc-simple).
//
// The friendliest pattern there is: few live blocks of one size at a time, always in cache.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBatches[] = {25, 100, 400, 1600};
constexpr uint32_t kSizes[] = {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
constexpr size_t kCacheBytes =
    128 << 10;  // larger batches would measure the heap's top, or the processor's caches
constexpr uint64_t kPairs = 4000000;  // per batch size and block size, at scale 1

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t pairs = args.scaled(kPairs) / args.threads;
  std::atomic<uint64_t> ops{0};
  run_threads(args.threads, [&](unsigned) {
    std::vector<char*> batch(kBatches[std::size(kBatches) - 1]);
    for (uint32_t size : kSizes)
      for (size_t n : kBatches) {
        if (n * size > kCacheBytes) break;
        ops.fetch_add(pairs / n * n, std::memory_order_relaxed);
        for (uint64_t round = 0; round < pairs / n; round++) {
          for (size_t i = 0; i < n; i++) {
            batch[i] = static_cast<char*>(std::malloc(size));
            *batch[i] = static_cast<char>(i);
          }
          bool reverse = round & 1;
          for (size_t i = 0; i < n; i++) {
            size_t k = reverse ? n - 1 - i : i;
            if (*batch[k] != static_cast<char>(k)) fail("a block lost its content");
            std::free(batch[k]);
          }
        }
      }
  });
  return done(ops.load(std::memory_order_relaxed));
}
