// thread_exit.cc - Many short threads, each of which leaves a few live blocks behind.
//
// A server with a thread per request and a client table. What a thread's end costs, and whether the memory that it
// leaves half used is found again: an allocator that forgets dead threads' spans grows without bound.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kClients = 20000;    // live blocks that outlive their thread
constexpr size_t kLeft = 20;          // that one thread leaves
constexpr size_t kScratch = 2000;     // blocks that one thread allocates and frees
constexpr uint64_t kRequests = 2000;  // threads at scale 1

struct Client {
  Block block;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
};

void request(std::vector<Client>& clients, Rng rng) {
  Block scratch[kScratch];
  for (Block& block : scratch) block = make_block(rng, rng.log_between(4, 11));
  for (size_t i = 0; i < kLeft; i++) {
    Client& client = clients[rng.below(kClients)];
    // acquire: pairs with the release in clear(); a slot that another request holds is skipped.
    if (client.busy.test_and_set(std::memory_order_acquire)) continue;
    drop_block(client.block);
    client.block = make_block(rng, rng.log_between(5, 12));
    client.busy.clear(std::memory_order_release);
  }
  for (Block& block : scratch) drop_block(block);
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  std::vector<Client> clients(kClients);
  uint64_t requests = std::max<uint64_t>(1, args.scaled(kRequests) / args.threads);
  for (uint64_t r = 0; r < requests; r++) {
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < args.threads; id++)
      threads.emplace_back([&, seed = r * args.threads + id + 1] { request(clients, Rng(seed)); });
    for (auto& thread : threads) thread.join();
  }
  for (Client& client : clients) drop_block(client.block);
  return done(requests * args.threads * kScratch);
}
