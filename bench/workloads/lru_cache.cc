// lru_cache.cc - A cache with a byte budget, whose values change their sizes as the day goes on.
//
// Fragmentation: every phase draws from another range of sizes, and the old values leave one by one between the live
// ones. The values in use never exceed the budget, so peak RSS above it is the allocator's and the index's. Keys are
// hashed; entries hang in a list by age.
#include <list>
#include <unordered_map>

#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBudgetBytes = 48u << 20;      // of all threads
constexpr uint32_t kKeys = 1u << 18;            // of all threads
constexpr uint64_t kRequestsPerPhase = 700000;  // of all threads, at scale 1

struct Phase {
  uint32_t low, high;
};
// Small, medium, large, then small again: the last phase needs what the large one left.
constexpr Phase kPhases[] = {{40, 120},     {150, 400}, {24, 64}, {700, 2200},
                             {4000, 12000}, {60, 900},  {32, 96}};

class Cache {
 public:
  explicit Cache(size_t budget_bytes) : budget_bytes_(budget_bytes) {}
  ~Cache() {
    while (!entries_.empty()) evict();
  }

  void request(uint32_t key, Rng& rng, Phase phase) {
    if (auto found = index_.find(key); found != index_.end()) {
      found->second->block.check();
      entries_.splice(entries_.begin(), entries_, found->second);
      return;
    }
    uint32_t size = rng.between(phase.low, phase.high);
    while (bytes_ + size > budget_bytes_) evict();
    entries_.push_front({key, make_block(rng, size)});
    index_[key] = entries_.begin();
    bytes_ += size;
  }

 private:
  struct Entry {
    uint32_t key;
    Block block;
  };

  void evict() {
    Entry& oldest = entries_.back();
    bytes_ -= oldest.block.size;
    index_.erase(oldest.key);
    drop_block(oldest.block);
    entries_.pop_back();
  }

  size_t budget_bytes_, bytes_ = 0;
  std::list<Entry> entries_;
  std::unordered_map<uint32_t, std::list<Entry>::iterator> index_;
};

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  uint64_t requests = std::max<uint64_t>(1, args.scaled(kRequestsPerPhase) / args.threads);
  run_threads(args.threads, [&](unsigned id) {
    Rng rng(id + 1);
    Cache cache(kBudgetBytes / args.threads);
    uint32_t keys = kKeys / args.threads;
    for (Phase phase : kPhases)
      for (uint64_t i = 0; i < requests; i++) {
        // The smaller of two draws: some keys are asked for more often than others.
        uint32_t key = std::min(rng.below(keys), rng.below(keys));
        cache.request(key, rng, phase);
      }
  });
  return done(args.threads * requests * std::size(kPhases));
}
