// large.cc - Objects of 32 KiB to 4 MiB, as image tiles and file buffers have.
//
// Each block is written page by page, as its user would: an allocator that returns memory at each free pays for page
// faults here, one that never does pays in peak RSS.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kLive = 60;  // blocks per thread: about 45 MiB
constexpr size_t kPageSize = 4096;
constexpr uint64_t kOps = 400000;  // of all threads, at scale 1

void write_pages(const Block& block) {
  auto* bytes = static_cast<volatile char*>(block.data);
  for (size_t i = kPageSize; i + kPageSize < block.size; i += kPageSize) bytes[i] = 1;
}

void work(Rng rng, uint64_t ops) {
  std::vector<Block> live(kLive);
  for (uint64_t i = 0; i < ops; i++) {
    Block& block = live[rng.below(kLive)];
    drop_block(block);
    block = make_block(rng, rng.log_between(15, 22));
    write_pages(block);
  }
  for (Block& block : live) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t ops = std::max<uint64_t>(1, args.scaled(kOps) / args.threads);
  run_threads(args.threads, [&](unsigned id) { work(Rng(id + 1), ops); });
  return done(args.threads * ops);
}
