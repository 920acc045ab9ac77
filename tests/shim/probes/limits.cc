// limits.cc - Lives under an address-space limit.
//
//   limits small            some work that fits into any of the limits that the test sets from outside
//   limits exhaust          reaches the limit and comes back: null and ENOMEM, then all sizes again
//   limits threads          all functions in many threads at the limit, thread start included
//   limits first_malloc     a new thread's first call when nothing is left
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

constexpr size_t kMiB = 1u << 20;
constexpr size_t kSizes[] = {16, 64, 500, 3000, 20000, 32768, 100000, 1u << 20, 8u << 20};

void limit_to(size_t mib_more) {
  auto now = static_cast<rlim_t>(proc_number("/proc/self/status", "\nVmSize:")) * 1024;
  rlimit limit{};
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = now + mib_more * kMiB;
  require(setrlimit(RLIMIT_AS, &limit) == 0, "a limit");
}

void small() {
  // 8 MiB live of mixed sizes, twice, with all kinds of functions.
  for (int round = 0; round < 2; ++round) {
    static void* held[8000];
    for (size_t i = 0; i < 8000; ++i) {
      held[i] = i % 3 == 0 ? calloc(1, i % 2000) : malloc(i % 2000);
      require(held[i] != nullptr, "8 MiB under the limit");
      fill(held[i], i % 2000, i);
    }
    for (size_t i = 0; i < 8000; ++i) {
      require(holds(held[i], i % 2000, i), "whole blocks");
      free(held[i]);
    }
  }
  void* p = malloc(4 * kMiB);
  require(p != nullptr, "4 MiB under the limit");
  p = realloc(p, 8 * kMiB);
  require(p != nullptr, "8 MiB under the limit");
  free(p);
  void* a = memalign(65536, 100000);
  require(aligned_to(a, 65536) && a != nullptr, "aligned memory under the limit");
  free(a);
  say("worked\n");
}

// Takes blocks of one size until there are no more; they are chained through their first words.
void* take_all(size_t size, size_t* count) {
  void* chain = nullptr;
  *count = 0;
  for (;;) {
    errno = 0;
    void* p = malloc(size);
    if (p == nullptr) {
      require(errno == ENOMEM, "ENOMEM when nothing is left");
      return chain;
    }
    memcpy(p, &chain, sizeof chain);
    chain = p;
    ++*count;
  }
}

void free_chain(void* chain) {
  while (chain != nullptr) {
    void* next;
    memcpy(&next, chain, sizeof next);
    free(chain);
    chain = next;
  }
}

void exhaust() {
  limit_to(96);
  for (size_t size : kSizes) {
    size_t count = 0;
    void* chain = take_all(size, &count);
    require(count * size > 40 * kMiB, "at least 40 of the 96 MiB can be used");
    errno = 0;
    require(calloc(1, 64 * kMiB) == nullptr && errno == ENOMEM, "calloc answers at the limit");
    errno = 0;
    require(realloc(nullptr, 64 * kMiB) == nullptr && errno == ENOMEM,
            "realloc answers at the limit");
    errno = 0;
    require(memalign(64, 64 * kMiB) == nullptr && errno == ENOMEM, "memalign answers at the limit");
    void* p = nullptr;
    require(posix_memalign(&p, 64, 64 * kMiB) == ENOMEM, "posix_memalign answers at the limit");
    free_chain(chain);
    // Every other size must be able to use what this one gave back.
    for (size_t other : kSizes) {
      void* again = nullptr;
      size_t wanted = 32 * kMiB / other;
      for (size_t i = 0; i < wanted; ++i) {
        void* q = malloc(other);
        if (q == nullptr) {
          char text[128];
          snprintf(text, sizeof text,
                   "32 MiB in blocks of %zu after 96 MiB of %zu were freed (got %zu of %zu)", other,
                   size, i, wanted);
          require(false, text);
        }
        memcpy(q, &again, sizeof again);
        again = q;
      }
      free_chain(again);
    }
  }
  say("recovered\n");
}

std::atomic<bool> g_end{false};
std::atomic<long> g_successes{0};
std::atomic<long> g_failures{0};

void count(void* p, size_t size) {
  if (p == nullptr) {
    require(errno == ENOMEM, "ENOMEM from a function that failed");
    ++g_failures;
    return;
  }
  ++g_successes;
  static_cast<char*>(p)[0] = 1;
  static_cast<char*>(p)[size - 1] = 1;
}

void* all_functions(void* argument) {
  Random random(reinterpret_cast<uintptr_t>(argument) + 1);
  void* held[100] = {};
  while (!g_end) {
    void*& p = held[random.below(100)];
    size_t size = 1 + (random.below(3) == 0 ? random.below(3 * kMiB) : random.below(40000));
    void* q = nullptr;
    errno = 0;
    switch (random.below(7)) {
      case 0:
        free(p);
        p = malloc(size);
        count(p, size);
        break;
      case 1:
        free(p);
        p = calloc(size, 1);
        count(p, size);
        break;
      case 2:
        q = realloc(p, size);
        count(q, size);
        if (q != nullptr) p = q;
        break;
      case 3:
        free(p);
        p = aligned_alloc(256, size);
        count(p, size);
        break;
      case 4:
        free(p);
        if (posix_memalign(&q, 4096, size) != 0) q = nullptr;
        errno = ENOMEM;
        p = q;
        count(p, size);
        break;
      case 5:
        free(p);
        p = pvalloc(size);
        count(p, size);
        break;
      default:
        free(p);
        p = nullptr;
    }
  }
  for (void* p : held) free(p);
  return nullptr;
}

void threads() {
  limit_to(160);
  pthread_t all[8];
  int started = 0;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  for (auto& t : all)
    if (pthread_create(&t, &attributes, all_functions,
                       reinterpret_cast<void*>(static_cast<long>(started))) == 0)
      ++started;
  require(started == 8, "eight threads");
  // Thread start itself: it must fail with an error or work, and what it allocates must not be lost.
  int short_threads = 0;
  for (int i = 0; i < 500; ++i) {
    pthread_t t;
    int error = pthread_create(
        &t, &attributes,
        [](void*) -> void* {
          free(opaque(malloc(100)));
          return nullptr;
        },
        nullptr);
    require(error == 0 || error == EAGAIN || error == ENOMEM,
            "pthread_create works or says why not");
    if (error == 0) {
      pthread_join(t, nullptr);
      ++short_threads;
    }
  }
  g_end = true;
  for (auto& t : all) pthread_join(t, nullptr);
  printf("successes %ld failures %ld threads %d\n", g_successes.load(), g_failures.load(),
         short_threads);
  fflush(stdout);
  require(g_failures > 100, "the limit was reached");
  require(g_successes > 10000, "most calls worked");
  for (size_t size : kSizes) {
    void* p = malloc(size);
    require(p != nullptr, "memory after the threads");
    free(p);
  }
  say("survived\n");
}

pthread_barrier_t g_full;

void first_malloc() {
  constexpr int kThreads = 16;
  pthread_barrier_init(&g_full, nullptr, kThreads + 1);
  pthread_t all[kThreads];
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  for (auto& t : all) {
    int error = pthread_create(
        &t, &attributes,
        [](void*) -> void* {
          pthread_barrier_wait(&g_full);  // nothing was allocated by this thread so far
          for (size_t size : kSizes) {
            errno = 0;
            void* p = malloc(size);
            require(p != nullptr || errno == ENOMEM, "a block or ENOMEM");
            if (p != nullptr) memset(p, 1, size);
            free(p);
          }
          pthread_barrier_wait(&g_full);  // every thread has tried
          pthread_barrier_wait(&g_full);  // now there is memory again
          void* p = malloc(1000);
          require(p != nullptr, "memory for the same thread later");
          free(p);
          return nullptr;
        },
        nullptr);
    require(error == 0, "a thread");
  }
  limit_to(64);
  void* chains[sizeof kSizes / sizeof kSizes[0]];
  size_t count = 0;
  for (size_t i = sizeof kSizes / sizeof kSizes[0]; i-- > 0;)
    chains[i] = take_all(kSizes[i], &count);
  // And what malloc left over: whole pages, so that not even the library's own records can grow.
  while (mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
  }
  pthread_barrier_wait(&g_full);
  pthread_barrier_wait(&g_full);
  for (void* chain : chains) free_chain(chain);
  pthread_barrier_wait(&g_full);
  for (auto& t : all) pthread_join(t, nullptr);
  say("survived\n");
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 2, "limits small|exhaust|threads|first_malloc");
  if (strcmp(argv[1], "small") == 0) small();
  if (strcmp(argv[1], "exhaust") == 0) exhaust();
  if (strcmp(argv[1], "threads") == 0) threads();
  if (strcmp(argv[1], "first_malloc") == 0) first_malloc();
  return 0;
}
