// measure.c - Runs one program and writes what it cost as a line of JSON.
//
//   measure OUTPUT [NAME=VALUE...] -- PROGRAM [ARGUMENT...]
//
// The kernel counts what a child held before exec toward its peak RSS: a child of a Python process never reports less
// than Python has. So the harness starts this program instead, which is static and holds less than any measured one.
// The variables reach only PROGRAM: LD_PRELOAD must not enter the measuring process.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec * 1e-6; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fputs("usage: measure OUTPUT [NAME=VALUE...] -- PROGRAM [ARGUMENT...]\n", stderr);
    return 2;
  }
  int at = 2;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) putenv(argv[at]);
  if (at + 1 >= argc) return 2;

  double start = now();
  pid_t pid = vfork();
  if (pid == 0) {
    // A harness that gives up kills us; the program must not stay behind and load the machine.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(argv[at + 1], argv + at + 1);
    _exit(127);
  }
  if (pid < 0) {
    perror("measure: vfork");
    return 2;
  }
  signal(SIGINT, SIG_IGN);  // a terminal sends ^C to both; the child ends, and we report it
  int status;
  struct rusage use;
  while (wait4(pid, &status, 0, &use) < 0)
    if (errno != EINTR) return 2;
  double wall = now() - start;

  FILE* out = fopen(argv[1], "w");
  if (out == NULL) {
    perror(argv[1]);
    return 2;
  }
  fprintf(out,
          "{\"status\": %d, \"wall_s\": %.6f, \"user_s\": %.6f, \"system_s\": %.6f, \"peak_kib\": "
          "%ld, \"minor_faults\": %ld, "
          "\"major_faults\": %ld}\n",
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), wall,
          seconds(use.ru_utime), seconds(use.ru_stime), use.ru_maxrss, use.ru_minflt,
          use.ru_majflt);
  return fclose(out) == 0 ? 0 : 2;
}
