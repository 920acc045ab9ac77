// idle.c - Two threads free 200 MB, then nobody calls the allocator: when does the memory go back?
//
//   idle all|most SECONDS      "most" keeps one block in ten, at random
//
// Both threads stay alive and blocked. Prints a JSON object of RSS in KiB: live, then 0, 1 and SECONDS s after the last free, and
// after malloc_trim(0). Everything after the frees uses system calls and the stack alone.
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kThreads = 2 };
static const size_t kBytesPerThread = 100u << 20;

static pthread_barrier_t phase;
static int keep_some;

static uint32_t next_random(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33);
}

static long rss_kib(void) {
  char text[128];
  int fd = open("/proc/self/statm", O_RDONLY);
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  const char* resident = strchr(text, ' ');  // the second field, in pages
  return resident ? strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : -1;
}

static void* worker(void* seed) {
  uint64_t state = (uint64_t)(uintptr_t)seed;
  size_t capacity = kBytesPerThread / 64, count = 0;
  void** blocks = malloc(capacity * sizeof *blocks);
  for (size_t bytes = 0; bytes < kBytesPerThread && count < capacity; count++) {
    // 16 to 2047 bytes, small ones more often; one in a thousand is a buffer.
    size_t size = next_random(&state) % 1000 == 0 ? 65536 : (size_t)16 << next_random(&state) % 7;
    size += next_random(&state) % size;
    blocks[count] = malloc(size);
    if (blocks[count] == NULL) abort();
    memset(blocks[count], 1, size);
    bytes += size;
  }
  pthread_barrier_wait(&phase);  // live
  pthread_barrier_wait(&phase);
  for (size_t i = 0; i < count; i++)
    if (!keep_some || next_random(&state) % 10 != 0) free(blocks[i]);
  if (!keep_some) free(blocks);
  pthread_barrier_wait(&phase);  // freed
  pthread_barrier_wait(&phase);
  return NULL;
}

static void sleep_until(struct timespec start, int seconds) {
  start.tv_sec += seconds;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL) != 0) {
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  keep_some = strcmp(argv[1], "most") == 0;
  int seconds = atoi(argv[2]);
  pthread_t threads[kThreads];
  pthread_barrier_init(&phase, NULL, kThreads + 1);
  for (int i = 0; i < kThreads; i++)
    pthread_create(&threads[i], NULL, worker, (void*)(uintptr_t)(i + 1));
  pthread_barrier_wait(&phase);
  long live = rss_kib();
  pthread_barrier_wait(&phase);
  pthread_barrier_wait(&phase);
  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  long freed = rss_kib();
  sleep_until(start, 1);
  long after_1s = rss_kib();
  sleep_until(start, seconds);
  long after = rss_kib();
  malloc_trim(0);
  long trimmed = rss_kib();
  printf(
      "{\"live\": %ld, \"freed\": %ld, \"after_1s\": %ld, \"after_idle\": %ld, \"trimmed\": %ld}\n",
      live, freed, after_1s, after, trimmed);
  fflush(stdout);
  _exit(0);
}
