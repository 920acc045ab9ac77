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
#include "tests/sched/sched_support.h"

namespace tri::sched::test {

/// A thread, or a goroutine if a goroutine starts it.
class Task {
 public:
  template <class Fn>
  explicit Task(Fn fn) {
    if (current()->kind == GKind::kThread) {
      thread_ = std::thread(std::move(fn));
    } else {
      id_ = spawn(std::move(fn), nullptr, kStack);
    }
  }
  void join() {
    if (id_ == 0) return thread_.join();
    EXPECT_EQ(sched::join(id_, now() + 120'000'000'000), 0);
  }
  static void in_goroutine(void (*fn)()) {
    EXPECT_EQ(sched::join(spawn(fn, nullptr, kStack), now() + 120'000'000'000), 0);
  }
  static constexpr size_t kStack = 256 * 1024;  // GoogleTest's own needs

 private:
  std::thread thread_;
  TaskId id_ = 0;
};

template <class Fn>
void in_tasks(size_t count, Fn&& fn) {
  std::vector<Task> tasks;
  for (size_t i = 0; i < count; ++i) tasks.emplace_back([&fn, i] { fn(i); });
  for (Task& t : tasks) t.join();
}

// A test that is run twice: by threads, and by goroutines.
#define BOTH(suite, name)                                                  \
  static void suite##_##name();                                            \
  TEST(suite, name) { suite##_##name(); }                                  \
  TEST(suite##OfGoroutines, name) { Task::in_goroutine(&suite##_##name); } \
  static void suite##_##name()

constexpr Time kMs = 1'000'000;
constexpr Time kSecond = 1'000'000'000;
/// What no test should ever reach: late enough for a slow machine, early enough for ctest.
inline Time soon() { return now() + 60 * kSecond; }

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

/// Two connected descriptors, closed at the end of the scope unless taken (set to -1).
struct Pair {
  int fd[2] = {-1, -1};  // stays as it is when closed: others may be about to use the number
  bool closed[2] = {};
  Pair() = default;
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() { close(0), close(1); }
  void close(int i) {
    if (!closed[i] && fd[i] >= 0) close_descriptor(fd[i]);
    closed[i] = true;
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
