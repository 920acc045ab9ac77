// server_epoll.c - Echo and HTTP as fast as C does it: one edge-triggered epoll for each thread, no read that is known to fail.
//
//   server_epoll echo|http THREADS         prints its port, serves until killed
//
// After a short read the socket is empty, and what comes next brings an edge (epoll(7)). With several threads, each has its own
// epoll; the first accepts, and deals the connections out in turn.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

enum { kBuffer = 4096, kBatch = 128, kMaxThreads = 64 };

struct connection {
  int fd;
  size_t have;
  char buffer[kBuffer];
};

static int is_http, threads, listener, epolls[kMaxThreads];

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static void serve(struct connection* c) {
  for (;;) {
    size_t room = kBuffer - c->have;
    ssize_t n = recv(c->fd, c->buffer + c->have, room, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) break;
    // Answers are small, and the client waits for each: there is room for them.
    if (!is_http) {
      if (send(c->fd, c->buffer, (size_t)n, MSG_NOSIGNAL) != n) break;
    } else {
      size_t used, count;
      c->have += (size_t)n;
      count = http_requests(c->buffer, c->have, &used);
      for (; count > 0; count--) {
        if (send(c->fd, http_answer, kHttpAnswer, MSG_NOSIGNAL) != kHttpAnswer) break;
      }
      c->have -= used;
      memmove(c->buffer, c->buffer + used, c->have);
    }
    if ((size_t)n < room) return;
  }
  close(c->fd);
  free(c);
}

static void accept_all(void) {
  static int next;
  for (;;) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection* c = malloc(sizeof *c);
    if (c == NULL) fail("malloc");
    c->fd = fd;
    c->have = 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epolls[next++ % threads], EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }
}

static void* loop(void* arg) {
  int epoll = epolls[(intptr_t)arg];
  struct epoll_event events[kBatch];
  for (;;) {
    int n = epoll_wait(epoll, events, kBatch, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr == NULL) {
        accept_all();
      } else {
        serve(events[i].data.ptr);
      }
    }
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  is_http = strcmp(argv[1], "http") == 0;
  threads = atoi(argv[2]);
  if (threads < 1 || threads > kMaxThreads) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0 ||
      listen(listener, SOMAXCONN) != 0 || getsockname(listener, (struct sockaddr*)&address, &length) != 0) {
    fail("listen");
  }
  for (int i = 0; i < threads; i++) epolls[i] = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
  if (epoll_ctl(epolls[0], EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll_ctl");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (intptr_t i = 1; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, loop, (void*)i) != 0) fail("pthread_create");
  }
  loop(NULL);
}
