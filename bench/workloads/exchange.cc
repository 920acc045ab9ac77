// exchange.cc - Threads that free what other threads allocated, at random (after the benchmark of Jansson's rpmalloc).
//
// A thread replaces blocks of its own table and, each round, gives a run of it to a common board and takes what another
// thread put there.
#include <mutex>

#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kTable = 8000;     // blocks per thread
constexpr size_t kRun = 1000;       // blocks given away per round
constexpr size_t kReplaced = 6000;  // blocks replaced per round
constexpr uint64_t kRounds = 4000;  // of all threads, at scale 1

// One place for one run: giving swaps it with what is there.
class Board {
 public:
  void swap(Block* run) {
    std::lock_guard lock(mutex_);
    std::swap_ranges(run, run + kRun, run_.begin());
  }
  ~Board() {
    for (Block& block : run_) drop_block(block);
  }

 private:
  std::mutex mutex_;
  std::vector<Block> run_{kRun};  // mutex_
};

void work(std::vector<Board>& boards, Rng rng, uint64_t rounds) {
  std::vector<Block> table(kTable);
  for (uint64_t round = 0; round < rounds; round++) {
    for (size_t i = 0; i < kReplaced; i++) {
      Block& block = table[rng.below(kTable)];
      drop_block(block);
      block = make_block(rng, rng.below(50) ? rng.between(16, 1000) : rng.between(1000, 8000));
    }
    boards[rng.below(static_cast<uint32_t>(boards.size()))].swap(&table[rng.below(kTable - kRun)]);
  }
  for (Block& block : table) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  std::vector<Board> boards(args.threads);
  uint64_t rounds = std::max<uint64_t>(1, args.scaled(kRounds) / args.threads);
  run_threads(args.threads, [&](unsigned id) { work(boards, Rng(id + 1), rounds); });
  return done(args.threads * rounds * kReplaced);
}
