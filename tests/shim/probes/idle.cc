// idle.cc - Two threads allocate 200 MB, free all of it, and the process falls asleep.
//
//   idle sleep|trim    prints the resident KiB: base, peak, and after five seconds (or after malloc_trim)
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

constexpr int kBlocks = 100000;
pthread_barrier_t g_turn;

void* load(void*) {
  static thread_local void* blocks[kBlocks];
  memset(blocks, 1, sizeof blocks);  // resident before the base is measured
  pthread_barrier_wait(&g_turn);
  pthread_barrier_wait(&g_turn);
  for (size_t i = 0; i < kBlocks; ++i) {
    size_t size = 64 + i * 977 % 1919;
    blocks[i] = malloc(size);
    memset(blocks[i], 1, size);
  }
  pthread_barrier_wait(&g_turn);
  pthread_barrier_wait(&g_turn);
  for (void* p : blocks) free(p);
  pthread_barrier_wait(&g_turn);
  pause();  // alive, parked, and without a further call
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 2, "idle sleep|trim");
  pthread_barrier_init(&g_turn, nullptr, 3);
  pthread_t threads[2];
  for (auto& t : threads) pthread_create(&t, nullptr, load, nullptr);
  pthread_barrier_wait(&g_turn);
  long base = rss_kib();
  pthread_barrier_wait(&g_turn);
  pthread_barrier_wait(&g_turn);
  long peak = rss_kib();
  pthread_barrier_wait(&g_turn);
  pthread_barrier_wait(&g_turn);
  int answer = -1;
  if (strcmp(argv[1], "trim") == 0)
    answer = malloc_trim(0);
  else
    for (int i = 0; i < 50 && rss_kib() - base > (peak - base) / 10; ++i) usleep(100000);
  long left = rss_kib();
  char text[100];
  int n = snprintf(text, sizeof text, "%ld %ld %ld %d\n", base, peak, left, answer);
  if (write(1, text, static_cast<size_t>(n)) < 0) _exit(3);
  _exit(0);
}
