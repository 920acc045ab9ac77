// network.cc - Activities of sockets, pipes and files: every byte once and in order, every wait ended by what was to end it.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include "work.h"

namespace stress {
namespace {

/// A stream whose bytes are known from its seed, so that either end can check it.
class Stream {
 public:
  explicit Stream(uint64_t seed) : random_(seed) {}
  void write(std::vector<unsigned char>& out) {
    for (unsigned char& c : out) c = next();
  }
  void check(const unsigned char* data, size_t n) {
    for (size_t i = 0; i < n; ++i) STRESS_EQ(data[i], next());
  }

 private:
  unsigned char next() { return static_cast<unsigned char>(random_.next() >> 32); }
  Random random_;
};

int port_of(int fd) {
  sockaddr_in a{};
  socklen_t n = sizeof a;
  STRESS_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n), 0);
  return ntohs(a.sin_port);
}

/// Sends back what comes, until the end.
void serve(int fd, Random& random) {
  std::vector<unsigned char> buffer(1 + random.below(6000));
  for (;;) {
    const ssize_t n = tri_read(fd, buffer.data(), buffer.size(), any_deadline(random));
    if (try_again(n)) continue;
    if (n == 0 || n == -ECONNRESET) break;
    STRESS_CHECK(n > 0);
    const ssize_t written = tri_write_all(fd, buffer.data(), static_cast<size_t>(n), TRI_FOREVER);
    if (written == -EPIPE || written == -ECONNRESET) break;
    STRESS_EQ(written, n);
    perhaps_pause(random);
  }
  STRESS_EQ(tri_close(fd), 0);
}

void converse(int fd, Random& random) {
  Stream sent(random.next());
  Stream expected = sent;
  for (size_t messages = random.below(8); messages != 0; --messages) {
    std::vector<unsigned char> out(1 + random.below(random.one_in(6) ? 60'000 : 2'000));
    sent.write(out);
    Crew writer(random);
    writer.go_task([&](Random&) { STRESS_EQ(tri_write_all(fd, out.data(), out.size(), TRI_FOREVER), out.size()); });
    std::vector<unsigned char> in(1 + random.below(4000));
    for (size_t got = 0; got < out.size();) {
      const ssize_t n = tri_read(fd, in.data(), std::min(in.size(), out.size() - got), any_deadline(random));
      if (try_again(n)) continue;
      STRESS_CHECK(n > 0);
      expected.check(in.data(), static_cast<size_t>(n));
      got += static_cast<size_t>(n);
    }
  }
}

/// A number that is nobody else's, so that a call that comes after the close meets no other descriptor: above all that the kernel gives
/// out by itself.
int reserve_number(int fd) {
  static std::atomic<int> next{0};
  static const int first = [] {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 8192)) / 2;
  }();
  const int number = first + next.fetch_add(1) % first;
  STRESS_EQ(dup2(fd, number), number);
  STRESS_EQ(close(fd), 0);
  return number;
}

}  // namespace

// A listener, its clients, and conversations that all come back; some clients end early, or ask for nothing.
void echo(Random& random) {
  static std::atomic<unsigned> names{0};
  const bool tcp = random.one_in(2);
  char name[64];
  (void)snprintf(name, sizeof name, "@tri-stress-%d-%u", static_cast<int>(getpid()), names.fetch_add(1));
  const int listener = tcp ? tri_listen_tcp("127.0.0.1", 0, 0) : tri_listen_unix(name, 0);
  STRESS_CHECK(listener >= 0);
  const int port = tcp ? port_of(listener) : 0;
  const size_t clients = 1 + random.below(8);
  Crew servers(random);
  servers.go([&](Random& r) {
    Crew crew(r);
    for (size_t i = 0; i < clients;) {
      const int fd = tri_accept(listener, any_deadline(r));
      if (try_again(fd)) continue;
      STRESS_CHECK(fd >= 0);
      crew.go([fd](Random& q) { serve(fd, q); });
      ++i;
    }
  });
  {
    Crew crew(random);
    for (size_t i = 0; i < clients; ++i) {
      crew.go([&](Random& r) {
        const int fd = tcp ? tri_dial_tcp(r.one_in(20) ? "localhost" : "127.0.0.1", port, TRI_FOREVER)
                           : tri_dial_unix(name, TRI_FOREVER);
        STRESS_CHECK(fd >= 0);
        converse(fd, r);
        // All has come back: with a reset the port is free at once, where thousands would wait for a minute.
        const linger reset = {1, 0};
        if (tcp) STRESS_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        STRESS_EQ(tri_close(fd), 0);
      });
    }
  }
  servers.join();
  STRESS_EQ(tri_close(listener), 0);
}

// Several read from one descriptor what several write: each datagram goes to one of them.
void datagrams(Random& random) {
  int fds[2];
  STRESS_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
  const size_t writers = 1 + random.below(3);
  const size_t each = 1 + random.below(100);
  std::atomic<size_t> received{0};
  std::atomic<uint64_t> sum{0};
  Crew readers(random);
  for (size_t i = 1 + random.below(4); i != 0; --i) {
    readers.go([&](Random& r) {
      while (received < writers * each) {
        uint64_t v = 0;
        if (tri_poll(fds[0], 1, tri_after(200'000)) == -ETIMEDOUT) continue;
        const ssize_t n = tri_read(fds[0], &v, sizeof v, r.one_in(2) ? 0 : tri_after(100'000));
        if (try_again(n)) continue;
        STRESS_EQ(n, sizeof v);
        sum += v;
        ++received;
      }
    });
  }
  {
    Crew crew(random);
    for (size_t w = 0; w < writers; ++w) {
      crew.go([&](Random& r) {
        for (uint64_t v = 1; v <= each; ++v) {
          while (const ssize_t left =
                     tri_write(fds[1], &v, sizeof v, any_deadline(r)) - static_cast<ssize_t>(sizeof v)) {
            STRESS_CHECK(try_again(left + static_cast<ssize_t>(sizeof v)));
          }
          perhaps_pause(r);
        }
      });
    }
  }
  readers.join();
  STRESS_EQ(sum.load(), writers * (each * (each + 1) / 2));
  STRESS_EQ(tri_close(fds[0]), 0);
  STRESS_EQ(tri_close(fds[1]), 0);
}

// Reads of which nothing comes: each ends at its time, not before.
void expire(Random& random) {
  int fds[2];
  STRESS_EQ(tri_pipe(fds), 0);
  std::atomic<size_t> expired{0};
  const size_t n = 1 + random.below(200);
  {
    Crew crew(random);
    for (size_t i = 0; i < n; ++i) {
      crew.go_task([&](Random& r) {
        char c;
        const tri_time until = tri_after(static_cast<int64_t>(r.below(3'000'000)));
        STRESS_EQ(tri_read(fds[0], &c, 1, until), -ETIMEDOUT);
        STRESS_CHECK(tri_now() >= until);
        ++expired;
      });
    }
  }
  STRESS_EQ(expired.load(), n);
  STRESS_EQ(tri_close(fds[0]), 0);
  STRESS_EQ(tri_close(fds[1]), 0);
}

// Whoever waits for a descriptor hears of its end.
void close_waited(Random& random) {
  int pair[2];
  STRESS_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const int fd = reserve_number(pair[0]);
  Crew crew(random);
  for (size_t i = 1 + random.below(6); i != 0; --i) {
    crew.go([fd](Random& r) {
      char c;
      if (r.one_in(3)) {
        tri_case cases[] = {TRI_READABLE(fd), TRI_AFTER(TRI_FOREVER)};
        const int result = tri_select(cases, 2, TRI_FOREVER);
        STRESS_EQ(result, -EBADF);
      } else {
        STRESS_EQ(tri_read(fd, &c, 1, TRI_FOREVER), -EBADF);
      }
    });
  }
  if (random.one_in(2)) STRESS_EQ(tri_sleep(static_cast<int64_t>(random.below(300'000))), 0);
  STRESS_EQ(tri_close(fd), 0);
  crew.join();
  STRESS_EQ(close(pair[1]), 0);
}

void files(Random& random) {
  char path[64];
  static std::atomic<unsigned> names{0};
  (void)snprintf(path, sizeof path, "/tmp/tri-stress-%d-%u", static_cast<int>(getpid()), names.fetch_add(1));
  const int fd = tri_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  STRESS_CHECK(fd >= 0);
  STRESS_EQ(unlink(path), 0);
  std::vector<unsigned char> data(1 + random.below(100'000));
  const uint64_t seed = random.next();
  Stream(seed).write(data);
  STRESS_EQ(tri_write_all(fd, data.data(), data.size(), TRI_FOREVER), data.size());
  STRESS_EQ(lseek(fd, 0, SEEK_SET), 0);
  std::fill(data.begin(), data.end(), 0);
  STRESS_EQ(tri_read_full(fd, data.data(), data.size(), TRI_FOREVER), data.size());
  Stream(seed).check(data.data(), data.size());
  STRESS_EQ(tri_close(fd), 0);
}

}  // namespace stress
