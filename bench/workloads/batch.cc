// batch.cc - Batches of random sizes, freed in several orders (after MicroQuill's first SMP benchmark, sh6bench).
//
// Each round allocates a batch with many small and few large blocks, then frees a part in order of allocation, a part in
// reverse and leaves a part until a later round: neither a stack nor a queue of free blocks suits all three.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBatch = 20000;
constexpr size_t kKeptRounds = 8;   // a kept block lives this many rounds
constexpr uint64_t kRounds = 1000;  // of all threads, at scale 1

uint32_t skewed_size(Rng& rng) {
  uint32_t dice = rng.below(100);
  if (dice < 70) return rng.between(1, 64);
  if (dice < 95) return rng.between(65, 256);
  return rng.between(257, 1000);
}

void work(Rng rng, uint64_t rounds) {
  std::vector<Block> batch(kBatch);
  std::vector<std::vector<Block>> kept(kKeptRounds);
  for (uint64_t round = 0; round < rounds; round++) {
    std::vector<Block>& old = kept[round % kKeptRounds];
    for (Block& block : batch) block = make_block(rng, skewed_size(rng));
    for (Block& block : old) drop_block(block);
    old.clear();
    for (size_t i = 0; i < kBatch; i += 10) old.push_back(std::exchange(batch[i], Block{}));
    for (size_t i = 0; i < kBatch / 2; i++) drop_block(batch[i]);
    for (size_t i = kBatch; i-- > kBatch / 2;) drop_block(batch[i]);
  }
  for (auto& old : kept)
    for (Block& block : old) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t rounds = std::max<uint64_t>(1, args.scaled(kRounds) / args.threads);
  run_threads(args.threads, [&](unsigned id) { work(Rng(id + 1), rounds); });
  return done(args.threads * rounds * kBatch);
}
