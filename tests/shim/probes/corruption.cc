// corruption.cc - Plays the attacker who writes into freed blocks to make malloc return an address of his choice.
//
//   corruption chosen SEED    every size, with addresses chosen to look valid, plain and disguised
//   corruption random SEED    one thousand random words
//
// Each attempt runs in a child. Malloc must give a proper block (ours, of the right class, nobody else's) or abort
// with its message. Prints "attempts N aborts M" and exits 0 when no child did anything else.
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

constexpr int kBlocks = 32;
constexpr size_t kSizes[] = {16, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
using Owns = bool (*)(const void*);

alignas(64) char g_target[4096];
Owns g_owns;

struct Heap {
  void* live[kBlocks];
  void* freed[kBlocks];
  size_t size;
};

Heap prepare(size_t size) {
  Heap h{};
  h.size = size;
  for (int i = 0; i < kBlocks; ++i) {
    h.live[i] = malloc(size);
    h.freed[i] = opaque(malloc(size));
    fill(h.live[i], size, static_cast<uint64_t>(i));
  }
  for (int i = 0; i < kBlocks; ++i) free(h.freed[i]);
  return h;
}

uint64_t word_at(const void* p) {
  uint64_t w;
  memcpy(&w, p, sizeof w);
  return w;
}

void check_allocations(const Heap& h) {
  static void* got[3 * kBlocks];
  size_t usable = malloc_usable_size(h.live[0]);
  for (int i = 0; i < 3 * kBlocks; ++i) {
    got[i] = malloc(h.size);
    require(got[i] != nullptr, "a block");
    require(aligned_to(got[i], 16), "an aligned block");
    require(g_owns(got[i]), "a block of the heap");
    require(malloc_usable_size(got[i]) == usable, "a block of the same class");
    fill(got[i], h.size, 1000 + static_cast<uint64_t>(i));
  }
  for (int i = 0; i < 3 * kBlocks; ++i)
    require(holds(got[i], h.size, 1000 + static_cast<uint64_t>(i)), "one owner for each new block");
  for (int i = 0; i < kBlocks; ++i)
    require(holds(h.live[i], h.size, static_cast<uint64_t>(i)), "live blocks left alone");
}

enum Place { kHead, kMiddle, kAll, kPlaces };

// Writes the word over the first word of one freed block (the last one freed, one in the middle) or of all.
void attack(const Heap& h, Place place, uint64_t (*disguise)(uint64_t, const void*),
            uint64_t word) {
  for (int i = 0; i < kBlocks; ++i) {
    if (place == kHead && i != kBlocks - 1) continue;
    if (place == kMiddle && i != kBlocks / 2) continue;
    uint64_t value = disguise(word, h.freed[i]);
    memcpy(h.freed[i], &value, sizeof value);
  }
}

// The ways in which allocators encode a link: plain, glibc's, xor with the place, inverted, byte order, relative to
// what stands there.
uint64_t (*const kDisguises[])(uint64_t, const void*) = {
    [](uint64_t w, const void*) { return w; },
    [](uint64_t w, const void* at) { return w ^ (reinterpret_cast<uintptr_t>(at) >> 12); },
    [](uint64_t w, const void* at) { return w ^ reinterpret_cast<uintptr_t>(at); },
    [](uint64_t w, const void*) { return ~w; },
    [](uint64_t w, const void*) { return __builtin_bswap64(w); },
    [](uint64_t w, const void* at) {
      return w ^ __builtin_bswap64(reinterpret_cast<uintptr_t>(at));
    },
    [](uint64_t w, const void* at) { return w ^ word_at(at); },
    [](uint64_t w, const void* at) { return w + word_at(at); },
    [](uint64_t w, const void* at) { return (word_at(at) & ~uint64_t{0xffff}) | (w & 0xffff); },
    [](uint64_t w, const void* at) { return w - reinterpret_cast<uintptr_t>(at); },
};

constexpr size_t kLowBytes = 8;  // the disguise that keeps all but the lowest two bytes
constexpr size_t kDisguiseCount = sizeof kDisguises / sizeof kDisguises[0];

const void* inside_of(const void* block) { return static_cast<const char*>(block) + 16; }

int g_attempts;
int g_aborts;

template <class Attack>
void in_child(size_t size, const char* what, Attack attack_heap) {
  ++g_attempts;
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) {
    alarm(10);
    Heap h = prepare(size);
    attack_heap(h);
    check_allocations(h);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
    ++g_aborts;
    return;
  }
  if (status != 0) {
    char text[200];
    snprintf(text, sizeof text,
             "%s into blocks of %zu bytes ends in a block or an abort, not in status %x", what,
             size, static_cast<unsigned>(status));
    require(false, text);
  }
}

void chosen_addresses(uint64_t seed) {
  alignas(64) char local[256];
  void* mapped =
      mmap(nullptr, 1u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Random random(seed);
  for (size_t size : kSizes) {
    for (int target = 0; target < 14; ++target) {
      for (size_t disguise = 0; disguise < kDisguiseCount; ++disguise) {
        auto place = static_cast<Place>(random.below(kPlaces));
        char what[100];
        snprintf(what, sizeof what, "target %d, disguise %zu, place %d", target, disguise, place);
        in_child(size, what, [&](Heap& h) {
          const void* targets[] = {local,
                                   g_target,
                                   mapped,
                                   h.live[3],
                                   inside_of(h.live[3]),
                                   h.freed[5],
                                   h.freed[kBlocks - 1],
                                   inside_of(h.freed[4]),
                                   nullptr,
                                   reinterpret_cast<void*>(1),
                                   reinterpret_cast<void*>(16),
                                   reinterpret_cast<void*>(~uintptr_t{0}),
                                   reinterpret_cast<void*>(&malloc),
                                   reinterpret_cast<void*>(size)};
          attack(h, place, kDisguises[disguise], reinterpret_cast<uintptr_t>(targets[target]));
        });
      }
    }
    // A short integer, as a counter or a flag at the start of a freed object: most of the link stays genuine.
    for (int i = 0; i < 60; ++i) {
      auto word = static_cast<uint16_t>(random.next());
      auto place = static_cast<Place>(random.below(kPlaces));
      char what[100];
      snprintf(what, sizeof what, "two bytes %x, place %d", word, place);
      in_child(size, what, [&](Heap& h) { attack(h, place, kDisguises[kLowBytes], word); });
    }
    // Replay: the genuine link of one freed block over that of another.
    for (int from = 0; from < kBlocks; from += 5)
      for (int to : {kBlocks - 1, kBlocks / 2, 1})
        in_child(size, "a replayed link", [&](Heap& h) { memcpy(h.freed[to], h.freed[from], 8); });
  }
}

void random_words(uint64_t seed) {
  Random random(seed);
  for (int i = 0; i < 1000; ++i) {
    uint64_t word = random.next();
    if (i % 3 == 0) word &= 0x7fff'ffff'fff0;  // looks like an address
    auto place = static_cast<Place>(random.below(kPlaces));
    auto* disguise = kDisguises[random.below(kDisguiseCount)];
    char what[100];
    snprintf(what, sizeof what, "word %lx, place %d", static_cast<unsigned long>(word), place);
    in_child(kSizes[random.below(sizeof kSizes / sizeof kSizes[0])], what,
             [&](Heap& h) { attack(h, place, disguise, word); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 3, "corruption chosen|random SEED");
  g_owns = reinterpret_cast<Owns>(dlsym(RTLD_DEFAULT, "tri_owns"));
  require(g_owns != nullptr, "tri_owns");
  uint64_t seed = strtoull(argv[2], nullptr, 10);
  if (strcmp(argv[1], "chosen") == 0)
    chosen_addresses(seed);
  else
    random_words(seed);
  printf("attempts %d aborts %d\n", g_attempts, g_aborts);
  return 0;
}
