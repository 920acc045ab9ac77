// startup.c - What a preloaded library costs a program that does nothing.
//
//   startup RUNS PROGRAM NAME=LIBRARY...     LIBRARY may be empty: no preload
//
// Runs PROGRAM under each contender in turn, first contender rotating, and prints a JSON object: microseconds from
// vfork to the end of wait4 (median, deciles, minimum), peak RSS and page faults (medians). Static for the reason that
// measure.c gives.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  const char* name;
  char* environment[3];
  double* microseconds;
  double* peak_kib;
  double* faults;
} Contender;

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int ascending(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static double quantile(const double* sorted, int n, double q) {
  return sorted[(int)((double)(n - 1) * q + 0.5)];
}

static void run(char* program, Contender* contender, int i) {
  char* argv[] = {program, NULL};
  double start = now_us();
  pid_t pid = vfork();
  if (pid == 0) {
    execve(program, argv, contender->environment);
    _exit(127);
  }
  int status;
  struct rusage use;
  if (pid < 0 || wait4(pid, &status, 0, &use) < 0 || status != 0) {
    fprintf(stderr, "startup: %s does not run under %s\n", program, contender->name);
    exit(1);
  }
  contender->microseconds[i] = now_us() - start;
  contender->peak_kib[i] = (double)use.ru_maxrss;
  contender->faults[i] = (double)use.ru_minflt;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fputs("usage: startup RUNS PROGRAM NAME=LIBRARY...\n", stderr);
    return 2;
  }
  int runs = atoi(argv[1]);
  int count = argc - 3;
  if (runs < 1) return 2;
  Contender* contenders = calloc((size_t)count, sizeof *contenders);
  for (int c = 0; c < count; c++) {
    char* name = argv[3 + c];
    char* library = strchr(name, '=');
    if (library == NULL) return 2;
    *library++ = '\0';
    contenders[c].name = name;
    contenders[c].environment[0] = "PATH=/usr/bin:/bin";
    if (*library != '\0') {
      char* variable = malloc(strlen(library) + sizeof "LD_PRELOAD=");
      sprintf(variable, "LD_PRELOAD=%s", library);
      contenders[c].environment[1] = variable;
    }
    contenders[c].microseconds = calloc((size_t)runs, sizeof(double));
    contenders[c].peak_kib = calloc((size_t)runs, sizeof(double));
    contenders[c].faults = calloc((size_t)runs, sizeof(double));
    run(argv[2], &contenders[c], 0);  // brings the files into the page cache; overwritten below
  }
  for (int i = 0; i < runs; i++)
    for (int c = 0; c < count; c++) run(argv[2], &contenders[(c + i) % count], i);

  printf("{");
  for (int c = 0; c < count; c++) {
    Contender* it = &contenders[c];
    qsort(it->microseconds, (size_t)runs, sizeof(double), ascending);
    qsort(it->peak_kib, (size_t)runs, sizeof(double), ascending);
    qsort(it->faults, (size_t)runs, sizeof(double), ascending);
    printf(
        "%s\"%s\": {\"median_us\": %.1f, \"min_us\": %.1f, \"p10_us\": %.1f, \"p90_us\": %.1f, "
        "\"peak_kib\": %.0f, \"faults\": %.0f}",
        c ? ", " : "", it->name, quantile(it->microseconds, runs, 0.5), it->microseconds[0],
        quantile(it->microseconds, runs, 0.1), quantile(it->microseconds, runs, 0.9),
        quantile(it->peak_kib, runs, 0.5), quantile(it->faults, runs, 0.5));
  }
  printf("}\n");
  return 0;
}
