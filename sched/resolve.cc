// resolve.cc - See resolve.h.
#include "sched/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>

#include <atomic>
#include <cstring>
#include <new>

#include "alloc/malloc.h"
#include "sched/g.h"
#include "sched/spin_lock.h"
#include "sched/start_thread.h"

namespace tri::sched {
namespace {

// As many as Go allows is 500; each takes a thread, and name servers are not sped up by more than some.
constexpr int kMaxThreads = 32;
constexpr size_t kStackBytes = 512 * 1024;
constexpr size_t kMaxHost = 1025;  // NI_MAXHOST

struct Request {
  Request* next = nullptr;         // queue_lock
  std::atomic<int> references{2};  // who asks, and the queue or the thread that answers
  SpinLock lock;
  bool done = false;  // lock, and all below
  G* waiter = nullptr;
  WaitId id = 0;
  int result = 0;
  int port = 0;
  sockaddr_storage found[kMaxAddresses] = {};
  char host[kMaxHost] = {};
};

constinit SpinLock queue_lock;
constinit Request* first = nullptr;  // queue_lock
constinit Request* last = nullptr;   // queue_lock
constinit int threads = 0;           // queue_lock

void drop(Request* r) {
  // acq_rel: the last one frees what the other has written.
  if (r->references.fetch_sub(1, std::memory_order_acq_rel) == 1) deallocate(r);
}

int to_errno(int e) {
  switch (e) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      return -ENOENT;
    case EAI_AGAIN:
      return -EHOSTUNREACH;
    case EAI_FAIL:
      return -EIO;
    case EAI_MEMORY:
      return -ENOMEM;
    case EAI_SYSTEM:
      return errno != 0 ? -errno : -EIO;
    default:
      return -EINVAL;
  }
}

void set_port(sockaddr_storage* a, int port) {
  const auto in_order = htons(static_cast<uint16_t>(port));
  if (a->ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(a)->sin_port = in_order;
  } else {
    reinterpret_cast<sockaddr_in6*>(a)->sin6_port = in_order;
  }
}

// The system's resolver. Blocks.
int ask(const char* host, int port, sockaddr_storage* out) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // else each address comes once for each kind of socket
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  int e = getaddrinfo(host, nullptr, &hints, &list);
  if (e == EAI_NONAME || e == EAI_ADDRFAMILY || e == EAI_NODATA) {
    // A machine with nothing but a loopback device has no address that AI_ADDRCONFIG counts.
    hints.ai_flags = 0;
    e = getaddrinfo(host, nullptr, &hints, &list);
  }
  if (e != 0) return to_errno(e);
  int n = 0;
  for (const addrinfo* a = list; a != nullptr && n < kMaxAddresses; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    if (a->ai_addrlen > sizeof *out) continue;
    memset(&out[n], 0, sizeof *out);
    memcpy(&out[n], a->ai_addr, a->ai_addrlen);
    set_port(&out[n], port);
    ++n;
  }
  freeaddrinfo(list);
  return n > 0 ? n : -ENOENT;
}

void answer(Request* r) {
  const int result = ask(r->host, r->port, r->found);
  r->lock.lock();
  r->result = result;
  r->done = true;
  G* const g = r->waiter;
  const bool claimed = g != nullptr && claim(g, r->id);
  r->lock.unlock();
  if (claimed) ready(g, 0);
  drop(r);
}

void* answer_requests(void*) {
  for (;;) {
    queue_lock.lock();
    Request* const r = first;
    if (r == nullptr) {
      --threads;
      queue_lock.unlock();
      return nullptr;
    }
    first = r->next;
    queue_lock.unlock();
    answer(r);
  }
}

// Puts r into the queue. False if nobody would answer it.
bool enqueue(Request* r) {
  queue_lock.lock();
  (first == nullptr ? first : last->next) = r;
  last = r;
  const bool start = threads < kMaxThreads;
  if (start) ++threads;
  queue_lock.unlock();
  if (!start || start_thread(answer_requests, nullptr, kStackBytes) == 0) return true;
  // Others will come to it, if there are any. If not, nobody else has taken it out either.
  queue_lock.lock();
  const bool hopeless = --threads == 0;
  Request* orphans = nullptr;
  if (hopeless) {
    orphans = first;
    first = nullptr;
  }
  queue_lock.unlock();
  // Requests of others, which they put there in the hope for this thread: answered as failed.
  bool mine = false;
  while (orphans != nullptr) {
    Request* const o = orphans;
    orphans = o->next;
    if (o == r) {
      mine = true;
      continue;
    }
    o->lock.lock();
    o->result = -EAGAIN;
    o->done = true;
    const bool claimed = o->waiter != nullptr && claim(o->waiter, o->id);
    G* const g = o->waiter;
    o->lock.unlock();
    if (claimed) ready(g, 0);
    drop(o);
  }
  return !mine;
}

int numeric(const char* host, int port, sockaddr_storage* out) {
  memset(out, 0, sizeof *out);
  auto* const v4 = reinterpret_cast<sockaddr_in*>(out);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(out);
  if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
  } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
  } else {
    return 0;
  }
  set_port(out, port);
  return 1;
}

}  // namespace

socklen_t length_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

int resolve(const char* host, int port, sockaddr_storage* out, int capacity, Time deadline) {
  if (host == nullptr || host[0] == '\0' || port < 0 || port > 65535 || capacity <= 0) return -EINVAL;
  if (numeric(host, port, out) == 1) return 1;
  const size_t length = strnlen(host, kMaxHost);
  if (length == kMaxHost) return -ENAMETOOLONG;
  if (deadline == kNoWait) return -EAGAIN;
  G* const g = current();
  void* const memory = g == nullptr ? nullptr : allocate(sizeof(Request));
  if (memory == nullptr) return -ENOMEM;
  Request* const r = ::new (memory) Request;
  memcpy(r->host, host, length + 1);
  r->port = port;
  if (!enqueue(r)) {
    deallocate(r);
    return -EAGAIN;
  }
  int woken = 0;
  r->lock.lock();
  if (r->done) {
    r->lock.unlock();
  } else {
    r->waiter = g;
    r->id = begin_wait(g);
    woken = park(WaitReason::kBlockingCall, &r->lock, deadline);
  }
  int result = woken;
  if (woken == 0) {
    result = r->result < capacity ? r->result : capacity;
    for (int i = 0; i < result; ++i) out[i] = r->found[i];
  }
  drop(r);
  return result;
}

void resolve_reset_after_fork() {
  queue_lock.reset_after_fork();
  first = nullptr;  // lost: who asked does not exist here
  threads = 0;
}

}  // namespace tri::sched
