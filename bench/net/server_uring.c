// server_uring.c - Echo and HTTP on io_uring, without epoll: one ring for each thread, one system call for all that is ready.
//
//   server_uring echo|http THREADS         prints its port, serves until killed
//                                          status 77: the kernel refuses io_uring, or is older than what is used here (6.1)
//
// A connection has one receive, armed for good; the kernel picks a buffer when bytes come. Echo sends from that buffer, and
// gives it back when it is sent. The first ring accepts, and deals the connections out in turn, by messages to the others.
//
// Descriptors are ordinary ones, not entries of a ring's own table: this is what a library could do with the descriptors
// of any program.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"

enum {
  kBuffer = 4096,   // bytes of a buffer
  kBuffers = 4096,  // of a ring; a power of two
  kEntries = 4096,
  kMaxThreads = 64,
  kSkipped = 77,
};

// What a completion is of: the low bits of its user data. The others hold the connection, or the descriptor of a new one.
enum { kReceive, kSend, kAccept, kDeal, kDealt, kOperation = 7, kShift = 3 };

struct connection {
  int fd;
  int receiving, sending, broken;
  int first, last;  // echo: buffers to send, the first on its way; -1: none
  size_t owed;      // HTTP: answers to send, the first on its way
  size_t have;
  struct connection* next_starved;
  char buffer[];  // HTTP: a part of a request; kBuffer bytes
};

struct ring {
  struct io_uring uring;
  struct io_uring_buf_ring* offered;  // the buffers that the kernel may fill
  char (*buffers)[kBuffer];
  int next[kBuffers];  // of the same connection
  unsigned length[kBuffers];
  struct connection* starved;  // their receives ended for want of a buffer
};

static int is_http, threads, listener;
static struct ring rings[kMaxThreads];
static pthread_barrier_t started;

static void fail(const char* what, int error) {
  fprintf(stderr, "server_uring: %s: %s\n", what, strerror(error));
  // What a kernel says to what it does not know, or does not allow.
  exit(error == ENOSYS || error == EPERM || error == EACCES || error == EINVAL ? kSkipped : 1);
}

static struct io_uring_sqe* prepare(struct ring* r) {
  struct io_uring_sqe* sqe = io_uring_get_sqe(&r->uring);
  if (sqe != NULL) return sqe;
  io_uring_submit(&r->uring);
  sqe = io_uring_get_sqe(&r->uring);
  if (sqe == NULL) fail("submission queue", EBUSY);
  return sqe;
}

static void tag(struct io_uring_sqe* sqe, unsigned operation, uint64_t data) { sqe->user_data = data | operation; }

static void receive(struct ring* r, struct connection* c) {
  struct io_uring_sqe* sqe = prepare(r);
  io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = 0;
  tag(sqe, kReceive, (uint64_t)(uintptr_t)c);
  c->receiving = 1;
}

static void give_back(struct ring* r, int buffer) {
  io_uring_buf_ring_add(r->offered, r->buffers[buffer], kBuffer, (unsigned short)buffer, kBuffers - 1, 0);
  io_uring_buf_ring_advance(r->offered, 1);
  struct connection* c = r->starved;
  if (c == NULL) return;
  r->starved = c->next_starved;
  receive(r, c);
}

// One send of a connection at a time: the kernel may carry out two of them in any order.
static void send_next(struct ring* r, struct connection* c) {
  const char* data = is_http ? http_answer : r->buffers[c->first];
  size_t n = is_http ? kHttpAnswer : r->length[c->first];
  struct io_uring_sqe* sqe = prepare(r);
  io_uring_prep_send(sqe, c->fd, data, n, MSG_NOSIGNAL | MSG_WAITALL);
  tag(sqe, kSend, (uint64_t)(uintptr_t)c);
  c->sending = 1;
}

static void end_if_idle(struct ring* r, struct connection* c) {
  if (!c->broken || c->receiving || c->sending) return;
  for (int b = c->first; b >= 0;) {
    int next = r->next[b];
    give_back(r, b);
    b = next;
  }
  close(c->fd);
  free(c);
}

static void received(struct ring* r, struct connection* c, const struct io_uring_cqe* cqe) {
  c->receiving = (cqe->flags & IORING_CQE_F_MORE) != 0;
  if (cqe->res == -ENOBUFS) {
    c->next_starved = r->starved;
    r->starved = c;
    c->receiving = 1;  // again, in a while
    return;
  }
  if (cqe->res <= 0) c->broken = 1;
  int buffer = cqe->flags & IORING_CQE_F_BUFFER ? (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT) : -1;
  if (c->broken) {
    if (buffer >= 0) give_back(r, buffer);
    end_if_idle(r, c);
    return;
  }
  size_t n = (size_t)cqe->res;
  if (!is_http) {
    r->length[buffer] = (unsigned)n;
    r->next[buffer] = -1;
    if (c->first < 0) {
      c->first = buffer;
    } else {
      r->next[c->last] = buffer;
    }
    c->last = buffer;
  } else if (n > kBuffer - c->have) {
    c->broken = 1;  // a request that is longer than any that we serve
    shutdown(c->fd, SHUT_RDWR);
    give_back(r, buffer);
  } else {
    size_t used;
    memcpy(c->buffer + c->have, r->buffers[buffer], n);
    give_back(r, buffer);
    c->have += n;
    c->owed += http_requests(c->buffer, c->have, &used);
    c->have -= used;
    memmove(c->buffer, c->buffer + used, c->have);
  }
  if (!c->sending && !c->broken && (is_http ? c->owed > 0 : c->first >= 0)) send_next(r, c);
  if (!c->receiving && !c->broken) receive(r, c);
  end_if_idle(r, c);
}

static void sent(struct ring* r, struct connection* c, int result) {
  c->sending = 0;
  size_t wanted = is_http ? kHttpAnswer : r->length[c->first];
  if (result < 0 || (size_t)result != wanted) {
    c->broken = 1;
    shutdown(c->fd, SHUT_RDWR);  // ends the receive
  }
  int more;
  if (is_http) {
    more = --c->owed > 0;
  } else {
    int buffer = c->first;
    c->first = r->next[buffer];
    more = c->first >= 0;
    give_back(r, buffer);
  }
  if (more && !c->broken) send_next(r, c);
  end_if_idle(r, c);
}

static void adopt(struct ring* r, int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct connection* c = calloc(1, sizeof *c + (is_http ? kBuffer : 0));
  if (c == NULL) fail("malloc", ENOMEM);
  c->fd = fd;
  c->first = -1;
  receive(r, c);
}

static void accept_all(struct ring* r) {
  struct io_uring_sqe* sqe = prepare(r);
  io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
  tag(sqe, kAccept, 0);
}

static void accepted(struct ring* r, const struct io_uring_cqe* cqe) {
  static int next;
  if (cqe->res >= 0) {
    int to = next++ % threads;
    if (to == 0) {
      adopt(r, cqe->res);
    } else {
      struct io_uring_sqe* sqe = prepare(r);
      io_uring_prep_msg_ring(sqe, rings[to].uring.ring_fd, 0, (uint64_t)cqe->res << kShift | kDealt, 0);
      sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
      tag(sqe, kDeal, 0);
    }
  }
  if ((cqe->flags & IORING_CQE_F_MORE) == 0) accept_all(r);
}

static void completed(struct ring* r, const struct io_uring_cqe* cqe) {
  struct connection* c = (struct connection*)(uintptr_t)(cqe->user_data & ~(uint64_t)kOperation);
  switch (cqe->user_data & kOperation) {
    case kReceive:
      received(r, c, cqe);
      break;
    case kSend:
      sent(r, c, cqe->res);
      break;
    case kAccept:
      accepted(r, cqe);
      break;
    case kDeal:  // only failures complete
      fail("message to a ring", -cqe->res);
      break;
    case kDealt:
      adopt(r, (int)(cqe->user_data >> kShift));
      break;
  }
}

static void make(struct ring* r) {
  // All work is done when we ask for completions, and by this thread: no interrupt, and no lock.
  struct io_uring_params params = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
      .cq_entries = 4 * kEntries};
  int error = io_uring_queue_init_params(kEntries, &r->uring, &params);
  if (error < 0) fail("io_uring", -error);
  r->buffers = aligned_alloc(kBuffer, sizeof(char[kBuffers][kBuffer]));
  r->offered =
      mmap(NULL, kBuffers * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (r->buffers == NULL || r->offered == MAP_FAILED) fail("buffers", ENOMEM);
  struct io_uring_buf_reg offer = {.ring_addr = (uint64_t)(uintptr_t)r->offered, .ring_entries = kBuffers};
  error = io_uring_register_buf_ring(&r->uring, &offer, 0);
  if (error < 0) fail("buffer ring", -error);
  io_uring_buf_ring_init(r->offered);
  for (int i = 0; i < kBuffers; i++) give_back(r, i);
}

static void* loop(void* arg) {
  struct ring* r = arg;
  make(r);
  pthread_barrier_wait(&started);
  if (r == rings) accept_all(r);
  for (;;) {
    int error = io_uring_submit_and_wait(&r->uring, 1);
    if (error < 0 && error != -EINTR) fail("io_uring_enter", -error);
    struct io_uring_cqe* cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(&r->uring, head, cqe) {
      completed(r, cqe);
      n++;
    }
    io_uring_cq_advance(&r->uring, n);
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
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0 ||
      listen(listener, SOMAXCONN) != 0 || getsockname(listener, (struct sockaddr*)&address, &length) != 0) {
    fail("listen", errno);
  }
  pthread_barrier_init(&started, NULL, (unsigned)threads + 1);
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, loop, &rings[i]);
    if (error != 0) fail("pthread_create", error);
  }
  pthread_barrier_wait(&started);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  pause();
}
