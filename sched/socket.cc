// socket.cc - See socket.h.
#include "sched/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "alloc/base/check.h"
#include "sched/descriptor.h"
#include "sched/resolve.h"
#include "sched/syscall.h"
#include "tri_arch.h"

namespace tri::sched {
namespace {

long address(const void* p) { return reinterpret_cast<long>(p); }
void close_fd(int fd) { arch::system_call(SYS_close, fd); }

int set_option(int fd, int level, int option, int value) {
  return static_cast<int>(arch::system_call(SYS_setsockopt, fd, level, option, address(&value), sizeof value));
}

int new_socket(int family, int type) {
  return static_cast<int>(arch::system_call(SYS_socket, family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int listen_backlog(int backlog) { return backlog > 0 ? backlog : SOMAXCONN; }

// A socket bound to one address; listening if it is of TCP.
int bound_socket(const sockaddr_storage& to, int type, int backlog) {
  const bool tcp = type == SOCK_STREAM;
  const int fd = new_socket(to.ss_family, type);
  if (fd < 0) return fd;
  int r = 0;
  if (tcp) {
    r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Accepted connections inherit it, so that it costs them nothing.
    if (r == 0) r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  }
  if (r == 0 && to.ss_family == AF_INET6) {
    const bool any =
        memcmp(&reinterpret_cast<const sockaddr_in6&>(to).sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
    r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? 0 : 1);
  }
  if (r == 0) r = static_cast<int>(arch::system_call(SYS_bind, fd, address(&to), length_of(to)));
  if (r == 0 && tcp) r = static_cast<int>(arch::system_call(SYS_listen, fd, listen_backlog(backlog)));
  if (r == 0) return adopt_descriptor(fd, FdKind::kSocket, tcp);
  close_fd(fd);
  return r;
}

int bind_host(const char* host, int port, int type, int backlog) {
  sockaddr_storage found[kMaxAddresses];
  const int n = resolve(host, port, found, kMaxAddresses, kForever);
  if (n < 0) return n;
  int r = -EINVAL;
  for (int i = 0; i < n; ++i) {
    r = bound_socket(found[i], type, backlog);
    if (r >= 0) break;
  }
  return r;
}

// "@name" is a name of Linux's abstract space, which needs no file.
int unix_address(const char* path, sockaddr_un* out, socklen_t* length) {
  if (path == nullptr || path[0] == '\0') return -EINVAL;
  const size_t n = strnlen(path, sizeof out->sun_path);
  if (n >= sizeof out->sun_path) return -ENAMETOOLONG;
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  memcpy(out->sun_path, path, n);
  const bool is_abstract = path[0] == '@';
  if (is_abstract) out->sun_path[0] = '\0';
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + n + (is_abstract ? 0 : 1));
  return 0;
}

// 0 once the connection stands; its error if it failed; -EINPROGRESS.
int connection_state(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  const long r = arch::system_call(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, address(&error), address(&length));
  if (r < 0) return static_cast<int>(r);
  if (error != 0) return -error;
  // No error does not mean success: an edge may have been about something else.
  sockaddr_storage peer;
  length = sizeof peer;
  const long named = arch::system_call(SYS_getpeername, fd, address(&peer), address(&length));
  return named == 0 ? 0 : -EINPROGRESS;
}

void nap(Time until) {
  G* const g = current();
  if (g == nullptr) return;
  (void)begin_wait(g);
  (void)park(WaitReason::kSleep, nullptr, until);
}

// The part of the time that is left which one of `remaining` addresses gets: an equal share, but not so little that a slow network
// fails at all of them.
Time share(Time deadline, int remaining) {
  if (deadline == kForever || remaining <= 1) return deadline;
  constexpr Time kLeast = 2'000'000'000;
  const Time present = now();
  const Time left = deadline - present;
  if (left <= kLeast) return deadline;
  const Time part = left / remaining;
  return present + (part < kLeast ? kLeast : part);
}

int dial(const sockaddr* to, socklen_t length, Time deadline) {
  const bool tcp = to->sa_family != AF_UNIX;
  const int fd = new_socket(to->sa_family, SOCK_STREAM);
  if (fd < 0) return fd;
  if (const int r = adopt_descriptor(fd, FdKind::kSocket, tcp); r < 0) return r;
  int r = tcp ? set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) : 0;
  if (r == 0) r = connect(fd, to, length, deadline);
  if (r == 0) return fd;
  (void)close_descriptor(fd);
  return r;
}

}  // namespace

int listen_tcp(const char* host, int port, int backlog) {
  if (port < 0 || port > 65535) return -EINVAL;
  if (host != nullptr && host[0] != '\0') return bind_host(host, port, SOCK_STREAM, backlog);
  // All addresses, of both families where there are both.
  const int r = bind_host("::", port, SOCK_STREAM, backlog);
  return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL ? bind_host("0.0.0.0", port, SOCK_STREAM, backlog) : r;
}

int listen_unix(const char* path, int backlog) {
  sockaddr_un to;
  socklen_t length;
  if (const int r = unix_address(path, &to, &length); r < 0) return r;
  const int fd = new_socket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) return fd;
  long r = arch::system_call(SYS_bind, fd, address(&to), length);
  if (r == 0) r = arch::system_call(SYS_listen, fd, listen_backlog(backlog));
  if (r == 0) return adopt_descriptor(fd, FdKind::kSocket, false);
  close_fd(fd);
  return static_cast<int>(r);
}

int dial_tcp(const char* host, int port, Time deadline) {
  sockaddr_storage found[kMaxAddresses];
  const int n = resolve(host, port, found, kMaxAddresses, deadline);
  if (n < 0) return n;
  int first_error = 0;
  for (int i = 0; i < n; ++i) {
    const int r = dial(reinterpret_cast<const sockaddr*>(&found[i]), length_of(found[i]), share(deadline, n - i));
    if (r >= 0) return r;
    // The best address's error tells the most.
    if (first_error == 0) first_error = r;
    if (r == -ECANCELED || r == -EMFILE || r == -ENFILE || r == -ENOMEM) return r;
  }
  return first_error;
}

int dial_unix(const char* path, Time deadline) {
  sockaddr_un to;
  socklen_t length;
  if (const int r = unix_address(path, &to, &length); r < 0) return r;
  return dial(reinterpret_cast<const sockaddr*>(&to), length, deadline);
}

int udp(const char* host, int port) {
  if (port < 0 || port > 65535) return -EINVAL;
  return bind_host(host != nullptr && host[0] != '\0' ? host : "0.0.0.0", port, SOCK_DGRAM, 0);
}

int accept(int fd, sockaddr* from, socklen_t* from_length, Time deadline) {
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); r < 0) return r;
  if (d->kind() != FdKind::kSocket) return -ENOTSOCK;
  const socklen_t room = from_length != nullptr ? *from_length : 0;
  const long r = when_ready(fd, d, false, deadline, [=] {
    long result;
    do {
      if (from_length != nullptr) *from_length = room;
      result = arch::system_call(SYS_accept4, fd, address(from), address(from_length), SOCK_NONBLOCK | SOCK_CLOEXEC);
      // Whoever was first in the queue has gone again: no error of the listener.
    } while (result == -ECONNABORTED);
    return result;
  });
  if (r < 0) return static_cast<int>(r);
  return adopt_descriptor(static_cast<int>(r), FdKind::kSocket, d->is_tcp());
}

int connect(int fd, const sockaddr* to, socklen_t to_length, Time deadline) {
  PollDesc* d;
  if (const int r = use_descriptor(fd, &d); r < 0) return r;
  if (d->kind() != FdKind::kSocket) return -ENOTSOCK;
  Time pause = 100'000;
  for (;;) {
    Stamp stamp = d->side(true).stamp();
    const long r = arch::system_call(SYS_connect, fd, address(to), static_cast<long>(to_length));
    if (r == 0 || r == -EISCONN) return 0;
    if (r == -EAGAIN) {
      // A Unix socket whose listener's queue is full; the kernel tells nobody when it is so no more.
      if (deadline == kNoWait) return -EAGAIN;
      const Time present = now();
      if (present >= deadline) return -ETIMEDOUT;
      nap(deadline - present < pause ? deadline : present + pause);
      if (pause < 10'000'000) pause *= 2;
      continue;
    }
    if (r != -EINPROGRESS && r != -EALREADY && r != -EINTR) return static_cast<int>(r);
    for (;;) {
      if (const int woken = wait_for_edge(fd, d, true, stamp, deadline); woken < 0) {
        return woken == -EAGAIN ? -EINPROGRESS : woken;
      }
      stamp = d->side(true).stamp();
      if (const int state = connection_state(fd); state != -EINPROGRESS) return state;
    }
  }
}

int shutdown_descriptor(int fd, int how) { return static_cast<int>(arch::system_call(SYS_shutdown, fd, how)); }

int make_pipe(int fds[2]) {
  int made[2];
  const long r = arch::system_call(SYS_pipe2, address(made), O_NONBLOCK | O_CLOEXEC);
  if (r < 0) return static_cast<int>(r);
  for (int i = 0; i < 2; ++i) {
    if (const int a = adopt_descriptor(made[i], FdKind::kPollable, false); a < 0) {
      if (i == 0) close_fd(made[1]);
      if (i == 1) (void)close_descriptor(made[0]);
      return a;
    }
  }
  fds[0] = made[0];
  fds[1] = made[1];
  return 0;
}

int open_file(const char* path, int flags, unsigned mode) {
  // A disk that has to spin up, a FIFO that waits for its other end.
  blocking_begin();
  long fd;
  do {
    fd = arch::system_call(SYS_openat, AT_FDCWD, address(path), flags | O_CLOEXEC, mode);
  } while (fd == -EINTR);
  blocking_end();
  if (fd < 0) return static_cast<int>(fd);
  // The number may have been another file's, closed without a word to us.
  (void)detach_descriptor(static_cast<int>(fd));
  PollDesc* d;
  const int r = use_descriptor(static_cast<int>(fd), &d);
  if (r == 0) return static_cast<int>(fd);
  close_fd(static_cast<int>(fd));
  return r;
}

}  // namespace tri::sched
