// clock.cc - A library to preload: answers the clock functions itself and allocates on the way, as libfaketime does.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

namespace {

thread_local int g_depth;

// A clock that asks malloc, and a malloc that asks the clock, must not go on for ever.
struct Allocation {
  void* p;
  Allocation() : p(malloc(200)) {
    if (++g_depth > 20) abort();
    memset(p, 1, 200);
  }
  ~Allocation() {
    free(p);
    free(realloc(malloc(10), 40000));
    --g_depth;
  }
};

}  // namespace

extern "C" {

int clock_gettime(clockid_t id, timespec* out) {
  Allocation a;
  return static_cast<int>(syscall(SYS_clock_gettime, id, out));
}

int gettimeofday(timeval* __restrict out, void* __restrict) {
  Allocation a;
  return static_cast<int>(syscall(SYS_gettimeofday, out, nullptr));
}

time_t time(time_t* out) {
  Allocation a;
  timeval now{};
  syscall(SYS_gettimeofday, &now, nullptr);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}
}
