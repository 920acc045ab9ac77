// hello.cc - A small program that allocates a little and leaves in the way its argument says.
//
//   hello [return|exit7|_exit|quick_exit|abort|kill|term|close_err|close_all|close_err__exit|close_err_kill]
//
// Prints "hello PID" first, so that a test knows which process to look for in a report.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"

int main(int argc, char** argv) {
  const char* how = argc > 1 ? argv[1] : "return";
  for (size_t i = 1; i < 2000; ++i) free(tri_test::opaque(malloc(i)));
  void* kept = tri_test::opaque(calloc(1, 3u << 20));
  memset(kept, 1, 3u << 20);
  printf("hello %d\n", static_cast<int>(getpid()));
  fflush(stdout);
  if (strncmp(how, "close", 5) == 0) close(2);
  if (strcmp(how, "close_all") == 0) {
    close(0);
    close(1);
  }
  if (strstr(how, "_exit") != nullptr && strcmp(how, "quick_exit") != 0) _exit(5);
  if (strcmp(how, "quick_exit") == 0) quick_exit(6);
  if (strcmp(how, "exit7") == 0) exit(7);
  if (strcmp(how, "abort") == 0) abort();
  if (strstr(how, "kill") != nullptr) raise(SIGKILL);
  if (strcmp(how, "term") == 0) raise(SIGTERM);
  return 0;
}
