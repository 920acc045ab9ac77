// survivors.cc - Generations of threads, whose blocks survive them (after the stress test of Leijen et al., mimalloc).
//
// All threads allocate, free, and swap blocks through one shared table; then all end at once, and a new set starts with
// what they left. Sizes are mostly small with some of up to 128 KiB.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kShared = 4000;        // slots of the shared table
constexpr size_t kPrivate = 2000;       // blocks that a thread holds at most
constexpr uint64_t kSteps = 60000;      // of a thread in its life
constexpr uint64_t kGenerations = 560;  // threads at scale 1

struct alignas(64) Slot {
  std::atomic<Block*> block{nullptr};
};

uint32_t mixed_size(Rng& rng) {
  uint32_t dice = rng.below(1000);
  if (dice == 0) return rng.log_between(14, 17);
  if (dice < 50) return rng.log_between(10, 13);
  return rng.log_between(3, 9);
}

// The header of a shared block is a block of its own, so that it travels too.
Block* make_shared_block(Rng& rng) {
  auto* header = static_cast<Block*>(std::malloc(sizeof(Block)));
  *header = make_block(rng, mixed_size(rng));
  return header;
}

void drop_shared_block(Block* header) {
  if (!header) return;
  drop_block(*header);
  std::free(header);
}

void life(std::vector<Slot>& shared, Rng rng) {
  std::vector<Block*> mine;
  for (uint64_t step = 0; step < kSteps; step++) {
    uint32_t dice = rng.below(8);
    if (mine.empty() || (dice < 4 && mine.size() < kPrivate)) {
      mine.push_back(make_shared_block(rng));
    } else if (dice < 7) {
      std::swap(mine[rng.below(static_cast<uint32_t>(mine.size()))], mine.back());
      drop_shared_block(mine.back());
      mine.pop_back();
    } else {
      // acq_rel: publishes our block's content, and pairs with whoever put theirs there.
      Block*& ours = mine[rng.below(static_cast<uint32_t>(mine.size()))];
      ours = shared[rng.below(kShared)].block.exchange(ours, std::memory_order_acq_rel);
      if (!ours) ours = make_shared_block(rng);
    }
  }
  for (Block* header : mine) drop_shared_block(header);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  std::vector<Slot> shared(kShared);
  uint64_t generations = std::max<uint64_t>(1, args.scaled(kGenerations) / args.threads);
  for (uint64_t g = 0; g < generations; g++) {
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < args.threads; id++)
      threads.emplace_back([&, seed = g * args.threads + id + 1] { life(shared, Rng(seed)); });
    for (auto& thread : threads) thread.join();
  }
  for (Slot& slot : shared) drop_shared_block(slot.block.load(std::memory_order_relaxed));
  return done(generations * args.threads * kSteps);
}
