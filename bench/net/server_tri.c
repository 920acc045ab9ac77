// server_tri.c - Echo and HTTP on goroutines: one for each connection.
//
//   server_tri echo|http PROCESSORS        prints its port, serves until killed
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "http.h"
#include "tri.h"

static void echo(void* arg) {
  int fd = *(int*)arg;
  char buffer[4096];
  for (;;) {
    ssize_t n = tri_read(fd, buffer, sizeof buffer, TRI_FOREVER);
    if (n <= 0 || tri_write_all(fd, buffer, (size_t)n, TRI_FOREVER) < 0) break;
  }
  tri_close(fd);
}

static void http(void* arg) {
  int fd = *(int*)arg;
  char buffer[4096];
  size_t have = 0;
  for (;;) {
    ssize_t n = tri_read(fd, buffer + have, sizeof buffer - have, TRI_FOREVER);
    if (n <= 0) break;
    have += (size_t)n;
    size_t used;
    size_t count = http_requests(buffer, have, &used);
    for (; count > 0; count--) {
      if (tri_write_all(fd, http_answer, kHttpAnswer, TRI_FOREVER) < 0) break;
    }
    have -= used;
    memmove(buffer, buffer + used, have);
  }
  tri_close(fd);
}

static void (*serve)(void*);

static void listen_and_serve(void* arg) {
  (void)arg;
  int listener = tri_listen_tcp("127.0.0.1", 0, 0);
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  if (listener < 0 || getsockname(listener, (struct sockaddr*)&address, &length) != 0) exit(1);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    int fd = tri_accept(listener, TRI_FOREVER);
    if (fd >= 0) tri_go_copy(serve, &fd, sizeof fd);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  serve = strcmp(argv[1], "http") == 0 ? http : echo;
  tri_procs(atoi(argv[2]));
  return tri_main(listen_and_serve, NULL) != 0;
}
