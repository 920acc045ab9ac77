// churn.cc - A moment of everything in three threads; prints "worked".
#include <malloc.h>
#include <pthread.h>

#include <cstdlib>
#include <ctime>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

void* g_passed[3][1000];
pthread_barrier_t g_turn;

void* churn(void* argument) {
  auto me = reinterpret_cast<size_t>(argument);
  for (size_t round = 0; round < 10; ++round) {
    for (size_t i = 0; i < 1000; ++i) {
      size_t size = i % 100 == 0 ? i * 1000 + 1 : i * 3 + 1;
      g_passed[me][i] = malloc(size);
      require(g_passed[me][i] != nullptr, "memory");
      memset(g_passed[me][i], 1, size);
    }
    pthread_barrier_wait(&g_turn);
    for (void* p : g_passed[(me + 1) % 3]) free(p);
    pthread_barrier_wait(&g_turn);
    free(memalign(4096, 100000));
    void* big = calloc(1, 30u << 20);
    big = realloc(big, 60u << 20);
    require(big != nullptr, "big memory");
    free(big);
    if (me == 0) {
      malloc_trim(0);
      timespec now{};
      clock_gettime(CLOCK_REALTIME, &now);
      require(time(nullptr) > 0 && now.tv_sec > 0, "a clock");
    }
  }
  return nullptr;
}

}  // namespace

int main() {
  pthread_barrier_init(&g_turn, nullptr, 3);
  pthread_t threads[2];
  for (size_t i = 0; i < 2; ++i)
    pthread_create(&threads[i], nullptr, churn, reinterpret_cast<void*>(i + 1));
  churn(nullptr);
  for (auto& t : threads) pthread_join(t, nullptr);
  say("worked\n");
  return 0;
}
