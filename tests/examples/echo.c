/* echo.c - An echo server: each connection has its goroutine, which reads and writes as if it were alone.
 *
 *   cc echo.c -ltri -o echo && ./echo 7000 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tri.h>

static void serve(void *arg) {
  int fd = *(int *)arg; /* the copy that tri_go_copy() made */
  char buffer[4096];
  for (;;) {
    ssize_t n = tri_read(fd, buffer, sizeof buffer, tri_after(TRI_S(30)));
    if (n <= 0) break; /* 0: the other end has closed; -ETIMEDOUT; -ECONNRESET */
    if (tri_write_all(fd, buffer, (size_t)n, tri_after(TRI_S(5))) < 0) break;
  }
  tri_close(fd);
}

static void accept_all(void *arg) {
  int listener = tri_listen_tcp("127.0.0.1", *(int *)arg, 0);
  if (listener < 0) {
    fprintf(stderr, "listen: %s\n", strerror(-listener));
    exit(1);
  }
  for (;;) {
    int fd = tri_accept(listener, TRI_FOREVER);
    if (fd < 0) {
      fprintf(stderr, "accept: %s\n", strerror(-fd));
      tri_sleep(TRI_MS(10)); /* too many open files: some will close */
    } else if (tri_go_copy(serve, &fd, sizeof fd) != 0) {
      tri_close(fd);
    }
  }
}

int main(int argc, char **argv) {
  int port = argc > 1 ? atoi(argv[1]) : 7000;
  return tri_main(accept_all, &port) == 0 ? 0 : 1;
}
