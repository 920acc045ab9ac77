// larson.cc - A server whose connections move between threads.
//
// After Larson and Krishnan, "Memory Allocation for Long-Running Server Applications" (ISMM 1998). Each thread keeps a
// table of live blocks and replaces them at random. After some rounds it hands the table to its heir, a new thread, and
// ends. So a block is often freed by another thread than the one that allocated it, and that one is gone.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBlocks = 5000;  // per table
constexpr uint32_t kMinSize = 8, kMaxSize = 1000;
constexpr uint64_t kReplacements =
    500000;  // per thread: each block is replaced about 100 times, then the heir begins
constexpr uint64_t kGenerations = 140;  // of all tables together, at scale 1

struct Table {
  std::vector<Block> blocks{kBlocks};
  Rng rng;

  explicit Table(uint64_t seed) : rng(seed) {
    for (Block& block : blocks) block = make_block(rng, rng.between(kMinSize, kMaxSize));
  }
  ~Table() {
    for (Block& block : blocks) drop_block(block);
  }
  void replace() {
    for (uint64_t i = 0; i < kReplacements; i++) {
      Block& victim = blocks[rng.below(kBlocks)];
      drop_block(victim);
      victim = make_block(rng, rng.between(kMinSize, kMaxSize));
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t generations = std::max<uint64_t>(1, args.scaled(kGenerations) / args.threads);
  run_threads(args.threads, [&](unsigned id) {
    Table table(id + 1);
    // This thread only starts one heir after the other; the tables never wait for each other.
    for (uint64_t i = 0; i < generations; i++) std::thread([&] { table.replace(); }).join();
  });
  return done(args.threads * generations * kReplacements);
}
