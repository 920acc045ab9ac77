// goroutines.cc - Goroutines, for the options that concern them.
//
//   goroutines show KEY      prints the value of an option, and the number of processors
//   goroutines hogs MS       hogs on all processors while main sleeps for MS milliseconds
//   goroutines where X       a goroutine waits in waits_here(), called by called_by(), and main reports the tasks on stdout
//   goroutines storm SIGNAL  sends itself the signal 2,000 times while threads and goroutines allocate and wait
#include <signal.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<bool> done{false};

void hog(void*) {
  while (!done) {
  }
}

void churn(void*) {
  while (!done) {
    for (size_t n = 1; n < 100'000; n += n / 2 + 1) free(malloc(n));
    tri_yield();
  }
}

void sleep_beside_hogs(void* ms) {
  for (int i = 0; i < tri_procs(0); ++i) tri_go(hog, nullptr);
  tri_sleep(*static_cast<long*>(ms) * 1'000'000);
  done = true;
  puts("slept");
}

tri_chan* never;

void where(void*);

void storm(void* signal) {
  for (int i = 0; i < 4; ++i) tri_go(churn, nullptr);
  for (int i = 0; i < 2000; ++i) {
    kill(getpid(), *static_cast<int*>(signal));
    tri_sleep(20'000);
  }
  done = true;
  puts("stormed");
}

}  // namespace

extern "C" [[gnu::noinline, gnu::used]] int waits_here() {
  int value = 0;
  tri_chan_recv(never, &value, TRI_FOREVER);
  return value + 1;
}
extern "C" [[gnu::noinline, gnu::used]] int called_by() { return waits_here() + 1; }

namespace {

void where(void*) {
  never = tri_chan_new(sizeof(int), 0);
  tri_go([](void*) { called_by(); }, nullptr);
  tri_sleep(20'000'000);
  tri_report(1, "tasks");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (strcmp(argv[1], "show") == 0) {
    char value[64] = {};
    tri_get(argv[2], value, sizeof value);
    printf("%s, %d procs\n", value, tri_procs(0));
    return 0;
  }
  if (strcmp(argv[1], "hogs") == 0) {
    long ms = atol(argv[2]);
    return tri_main(sleep_beside_hogs, &ms);
  }
  if (strcmp(argv[1], "where") == 0) return tri_main(where, nullptr);
  int signal = atoi(argv[2]);
  return tri_main(storm, &signal);
}
