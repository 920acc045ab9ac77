// false_sharing.cc - Does the allocator give two threads parts of one cache line?
//
// After Berger et al., "Hoard: A Scalable Memory Allocator for Multithreaded Applications" (ASPLOS 2000), cache-thrash and
// cache-scratch. Each thread allocates a small object, writes it many times, and frees it. In the mode "active" that is
// all. In the mode "passive" the first thread has allocated one object for each worker, side by side, and the worker
// begins by freeing its own: an allocator that hands the same line back to the worker keeps the sharing alive.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kObjectSize = 8;
constexpr uint64_t kWrites = 40000;
constexpr uint64_t kObjects = 75000;  // of all threads, at scale 1

void write_one_object() {
  auto* word = static_cast<volatile uint64_t*>(std::malloc(kObjectSize));
  *word = 0;
  for (uint64_t i = 0; i < kWrites; i++) *word = *word + 1;
  if (*word != kWrites) fail("a write was lost");
  std::free(const_cast<uint64_t*>(word));
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  bool passive = args.mode == "passive";
  uint64_t objects = std::max<uint64_t>(1, args.scaled(kObjects) / args.threads);
  std::vector<void*> gifts(args.threads);
  if (passive)
    for (void*& gift : gifts) gift = std::malloc(kObjectSize);
  run_threads(args.threads, [&](unsigned id) {
    std::free(gifts[id]);
    for (uint64_t i = 0; i < objects; i++) write_one_object();
  });
  return done(args.threads * objects);
}
