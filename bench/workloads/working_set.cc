// working_set.cc - A working set of random sizes with an inverse distribution (after glibc's bench-malloc-thread).
//
// The chance of a size falls with its square, from 4 bytes to 32 KiB: nearly all blocks are tiny, and nearly all memory
// is in the others.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr uint32_t kWorkingSet = 1024;  // blocks per thread
constexpr uint32_t kMinSize = 4, kMaxSize = 32768;
constexpr uint64_t kOps = 50000000;  // of all threads, at scale 1

// Density ~ 1/size^2 between the bounds, by inversion of its integral.
uint32_t inverse_size(Rng& rng) {
  double u = static_cast<double>(rng.below(1u << 30)) / (1u << 30);
  double low = 1.0 / kMinSize, high = 1.0 / kMaxSize;
  return static_cast<uint32_t>(1.0 / (low - u * (low - high)));
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t ops = std::max<uint64_t>(1, args.scaled(kOps) / args.threads);
  run_threads(args.threads, [&](unsigned id) {
    Rng rng(id + 1);
    std::vector<Block> live(kWorkingSet);
    for (uint64_t i = 0; i < ops; i++) {
      Block& block = live[rng.below(kWorkingSet)];
      drop_block(block);
      block = make_block(rng, inverse_size(rng));
    }
    for (Block& block : live) drop_block(block);
  });
  return done(args.threads * ops);
}
