// huge.cc - Few blocks of 5 to 25 MiB, replaced at random: does the allocator map and unmap each of them?
//
// The span of sizes is that of the malloc-large test in the suite of Leijen et al. Only a part of each block is written, as
// with arenas and generous buffers, so that what remains is the cost of having the addresses.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kLive = 20;
constexpr uint32_t kMinSize = 5u << 20, kMaxSize = 25u << 20;
constexpr size_t kStride = 32768;
constexpr uint64_t kOps = 1600;  // at scale 1

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  Rng rng(1);
  std::vector<Block> live(kLive);
  uint64_t ops = args.scaled(kOps);
  for (uint64_t i = 0; i < ops; i++) {
    Block& block = live[rng.below(kLive)];
    drop_block(block);
    block = make_block(rng, rng.between(kMinSize, kMaxSize));
    auto* bytes = static_cast<volatile char*>(block.data);
    for (size_t k = kStride; k + kStride < block.size; k += kStride) bytes[k] = 1;
  }
  for (Block& block : live) drop_block(block);
  return done(ops);
}
