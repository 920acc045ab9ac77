// stress.cc - Everything at once: threads that exchange blocks, restart, resize, fork.
//
// Each round starts its threads anew. A thread works mostly on its own blocks; half of what it allocates goes through
// the shared slots to whoever comes by. From time to time it forks, and the child checks every block that it can see
// and allocates. Runs under a preloaded library and links nothing of it.
//
//   stress --seconds 20 --threads 4 --seed N
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <thread>
#include <vector>

#include "options.h"
#include "slots.h"

namespace stress {
namespace {

constexpr size_t kSlots = 4000;
constexpr size_t kOwn = 200;      // blocks that a thread keeps to itself
constexpr size_t kSteps = 20000;  // per thread and round
constexpr size_t kForkEvery = 15000;

Slot g_slots[kSlots];
std::atomic<long> g_operations{0};
std::atomic<long> g_forks{0};
std::atomic<long> g_refusals{0};  // malloc may answer null; it must not do so here

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Mostly small, with a tail: one in ten a few KiB, one in a hundred large, rarely huge.
size_t random_size(Random& random) {
  if (random.one_in(2000)) return random.below(kMaxSlotSize);
  if (random.one_in(100)) return random.below(200000);
  if (random.one_in(10)) return random.below(16384);
  return random.below(512);
}

Block allocate(Random& random) {
  size_t size = random_size(random);
  void* p = nullptr;
  switch (random.below(10)) {
    case 0:
      p = calloc(1, size);
      if (p != nullptr) check_zero(p, size);
      break;
    case 1: {
      size_t alignment = size_t{16} << random.below(13);
      p = aligned_alloc(alignment, size);
      if (reinterpret_cast<uintptr_t>(p) % alignment != 0) fail("misaligned", p, size);
      break;
    }
    case 2:
      p = realloc(nullptr, size);
      break;
    default:
      p = malloc(size);
  }
  if (p == nullptr) {
    ++g_refusals;
    return {};
  }
  if (malloc_usable_size(p) < size) fail("the usable size is too small", p, size);
  write_pattern(p, size);
  return {p, size};
}

void release(Block b) {
  if (b.p != nullptr) check_pattern(b.p, b.p, b.size, b.size, "content changed before free");
  free(b.p);
}

Block resize(Block b, Random& random) {
  size_t size = std::max<size_t>(random_size(random), 1);
  check_pattern(b.p, b.p, b.size, b.size, "content changed before realloc");
  auto old = b.p;
  void* p = realloc(b.p, size);
  if (p == nullptr) {
    ++g_refusals;
    return b;
  }
  // Strides differ by size: compare what was written under the old size, as far as the new one reaches.
  check_pattern(p, old, b.size, std::min(b.size, size), "realloc lost content");
  write_pattern(p, size);
  return {p, size};
}

// A child is alone: no slot changes under it, but threads that are gone may have owned blocks on their way.
[[noreturn]] void child(std::vector<Block>& own, Random random) {
  alarm(60);
  for (auto& slot : g_slots) release(slot.exchange({}));
  for (auto& b : own) release(b);
  own.clear();
  for (int i = 0; i < 2000; ++i) release(allocate(random));
  std::thread([&random] {
    for (int i = 0; i < 500; ++i) release(allocate(random));
  }).join();
  _exit(0);
}

void fork_now(std::vector<Block>& own, Random& random) {
  pid_t pid = fork();
  if (pid == 0) child(own, Random(random.next()));
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
    fprintf(stderr, "stress: a child ended with status %x\n", static_cast<unsigned>(status));
    abort();
  }
  ++g_forks;
}

void huge_block(Random& random) {
  size_t size = (size_t{1} << 20) + random.below(size_t{100} << 20);
  void* p = random.one_in(2) ? malloc(size) : calloc(1, size);
  if (p == nullptr) {
    ++g_refusals;
    return;
  }
  write_pattern(p, size);
  check_pattern(p, p, size, size, "a huge block changed");
  void* old = p;
  size_t larger = size * 3 / 2;
  p = realloc(p, larger);
  if (p == nullptr) {
    ++g_refusals;
    free(old);
    return;
  }
  check_pattern(p, old, size, size, "realloc of a huge block lost content");
  free(p);
}

void work(uint64_t seed) {
  Random random(seed);
  std::vector<Block> own(kOwn);
  for (size_t step = 0; step < kSteps; ++step) {
    Block& mine = own[random.below(kOwn)];
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
      case 3: {  // half of all blocks change hands: what this thread made goes out, another's comes in
        Block incoming = g_slots[random.below(kSlots)].exchange(allocate(random));
        if (random.one_in(2)) {
          release(incoming);
        } else {
          release(mine);
          mine = incoming;
        }
        break;
      }
      case 4:
        if (mine.p != nullptr) {
          mine = resize(mine, random);
          break;
        }
        [[fallthrough]];
      default:
        release(mine);
        mine = allocate(random);
    }
    if (random.one_in(20000)) huge_block(random);
    if (random.one_in(20000)) malloc_trim(0);
    if (random.one_in(kForkEvery)) fork_now(own, random);
  }
  g_operations += static_cast<long>(kSteps);
  for (auto& b : own) release(b);
}

void empty_slots() {
  for (auto& slot : g_slots) release(slot.exchange({}));
}

}  // namespace
}  // namespace stress

int main(int argc, char** argv) {
  using namespace stress;
  Options options(argc, argv);
  Random random(options.seed);
  double end = now() + static_cast<double>(options.seconds);
  long rounds = 0;
  while (now() < end) {
    std::vector<std::thread> threads;
    for (long t = 0; t < options.threads; ++t) threads.emplace_back(work, random.next());
    for (auto& t : threads) t.join();
    // Sometimes everything is given back between rounds, mostly the next threads inherit it.
    if (random.one_in(4)) empty_slots();
    ++rounds;
  }
  empty_slots();
  printf("rounds %ld operations %ld forks %ld refusals %ld\n", rounds, g_operations.load(),
         g_forks.load(), g_refusals.load());
  if (g_refusals != 0) fail("malloc refused without need", nullptr, 0);
  return 0;
}
