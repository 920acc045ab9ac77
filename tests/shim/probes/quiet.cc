// quiet.cc - Allocates, and then looks whether the library left a trace in its process.
//
//   quiet traces       no thread, no descriptor, no signal handler, no changed mask
//   quiet closed       for a process started without descriptors 0, 1, 2: the first one opened is 0
//   quiet plain        just works (for a process without /proc, or in a chroot)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

// Less than the 64 MiB that are worth a second thread.
void use_the_heap() {
  static void* held[10000];
  for (size_t i = 0; i < 10000; ++i) {
    held[i] = i % 7 == 0 ? calloc(1, i) : malloc(i % 4000);
    require(held[i] != nullptr, "memory");
  }
  for (auto* p : held) free(p);
  for (size_t size : {100000u, 5u << 20, 100u << 20}) {
    void* p = malloc(size);
    require(p != nullptr, "memory");
    memset(p, 1, size);
    p = realloc(p, size * 2);
    require(p != nullptr, "more memory");
    free(p);
  }
  malloc_trim(0);
  mallinfo2();
}

int entries(const char* folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  require(fd >= 0, folder);
  int count = 0;
  alignas(8) char room[4096];
  for (long n; (n = syscall(SYS_getdents64, fd, room, sizeof room)) > 0;)
    for (long at = 0; at < n;) {
      unsigned short length;
      memcpy(&length, room + at + 16, 2);
      if (room[at + 19] != '.') ++count;
      at += length;
    }
  close(fd);
  return count;
}

void traces() {
  use_the_heap();
  require(entries("/proc/self/task") == 1, "a single thread stays single");
  require(entries("/proc/self/fd") == 4, "descriptors 0, 1, 2 and the one that counts");
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (sigaction(number, nullptr, &action) != 0) continue;
    require(action.sa_handler == SIG_DFL, "no handler for any signal");
  }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (int number = 1; number < NSIG; ++number)
    require(sigismember(&mask, number) != 1, "no signal is blocked");
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  require(stack.ss_flags == SS_DISABLE, "no alternate signal stack");
  require(prctl(PR_GET_DUMPABLE) == 1, "the process stays dumpable");
  require(fcntl(0, F_GETFD) >= 0, "stdin stays open");
  say("no traces\n");
}

}  // namespace

int main(int argc, char** argv) {
  require(argc >= 2, "quiet traces|closed|plain");
  if (strcmp(argv[1], "traces") == 0) traces();
  if (strcmp(argv[1], "closed") == 0) {
    // Nothing can be said aloud: the exit status tells.
    if (fcntl(0, F_GETFD) >= 0 || fcntl(1, F_GETFD) >= 0 || fcntl(2, F_GETFD) >= 0) _exit(11);
    if (open("/dev/null", O_RDWR) != 0) _exit(12);
    close(0);
    use_the_heap();
    if (open("/dev/null", O_RDWR) != 0) _exit(13);
    if (open("/dev/null", O_RDWR) != 1) _exit(14);
    return 0;
  }
  if (strcmp(argv[1], "plain") == 0) {
    use_the_heap();
    say("worked\n");
  }
  return 0;
}
