// server_uv.c - Echo and HTTP on libuv: one loop for each thread, one buffer for each connection, answers written at once.
//
//   server_uv echo|http THREADS            prints its port, serves until killed
//
// uv_try_write() first: answers are small, and a request object and a turn of the loop only pay when the socket is full. With
// several threads, the first accepts, and deals the connections out in turn; a loop is told of them by a uv_async_t.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "http.h"

enum { kBuffer = 4096, kMaxThreads = 64, kQueue = 4096 };

struct connection {
  uv_tcp_t tcp;
  size_t have;
  char buffer[kBuffer];
};

// What the socket had no room for.
struct rest {
  uv_write_t request;
  char bytes[];
};

struct worker {
  uv_loop_t loop;
  uv_async_t dealt;
  pthread_mutex_t lock;
  int count, queue[kQueue];  // lock: descriptors on their way to this loop
};

static int is_http, threads, listener;
static struct worker workers[kMaxThreads];

static void need(int result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "server_uv: %s: %s\n", what, uv_strerror(result));
  exit(1);
}

static void freed(uv_handle_t* handle) { free(handle); }
static void end(struct connection* c) {
  if (!uv_is_closing((uv_handle_t*)&c->tcp)) uv_close((uv_handle_t*)&c->tcp, freed);
}

static void written(uv_write_t* request, int status) {
  if (status < 0 && status != UV_ECANCELED) end((struct connection*)request->handle);
  free(request);
}

// False: the connection is at its end.
static int write_all(struct connection* c, const char* data, size_t n) {
  uv_buf_t bytes = uv_buf_init((char*)data, (unsigned)n);
  int done = uv_try_write((uv_stream_t*)&c->tcp, &bytes, 1);
  if (done == UV_EAGAIN) done = 0;
  if (done < 0) return 0;
  if ((size_t)done == n) return 1;
  struct rest* r = malloc(sizeof *r + n - (size_t)done);
  if (r == NULL) return 0;
  bytes = uv_buf_init(memcpy(r->bytes, data + done, n - (size_t)done), (unsigned)(n - (size_t)done));
  if (uv_write(&r->request, (uv_stream_t*)&c->tcp, &bytes, 1, written) == 0) return 1;
  free(r);
  return 0;
}

static void offer(uv_handle_t* handle, size_t suggested, uv_buf_t* out) {
  (void)suggested;
  struct connection* c = (struct connection*)handle;
  *out = uv_buf_init(c->buffer + c->have, (unsigned)(kBuffer - c->have));
}

static void received(uv_stream_t* stream, ssize_t n, const uv_buf_t* bytes) {
  struct connection* c = (struct connection*)stream;
  int ok = n >= 0;  // 0: nothing was there
  if (ok && n > 0 && !is_http) {
    ok = write_all(c, bytes->base, (size_t)n);
  } else if (ok && n > 0) {
    size_t used, count;
    c->have += (size_t)n;
    count = http_requests(c->buffer, c->have, &used);
    for (; ok && count > 0; count--) ok = write_all(c, http_answer, kHttpAnswer);
    c->have -= used;
    memmove(c->buffer, c->buffer + used, c->have);
  }
  if (!ok) end(c);
}

static void adopt(uv_loop_t* loop, int fd) {
  struct connection* c = malloc(sizeof *c);
  if (c == NULL) need(UV_ENOMEM, "malloc");
  c->have = 0;
  need(uv_tcp_init(loop, &c->tcp), "uv_tcp_init");
  need(uv_tcp_open(&c->tcp, fd), "uv_tcp_open");
  need(uv_tcp_nodelay(&c->tcp, 1), "uv_tcp_nodelay");
  need(uv_read_start((uv_stream_t*)&c->tcp, offer, received), "uv_read_start");
}

static void on_dealt(uv_async_t* dealt) {
  struct worker* w = dealt->data;
  pthread_mutex_lock(&w->lock);
  for (int i = 0; i < w->count; i++) adopt(&w->loop, w->queue[i]);
  w->count = 0;
  pthread_mutex_unlock(&w->lock);
}

// The listener is polled and not a uv_tcp_t: what that accepts cannot leave its loop.
static void accept_all(uv_poll_t* poll, int status, int events) {
  static int next;
  (void)events;
  need(status, "listener");
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct worker* w = &workers[next++ % threads];
    if (&w->loop == poll->loop) {
      adopt(&w->loop, fd);
      continue;
    }
    pthread_mutex_lock(&w->lock);
    if (w->count == kQueue) need(UV_ENOBUFS, "queue of a loop");
    w->queue[w->count++] = fd;
    pthread_mutex_unlock(&w->lock);
    uv_async_send(&w->dealt);
  }
}

static void* run(void* arg) {
  struct worker* w = arg;
  uv_run(&w->loop, UV_RUN_DEFAULT);
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
    need(-errno, "listen");
  }
  for (int i = 0; i < threads; i++) {
    struct worker* w = &workers[i];
    pthread_mutex_init(&w->lock, NULL);
    need(uv_loop_init(&w->loop), "uv_loop_init");
    need(uv_async_init(&w->loop, &w->dealt, on_dealt), "uv_async_init");
    w->dealt.data = w;
  }
  uv_poll_t poll;
  need(uv_poll_init(&workers[0].loop, &poll, listener), "uv_poll_init");
  need(uv_poll_start(&poll, UV_READABLE, accept_all), "uv_poll_start");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (int i = 1; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &workers[i]) != 0) need(UV_EAGAIN, "pthread_create");
  }
  run(&workers[0]);
}
