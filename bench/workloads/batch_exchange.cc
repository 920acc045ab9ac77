// batch_exchange.cc - Batches of random sizes, of which a part is freed by another thread (after MicroQuill's sh8bench).
//
// As batch.cc, and every fourth block goes to the next thread of a ring, mixed between blocks that stay: an allocator that
// is quick only with whole batches of foreign blocks, or only with none, shows it here.
#include <memory>

#include "support/mailbox.h"
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBatch = 4000;
constexpr size_t kMailSlots = 16;
constexpr uint64_t kRounds = 5000;  // of all threads, at scale 1

using Batch = std::vector<Block>;

uint32_t skewed_size(Rng& rng) {
  uint32_t dice = rng.below(100);
  if (dice < 60) return rng.between(1, 64);
  if (dice < 90) return rng.between(65, 256);
  return rng.between(257, 1000);
}

void work(Mailbox<Batch>& in, Mailbox<Batch>& out, Rng rng, uint64_t rounds) {
  Batch batch(kBatch);
  for (uint64_t round = 0; round < rounds; round++) {
    for (Block& block : batch) block = make_block(rng, skewed_size(rng));
    Batch mail;
    mail.reserve(kBatch / 4);
    for (size_t i = 0; i < kBatch; i += 4) mail.push_back(std::exchange(batch[i], Block{}));
    // A full box means that the neighbour is slow or done; we then keep our mail. Waiting could close a ring of waiters.
    if (!out.try_put(mail))
      for (Block& block : mail) drop_block(block);
    while (auto foreign = in.try_take())
      for (Block& block : *foreign) drop_block(block);
    for (size_t i = 0; i < kBatch / 2; i++) drop_block(batch[i]);
    for (size_t i = kBatch; i-- > kBatch / 2;) drop_block(batch[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  std::vector<std::unique_ptr<Mailbox<Batch>>> ring;
  for (unsigned i = 0; i < args.threads; i++)
    ring.push_back(std::make_unique<Mailbox<Batch>>(kMailSlots));
  uint64_t rounds = std::max<uint64_t>(1, args.scaled(kRounds) / args.threads);
  run_threads(args.threads, [&](unsigned id) {
    work(*ring[id], *ring[(id + 1) % args.threads], Rng(id + 1), rounds);
  });
  for (auto& box : ring)
    while (auto rest = box->try_take())
      for (Block& block : *rest) drop_block(block);
  return done(args.threads * rounds * kBatch);
}
