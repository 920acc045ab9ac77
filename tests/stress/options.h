// options.h - The command line of the stress programs: --name value.
//
// Used by: stress.cc, fork_storm.cc, sched_stress.cc, fork_tasks.cc, gc_stress.cc.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace stress {

struct Options {
  long seconds = 20;
  long threads = 4;
  long forks = 10000;
  long patience = 60;          // seconds
  const char* only = nullptr;  // the name of an activity
  uint64_t seed = 0;           // 0: by the clock

  Options(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
      long value = atol(argv[i + 1]);
      if (strcmp(argv[i], "--seconds") == 0)
        seconds = value;
      else if (strcmp(argv[i], "--threads") == 0)
        threads = value;
      else if (strcmp(argv[i], "--forks") == 0)
        forks = value;
      else if (strcmp(argv[i], "--patience") == 0)
        patience = value;
      else if (strcmp(argv[i], "--only") == 0)
        only = argv[i + 1];
      else if (strcmp(argv[i], "--seed") == 0)
        seed = static_cast<uint64_t>(value);
      else
        usage(argv[0]);
    }
    if (argc % 2 == 0) usage(argv[0]);
    if (seed == 0) {
      timespec now{};
      clock_gettime(CLOCK_REALTIME, &now);
      seed = static_cast<uint64_t>(now.tv_sec * 1000 + now.tv_nsec / 1000000) % 1000000007;
    }
    printf("seed %lu\n", static_cast<unsigned long>(seed));
    fflush(stdout);
  }

 private:
  [[noreturn]] static void usage(const char* program) {
    fprintf(stderr, "usage: %s [--seconds N] [--threads N] [--forks N] [--patience N] [--only NAME] [--seed N]\n", program);
    exit(2);
  }
};

}  // namespace stress
