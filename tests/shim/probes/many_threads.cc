// many_threads.cc - Many live threads, and the memory that they need.
//
//   many_threads N idle|allocate    N threads live at once; prints the resident size in KiB
//   many_threads N short            N threads one after the other, with memory freed by the next; exits 0 when none leaks
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

pthread_barrier_t g_ready;
pthread_barrier_t g_end;

void* idle(void*) {
  pthread_barrier_wait(&g_ready);
  pthread_barrier_wait(&g_end);
  return nullptr;
}

void* allocate(void*) {
  // What a connection's thread does: some small blocks of several sizes, a buffer, most of it freed again.
  void* held[20];
  for (size_t i = 0; i < 20; ++i) {
    held[i] = malloc(16 + i * 24);
    fill(held[i], 16 + i * 24, i);
  }
  void* buffer = malloc(16384);
  memset(buffer, 1, 16384);
  free(buffer);
  for (size_t i = 10; i < 20; ++i) free(held[i]);
  pthread_barrier_wait(&g_ready);
  pthread_barrier_wait(&g_end);
  for (size_t i = 0; i < 10; ++i) {
    require(holds(held[i], 16 + i * 24, i), "each thread's blocks are its own");
    free(held[i]);
  }
  return nullptr;
}

void* g_left;

void* short_lived(void*) {
  free(g_left);
  for (size_t n = 1; n < 50000; n *= 2) free(opaque(malloc(n)));
  void* p = malloc(100000);
  memset(p, 1, 100000);
  g_left = p;
  return nullptr;
}

void one_after_the_other(int count) {
  long before = 0;
  for (int i = 0; i < count; ++i) {
    pthread_t thread;
    require(pthread_create(&thread, nullptr, short_lived, nullptr) == 0, "a thread");
    pthread_join(thread, nullptr);
    if (i == count / 4) before = rss_kib();
  }
  long growth = rss_kib() - before;
  printf("growth %ld KiB\n", growth);
  fflush(stdout);
  require(growth < 4096, "no thread leaves memory behind");
}

}  // namespace

int main(int argc, char** argv) {
  require(argc == 3, "many_threads N idle|allocate|short");
  int count = atoi(argv[1]);
  if (strcmp(argv[2], "short") == 0) {
    one_after_the_other(count);
    return 0;
  }
  pthread_barrier_init(&g_ready, nullptr, static_cast<unsigned>(count) + 1);
  pthread_barrier_init(&g_end, nullptr, static_cast<unsigned>(count) + 1);
  auto* threads = static_cast<pthread_t*>(calloc(static_cast<size_t>(count), sizeof(pthread_t)));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * 1024);
  for (int i = 0; i < count; ++i)
    require(pthread_create(&threads[i], &attributes, strcmp(argv[2], "idle") == 0 ? idle : allocate,
                           nullptr) == 0,
            "a thread");
  pthread_barrier_wait(&g_ready);
  printf("%ld", rss_kib());
  fflush(stdout);
  pthread_barrier_wait(&g_end);
  for (int i = 0; i < count; ++i) pthread_join(threads[i], nullptr);
  free(threads);
  return 0;
}
