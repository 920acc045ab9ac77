// xmalloc.cc - Some threads only allocate, the others only free.
//
// After Lever and Boreham, "malloc() Performance in a Multithreaded Linux Environment" (USENIX 2000). An allocator that
// keeps freed blocks in the cache of the thread that frees them grows, or takes a lock for each block.
// With unequal numbers of producers and consumers, returns come from many sides, or all from one.
#include "support/mailbox.h"
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBatch = 1024;  // blocks: the hand-over must not be what is measured
// Few: a long queue would be full or empty depending on which side is faster, and peak RSS would praise a slow malloc.
constexpr size_t kBatchesInFlight = 8;
constexpr uint64_t kBatches = 16000;  // of all producers, at scale 1

using Batch = std::vector<Block>;

void produce(Mailbox<Batch>& mailbox, Rng rng, uint64_t batches) {
  for (uint64_t i = 0; i < batches; i++) {
    Batch batch;
    batch.reserve(kBatch);
    for (size_t k = 0; k < kBatch; k++)
      batch.push_back(make_block(rng, rng.log_between(4, 9)));  // 16..511 bytes
    mailbox.put(std::move(batch));
  }
}

void consume(Mailbox<Batch>& mailbox) {
  while (auto batch = mailbox.take())
    for (Block& block : *batch) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  Mailbox<Batch> mailbox(kBatchesInFlight);
  uint64_t batches = std::max<uint64_t>(1, args.scaled(kBatches) / args.producers);
  std::atomic<unsigned> producing{args.producers};
  run_threads(args.producers + args.consumers, [&](unsigned id) {
    if (id >= args.producers) return consume(mailbox);
    produce(mailbox, Rng(id + 1), batches);
    if (producing.fetch_sub(1) == 1) mailbox.close();
  });
  return done(args.producers * batches * kBatch);
}
