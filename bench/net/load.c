// load.c - The client of the network benchmarks: asks, waits for the answer, asks again, on many connections at once.
//
//   load PORT echo|http CONNECTIONS SECONDS SERVER      SERVER: its process id
//
// One thread, one epoll. Prints a line of JSON: answers per second, the median and 99th percentile of the time that an answer
// took, in microseconds, and the server's CPU time for an answer, which is the same as seconds for a million. The first tenth of
// the time is not counted.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http.h"

enum { kBuffer = 4096, kBatch = 256, kSteps = 32, kOctaves = 40 };

static const char http_request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";
static const char echo[] = "0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ\n";

struct connection {
  int fd;
  size_t received;  // of this answer
  int64_t asked;
};

static const char *request, *answer;
static size_t request_length, answer_length;
static uint64_t histogram[kOctaves * kSteps];

static void give_up(const char* what) {
  fprintf(stderr, "load: %s\n", what);
  exit(1);
}

static void fail(const char* what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t read_ns(clockid_t clock) {
  struct timespec t;
  if (clock_gettime(clock, &t) != 0) fail("clock");
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t now_ns(void) { return read_ns(CLOCK_MONOTONIC); }

// Buckets of a 32nd of their octave: within 3 %.
static size_t bucket(int64_t ns) {
  if (ns < kSteps) return (size_t)(ns < 0 ? 0 : ns);
  int octave = 63 - __builtin_clzll((unsigned long long)ns);
  size_t b = (size_t)(octave - 4) * kSteps + (size_t)((ns >> (octave - 5)) & (kSteps - 1));
  return b < kOctaves * kSteps ? b : kOctaves * kSteps - 1;
}

static double from_bucket(size_t b) {
  if (b < kSteps) return (double)b;
  size_t octave = b / kSteps + 4;
  return (double)(kSteps + b % kSteps) * (double)((uint64_t)1 << (octave - 5));
}

static double percentile(double share) {
  uint64_t total = 0, seen = 0;
  for (size_t i = 0; i < kOctaves * kSteps; i++) total += histogram[i];
  for (size_t i = 0; i < kOctaves * kSteps; i++) {
    seen += histogram[i];
    if ((double)seen >= share * (double)total) return from_bucket(i) / 1000;
  }
  return 0;
}

static void ask(struct connection* c) {
  c->received = 0;
  c->asked = now_ns();
  if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) fail("send");
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fputs("usage: load PORT echo|http CONNECTIONS SECONDS SERVER\n", stderr);
    return 2;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int is_http = strcmp(argv[2], "http") == 0;
  int connections = atoi(argv[3]);
  double seconds = atof(argv[4]);
  clockid_t server;
  if (connections < 1) give_up("no connections");
  errno = clock_getcpuclockid(atoi(argv[5]), &server);
  if (errno != 0) fail("server");
  if (is_http) {
    request = http_request, request_length = sizeof http_request - 1;
    answer = http_answer, answer_length = kHttpAnswer;
  } else {
    request = answer = echo, request_length = answer_length = sizeof echo - 1;
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct connection* all = calloc((size_t)connections, sizeof *all);
  if (epoll < 0 || all == NULL) fail("start");
  for (int i = 0; i < connections; i++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr*)&to, sizeof to) != 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
    all[i].fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }
  for (int i = 0; i < connections; i++) ask(&all[i]);

  int64_t start = now_ns();
  int64_t counted_from = start + (int64_t)(seconds * 1e8), end = start + (int64_t)(seconds * 1e9);
  int64_t server_from = 0;
  uint64_t answers = 0;
  for (int64_t now = start; now < end;) {
    struct epoll_event events[kBatch];
    int n = epoll_wait(epoll, events, kBatch, 1000);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < n; i++) {
      struct connection* c = events[i].data.ptr;
      char buffer[kBuffer];
      ssize_t r = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (r < 0 && errno == EAGAIN) continue;
      if (r == 0) give_up("the server has closed a connection");
      if (r < 0) fail("recv");
      if ((size_t)r > answer_length - c->received || memcmp(buffer, answer + c->received, (size_t)r) != 0) {
        give_up("wrong answer");
      }
      c->received += (size_t)r;
      if (c->received < answer_length) continue;
      now = now_ns();
      if (now >= counted_from) {
        if (answers++ == 0) server_from = read_ns(server);
        histogram[bucket(now - c->asked)]++;
      }
      ask(c);
    }
    if (n <= 0) now = now_ns();
  }
  if (answers == 0) give_up("no answers");
  double took = (double)(now_ns() - counted_from) * 1e-9;
  double server_us = (double)(read_ns(server) - server_from) * 1e-3;
  printf("{\"per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_us\": %.3f}\n", (double)answers / took,
         percentile(0.5), percentile(0.99), server_us / (double)answers);
  return 0;
}
