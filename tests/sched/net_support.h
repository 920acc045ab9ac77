// net_support.h - What the tests of input and output share: pairs of descriptors, and to see who waits.
#ifndef TRI_TESTS_SCHED_NET_SUPPORT_H
#define TRI_TESTS_SCHED_NET_SUPPORT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "sched/descriptor.h"
#include "sched/netpoll.h"
#include "sched/poll_desc.h"
#include "sched/resolve.h"
#include "sched/socket.h"
#include "tests/alloc/support.h"

namespace tri::sched::test {

using tri::test::in_threads;

constexpr Time kMs = 1'000'000;
constexpr Time kSecond = 1'000'000'000;
/// What no test should ever reach: late enough for a slow machine, early enough for ctest.
inline Time soon() { return now() + 60 * kSecond; }

/// Waits for a condition that another thread brings about.
template <class Condition>
bool eventually(Condition condition) {
  const Time end = soon();
  while (!condition()) {
    if (now() > end) return false;
    sched_yield();
  }
  return true;
}

inline bool someone_waits_on(int fd) {
  PollDesc* const d = find_poll_desc(fd);
  if (d == nullptr) return false;
  d->lock();
  const bool waits = d->has_waiters_locked();
  d->unlock();
  return waits;
}

inline int port_of(int fd) {
  sockaddr_in6 a{};
  socklen_t n = sizeof a;
  getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n);
  return ntohs(a.sin6_port);  // stands where sin_port does
}

/// Two connected descriptors, closed at the end of the scope unless taken.
struct Pair {
  int fd[2] = {-1, -1};
  Pair() = default;
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() { close(0), close(1); }
  void close(int i) {
    if (fd[i] >= 0) close_descriptor(fd[i]);
    fd[i] = -1;
  }
};

struct TcpPair : Pair {
  TcpPair() {
    const int listener = listen_tcp("127.0.0.1", 0, 1);
    fd[0] = dial_tcp("127.0.0.1", port_of(listener), soon());
    fd[1] = accept(listener, nullptr, nullptr, soon());
    close_descriptor(listener);
    EXPECT_GE(fd[0], 0);
    EXPECT_GE(fd[1], 0);
  }
};

/// Made by others: the library has to look at it.
struct UnixPair : Pair {
  explicit UnixPair(int type = SOCK_STREAM) { EXPECT_EQ(socketpair(AF_UNIX, type, 0, fd), 0); }
};

/// As many descriptors as allowed, or as there are wanted.
inline size_t raise_descriptor_limit(size_t wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    rlimit more = {wanted, limit.rlim_max < wanted ? wanted : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
      more = {limit.rlim_max, limit.rlim_max};
      setrlimit(RLIMIT_NOFILE, &more);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit.rlim_cur;
}

}  // namespace tri::sched::test

#endif
