// socket_test.cc - Tests of sched/socket.h and sched/resolve.h: listening, dialling, names, many connections.
#include "sched/socket.h"

#include <netinet/tcp.h>
#include <sys/stat.h>

#include "sched/g.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

std::string unix_path() { return "/tmp/tri_socket_test_" + std::to_string(getpid()); }

int echo_once(int fd) {
  char buffer[64];
  const ssize_t n = read_some(fd, buffer, sizeof buffer, soon());
  return n > 0 && write_all(fd, buffer, static_cast<size_t>(n), soon()) == n ? 0 : -1;
}

int ask(int fd, uint64_t question) {
  uint64_t answer = 0;
  if (write_all(fd, &question, sizeof question, soon()) != 8) return -1;
  if (read_full(fd, &answer, sizeof answer, soon()) != 8) return -2;
  return answer == question ? 0 : -3;
}

BOTH(Socket, ConnectsOverTcp) {
  for (const char* host : {"127.0.0.1", "::1", "localhost", static_cast<const char*>(nullptr)}) {
    const int listener = listen_tcp(host, 0, 0);
    if (listener == -EADDRNOTAVAIL || listener == -EAFNOSUPPORT) continue;  // no IPv6 here
    ASSERT_GE(listener, 0);
    Task server([&] {
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const int fd = accept(listener, reinterpret_cast<sockaddr*>(&from), &length, soon());
      ASSERT_GE(fd, 0);
      EXPECT_TRUE(from.ss_family == AF_INET || from.ss_family == AF_INET6);
      EXPECT_EQ(length, length_of(from));
      int no_delay = 0;
      socklen_t n = sizeof no_delay;
      EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &n), 0);
      EXPECT_NE(no_delay, 0);
      EXPECT_EQ(echo_once(fd), 0);
      close_descriptor(fd);
    });
    const int fd = dial_tcp(host != nullptr ? host : "127.0.0.1", port_of(listener), soon());
    ASSERT_GE(fd, 0) << (host != nullptr ? host : "any");
    EXPECT_EQ(ask(fd, 42), 0);
    server.join();
    close_descriptor(fd);
    close_descriptor(listener);
  }
}

BOTH(Socket, AcceptWaits) {
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  EXPECT_EQ(accept(listener, nullptr, nullptr, kNoWait), -EAGAIN);
  EXPECT_EQ(accept(listener, nullptr, nullptr, now() + kMs), -ETIMEDOUT);
  for (int i = 0; i < 20; ++i) {
    int fd = -1;
    Task server([&] { fd = accept(listener, nullptr, nullptr, soon()); });
    ASSERT_TRUE(eventually([&] { return someone_waits_on(listener); }));
    const int client = dial_tcp("127.0.0.1", port_of(listener), soon());
    server.join();
    EXPECT_GE(fd, 0);
    close_descriptor(fd);
    close_descriptor(client);
  }
  Task server([&] { EXPECT_EQ(accept(listener, nullptr, nullptr, soon()), -EBADF); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(listener); }));
  close_descriptor(listener);
  server.join();
}

BOTH(Socket, SeveralAcceptFromOneListener) {
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  constexpr size_t kServers = 4;
  constexpr size_t kClients = 40;
  std::vector<Task> servers;
  for (size_t i = 0; i < kServers; ++i) {
    servers.emplace_back([&] {
      for (size_t n = 0; n < kClients / kServers; ++n) {
        const int fd = accept(listener, nullptr, nullptr, soon());
        EXPECT_EQ(echo_once(fd), 0);
        close_descriptor(fd);
      }
    });
  }
  in_tasks(4, [&](size_t t) {
    for (size_t n = 0; n < kClients / 4; ++n) {
      const int fd = dial_tcp("127.0.0.1", port_of(listener), soon());
      EXPECT_EQ(ask(fd, t * 1000 + n), 0);
      close_descriptor(fd);
    }
  });
  for (Task& t : servers) t.join();
  close_descriptor(listener);
}

BOTH(Socket, ErrorsOfListening) {
  EXPECT_EQ(listen_tcp("127.0.0.1", -1, 0), -EINVAL);
  EXPECT_EQ(listen_tcp("127.0.0.1", 65536, 0), -EINVAL);
  EXPECT_EQ(listen_tcp("192.0.2.1", 0, 0), -EADDRNOTAVAIL);  // TEST-NET-1
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  EXPECT_EQ(listen_tcp("127.0.0.1", port_of(listener), 0), -EADDRINUSE);
  close_descriptor(listener);
  TcpPair p;
  EXPECT_EQ(accept(p.fd[0], nullptr, nullptr, soon()), -EINVAL);
}

BOTH(Socket, ErrorsOfDialling) {
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  const int port = port_of(listener);
  close_descriptor(listener);
  EXPECT_EQ(dial_tcp("127.0.0.1", port, soon()), -ECONNREFUSED);
  EXPECT_EQ(dial_tcp("127.0.0.1", 65536, soon()), -EINVAL);
  EXPECT_EQ(dial_tcp("", 80, soon()), -EINVAL);
  EXPECT_EQ(dial_tcp(nullptr, 80, soon()), -EINVAL);
  EXPECT_EQ(dial_unix("/nonexistent/socket", soon()), -ENOENT);
  EXPECT_EQ(dial_unix("", soon()), -EINVAL);
  EXPECT_EQ(dial_unix(std::string(200, 'x').c_str(), soon()), -ENAMETOOLONG);
  EXPECT_EQ(listen_unix(std::string(108, 'x').c_str(), 0), -ENAMETOOLONG);
}

// A listener whose queue is full answers nobody: the deadline ends the attempt.
BOTH(Socket, DiallingWithADeadlineGivesUp) {
  const int listener = listen_tcp("127.0.0.1", 0, 1);
  std::vector<int> fds;
  int r = 0;
  for (int i = 0; i < 20 && r >= 0; ++i) {
    r = dial_tcp("127.0.0.1", port_of(listener), now() + 50 * kMs);
    if (r >= 0) fds.push_back(r);
  }
  EXPECT_EQ(r, -ETIMEDOUT);
  for (int fd : fds) close_descriptor(fd);
  close_descriptor(listener);
}

BOTH(Socket, ConnectsOverUnixSockets) {
  for (const std::string& path : {unix_path(), "@tri-test-" + std::to_string(getpid())}) {
    const int listener = listen_unix(path.c_str(), 0);
    ASSERT_GE(listener, 0);
    EXPECT_EQ(listen_unix(path.c_str(), 0), -EADDRINUSE);
    Task server([&] {
      const int fd = accept(listener, nullptr, nullptr, soon());
      EXPECT_EQ(echo_once(fd), 0);
      close_descriptor(fd);
    });
    const int fd = dial_unix(path.c_str(), soon());
    ASSERT_GE(fd, 0);
    EXPECT_EQ(ask(fd, 7), 0);
    server.join();
    close_descriptor(fd);
    close_descriptor(listener);
    unlink(path.c_str());
  }
}

BOTH(Socket, DiallingAFullUnixListenerWaitsForAPlace) {
  const std::string path = "@tri-full-" + std::to_string(getpid());
  const int listener = listen_unix(path.c_str(), 1);
  std::vector<int> fds;
  int r;
  while ((r = dial_unix(path.c_str(), now() + 5 * kMs)) >= 0) fds.push_back(r);
  EXPECT_EQ(r, -ETIMEDOUT);
  EXPECT_EQ(dial_unix(path.c_str(), kNoWait), -EAGAIN);
  int last = -1;
  Task client([&] { last = dial_unix(path.c_str(), soon()); });
  const int accepted = accept(listener, nullptr, nullptr, soon());
  client.join();
  EXPECT_GE(last, 0);
  for (const int fd : fds) close_descriptor(fd);
  for (const int fd : {accepted, last, listener}) close_descriptor(fd);
}

BOTH(Socket, UdpDatagramsComeAndGo) {
  const int a = udp("127.0.0.1", 0);
  const int b = udp("127.0.0.1", 0);
  ASSERT_GE(a, 0);
  ASSERT_GE(b, 0);
  sockaddr_storage to{};
  ASSERT_EQ(resolve("127.0.0.1", port_of(b), &to, 1, soon()), 1);
  for (int i = 0; i < 50; ++i) {
    char buffer[100] = {};
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    ssize_t n = 0;
    Task receiver(
        [&] { n = receive(b, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from), &length, soon()); });
    if (i % 2 == 0) {
      ASSERT_TRUE(eventually([&] { return someone_waits_on(b); }));
    }
    EXPECT_EQ(send(a, "datagram", 8, 0, reinterpret_cast<sockaddr*>(&to), length_of(to), soon()), 8);
    receiver.join();
    EXPECT_EQ(n, 8);
    EXPECT_STREQ(buffer, "datagram");
    EXPECT_EQ(ntohs(reinterpret_cast<sockaddr_in*>(&from)->sin_port), port_of(a));
  }
  // Two small ones in the queue: a datagram shorter than the buffer does not mean that it is empty.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(send(a, "two", 3, 0, reinterpret_cast<sockaddr*>(&to), length_of(to), soon()), 3);
  }
  char buffer[100];
  EXPECT_EQ(read_some(b, buffer, sizeof buffer, soon()), 3);
  EXPECT_EQ(read_some(b, buffer, sizeof buffer, soon()), 3);
  EXPECT_EQ(read_some(b, buffer, sizeof buffer, now() + kMs), -ETIMEDOUT);
  // A connected socket learns that nobody is there.
  close_descriptor(b);
  EXPECT_EQ(connect(a, reinterpret_cast<sockaddr*>(&to), length_of(to), soon()), 0);
  EXPECT_EQ(write_some(a, "x", 1, soon()), 1);
  EXPECT_EQ(read_some(a, buffer, 1, soon()), -ECONNREFUSED);
  close_descriptor(a);
}

BOTH(Socket, ConnectWorksOnSocketsOfOthers) {
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  sockaddr_storage to{};
  ASSERT_EQ(resolve("127.0.0.1", port_of(listener), &to, 1, soon()), 1);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), length_of(to), soon()), 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), length_of(to), soon()), 0);  // it is
  const int served = accept(listener, nullptr, nullptr, soon());
  Task server([&] { EXPECT_EQ(echo_once(served), 0); });
  EXPECT_EQ(ask(fd, 3), 0);
  server.join();
  for (const int f : {fd, served, listener}) close_descriptor(f);
}

BOTH(Resolve, ConvertsNumbersAtOnce) {
  sockaddr_storage a[4];
  ASSERT_EQ(resolve("192.0.2.7", 80, a, 4, kNoWait), 1);
  EXPECT_EQ(a[0].ss_family, AF_INET);
  EXPECT_EQ(reinterpret_cast<sockaddr_in*>(a)->sin_addr.s_addr, htonl(0xC0000207));
  EXPECT_EQ(reinterpret_cast<sockaddr_in*>(a)->sin_port, htons(80));
  ASSERT_EQ(resolve("2001:db8::1", 443, a, 4, kNoWait), 1);
  EXPECT_EQ(a[0].ss_family, AF_INET6);
  EXPECT_EQ(reinterpret_cast<sockaddr_in6*>(a)->sin6_port, htons(443));
}

BOTH(Resolve, FindsLocalhost) {
  sockaddr_storage a[kMaxAddresses];
  const int n = resolve("localhost", 99, a, kMaxAddresses, soon());
  ASSERT_GE(n, 1);
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(ntohs(reinterpret_cast<sockaddr_in*>(&a[i])->sin_port), 99);
    if (a[i].ss_family != AF_INET) continue;
    EXPECT_EQ(ntohl(reinterpret_cast<sockaddr_in*>(&a[i])->sin_addr.s_addr) >> 24, 127U);
  }
  EXPECT_EQ(resolve("localhost", 99, a, 1, soon()), 1);
}

BOTH(Resolve, ErrorsAreDocumentedOnes) {
  sockaddr_storage a[1];
  EXPECT_EQ(resolve(nullptr, 0, a, 1, soon()), -EINVAL);
  EXPECT_EQ(resolve("", 0, a, 1, soon()), -EINVAL);
  EXPECT_EQ(resolve("localhost", -1, a, 1, soon()), -EINVAL);
  EXPECT_EQ(resolve("localhost", 0, a, 0, soon()), -EINVAL);
  EXPECT_EQ(resolve("localhost", 0, a, 1, kNoWait), -EAGAIN);
  EXPECT_EQ(resolve(std::string(2000, 'x').c_str(), 0, a, 1, soon()), -ENAMETOOLONG);
  const int r = resolve("no-such-host.invalid", 0, a, 1, now() + 20 * kSecond);
  EXPECT_TRUE(r == -ENOENT || r == -EHOSTUNREACH || r == -EIO || r == -ETIMEDOUT) << r;
}

BOTH(Resolve, GivesUpAtTheDeadline) {
  sockaddr_storage a[1];
  // Past already: the answer, whenever it comes, goes to nobody.
  for (int i = 0; i < 50; ++i) {
    const int r = resolve("localhost", 0, a, 1, 1);
    EXPECT_TRUE(r == -ETIMEDOUT || r == 1) << r;
  }
}

BOTH(Resolve, AnswersManyAtOnce) {
  in_tasks(40, [](size_t) {
    for (int i = 0; i < 5; ++i) {
      sockaddr_storage a[1];
      EXPECT_EQ(resolve("localhost", 7, a, 1, soon()), 1);
    }
  });
}

}  // namespace
}  // namespace tri::sched
