// random_alive.cc - A fixed number of live blocks of many sizes, replaced at random (after the alloc-test of OLogN).
//
// Blocks die in an order that has nothing to do with their birth, and most of them have left the processor's caches by
// then. What an allocator touches besides the block decides.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr uint32_t kLive = 1u << 16;  // of all threads
constexpr uint64_t kOps = 14000000;   // of all threads, at scale 1

void work(Rng rng, uint32_t live_count, uint64_t ops) {
  std::vector<Block> live(live_count);
  for (uint64_t i = 0; i < ops; i++) {
    Block& block = live[rng.below(live_count)];
    drop_block(block);
    // Nine in ten are below 256 bytes; the large ones still hold half of the memory.
    block = make_block(rng, rng.below(10) ? rng.log_between(3, 8) : rng.log_between(8, 11));
  }
  for (Block& block : live) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t ops = std::max<uint64_t>(1, args.scaled(kOps) / args.threads);
  run_threads(args.threads, [&](unsigned id) { work(Rng(id + 1), kLive / args.threads, ops); });
  return done(args.threads * ops);
}
