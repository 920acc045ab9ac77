// descriptor_test.cc - Tests of sched/descriptor.h: reading, writing, waiting and closing, on real descriptors.
#include "sched/descriptor.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "sched/cpu_times.h"
#include "sched/g.h"
#include "sched/select.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

// ---- trying -----------------------------------------------------------------------------------

BOTH(Descriptor, ATryDoesNotWait) {
  TcpPair p;
  char c = 0;
  EXPECT_EQ(read_some(p.fd[0], &c, 1, kNoWait), -EAGAIN);
  EXPECT_EQ(poll_descriptor(p.fd[0], POLLIN, kNoWait), -EAGAIN);
  EXPECT_EQ(poll_descriptor(p.fd[0], POLLIN | POLLOUT, kNoWait), POLLOUT);
  EXPECT_EQ(write_some(p.fd[1], "x", 1, kNoWait), 1);
  EXPECT_EQ(poll_descriptor(p.fd[0], POLLIN, soon()), POLLIN);
  EXPECT_EQ(read_some(p.fd[0], &c, 1, kNoWait), 1);
  EXPECT_EQ(c, 'x');
}

BOTH(Descriptor, ErrnoIsLeftAlone) {
  TcpPair p;
  char c;
  errno = 12345;
  EXPECT_EQ(read_some(p.fd[0], &c, 1, kNoWait), -EAGAIN);
  EXPECT_EQ(read_some(-1, &c, 1, kNoWait), -EBADF);
  EXPECT_EQ(read_some(p.fd[0], &c, 1, now() + kMs), -ETIMEDOUT);
  EXPECT_EQ(dial_tcp("127.0.0.1", 1, soon()), -ECONNREFUSED);
  EXPECT_EQ(errno, 12345);
}

BOTH(Descriptor, NumbersThatAreNoDescriptorAreRefused) {
  char c;
  EXPECT_EQ(read_some(-1, &c, 1, soon()), -EBADF);
  EXPECT_EQ(read_some(INT32_MIN, &c, 1, soon()), -EBADF);
  EXPECT_EQ(read_some(INT32_MAX, &c, 1, soon()), -EMFILE);
  EXPECT_EQ(write_some(900, &c, 1, soon()), -EBADF);
  EXPECT_EQ(poll_descriptor(900, POLLIN, soon()), -EBADF);
  EXPECT_EQ(close_descriptor(900), -EBADF);
  EXPECT_EQ(close_descriptor(-1), -EBADF);
  EXPECT_EQ(detach_descriptor(900), -EBADF);
  EXPECT_EQ(netpoll_arm(900, false, current(), 2, 0), -EBADF);
}

// ---- waiting ----------------------------------------------------------------------------------

BOTH(Descriptor, AReaderWaitsForData) {
  TcpPair tcp;
  UnixPair unix_stream;
  UnixPair datagrams(SOCK_DGRAM);
  Pair a_pipe;
  ASSERT_EQ(make_pipe(a_pipe.fd), 0);
  std::swap(a_pipe.fd[0], a_pipe.fd[1]);  // writes to 0, reads from 1
  for (Pair* p :
       {static_cast<Pair*>(&tcp), static_cast<Pair*>(&unix_stream), static_cast<Pair*>(&datagrams), &a_pipe}) {
    for (int i = 0; i < 100; ++i) {
      char c = 0;
      Task reader([&] { EXPECT_EQ(read_some(p->fd[1], &c, 1, soon()), 1); });
      if (i % 2 == 0) {
        ASSERT_TRUE(eventually([&] { return someone_waits_on(p->fd[1]); }));
      }
      const char sent = static_cast<char>('a' + i % 26);
      EXPECT_EQ(write_some(p->fd[0], &sent, 1, soon()), 1);
      reader.join();
      EXPECT_EQ(c, sent);
    }
  }
}

BOTH(Descriptor, ADeadlinePasses) {
  TcpPair p;
  char c;
  for (int i = 0; i < 20; ++i) {
    const Time start = now();
    EXPECT_EQ(read_some(p.fd[0], &c, 1, start + 2 * kMs), -ETIMEDOUT);
    EXPECT_GE(now(), start + 2 * kMs);
  }
  EXPECT_EQ(read_some(p.fd[0], &c, 1, 1), -ETIMEDOUT);  // long past
  EXPECT_FALSE(someone_waits_on(p.fd[0]));
  // The descriptor is as good as before.
  EXPECT_EQ(write_some(p.fd[1], "y", 1, soon()), 1);
  EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1);
}

BOTH(Descriptor, AWriterWaitsForRoom) {
  for (const bool tcp : {true, false}) {
    Pair p;
    if (tcp) {
      TcpPair q;
      std::swap(p.fd, q.fd);
    } else {
      ASSERT_EQ(make_pipe(p.fd), 0);
      std::swap(p.fd[0], p.fd[1]);
    }
    constexpr size_t kBytes = 8 << 20;
    std::vector<char> out(kBytes);
    tri::test::fill(out.data(), kBytes, 1);
    Task writer([&] {
      EXPECT_EQ(write_all(p.fd[0], out.data(), kBytes, soon()), static_cast<ssize_t>(kBytes));
      p.close(0);
    });
    ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
    std::vector<char> in(kBytes + 1);
    // Asks for more than there is: how many came tells that the stream ended.
    EXPECT_EQ(read_full(p.fd[1], in.data(), kBytes + 1, soon()), static_cast<ssize_t>(kBytes));
    writer.join();
    EXPECT_TRUE(memcmp(in.data(), out.data(), kBytes) == 0);
  }
}

BOTH(Descriptor, AWriterWithADeadlineGivesUp) {
  TcpPair p;
  std::vector<char> out(16 << 20);
  EXPECT_EQ(write_all(p.fd[0], out.data(), out.size(), now() + 20 * kMs), -ETIMEDOUT);
  EXPECT_EQ(poll_descriptor(p.fd[0], POLLOUT, now() + kMs), -ETIMEDOUT);
}

BOTH(Descriptor, ManyWaitOnOneDescriptorAndEachGetsItsOwn) {
  UnixPair p(SOCK_DGRAM);
  constexpr int kReaders = 8;
  constexpr int kEach = 200;
  std::atomic<int> sum{0};
  std::vector<Task> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&] {
      for (int n = 0; n < kEach; ++n) {
        int value = 0;
        EXPECT_EQ(read_some(p.fd[0], &value, sizeof value, soon()), static_cast<ssize_t>(sizeof value));
        sum += value;
      }
    });
  }
  int expected = 0;
  for (int i = 1; i <= kReaders * kEach; ++i) {
    EXPECT_EQ(write_some(p.fd[1], &i, sizeof i, soon()), static_cast<ssize_t>(sizeof i));
    expected += i;
  }
  for (Task& t : readers) t.join();
  EXPECT_EQ(sum.load(), expected);
}

BOTH(Descriptor, ReadingAndWritingWaitAtOnce) {
  TcpPair p;
  std::vector<char> out(16 << 20);
  Task writer([&] { EXPECT_EQ(write_all(p.fd[0], out.data(), out.size(), soon()), 16 << 20); });
  char c = 0;
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1); });
  EXPECT_EQ(write_some(p.fd[1], "z", 1, soon()), 1);
  reader.join();
  EXPECT_EQ(c, 'z');
  std::vector<char> in(16 << 20);
  EXPECT_EQ(read_full(p.fd[1], in.data(), in.size(), soon()), 16 << 20);
  writer.join();
}

TEST(Descriptor, AnInterruptedWaitGoesOn) {
  struct sigaction ignore_it = {};
  ignore_it.sa_handler = [](int) {};
  sigaction(SIGUSR1, &ignore_it, nullptr);
  TcpPair p;
  char c = 0;
  std::thread reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  for (int i = 0; i < 100; ++i) pthread_kill(reader.native_handle(), SIGUSR1);
  EXPECT_EQ(write_some(p.fd[1], "x", 1, soon()), 1);
  reader.join();
}

// ---- the end of a stream ----------------------------------------------------------------------

BOTH(Descriptor, TheOtherEndClosesWhileOneReads) {
  TcpPair p;
  char c;
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 0); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  p.close(1);
  reader.join();
  EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 0);  // and stays so
}

BOTH(Descriptor, AHalfClosedSocketStillGoesTheOtherWay) {
  TcpPair p;
  char c = 0;
  EXPECT_EQ(shutdown_descriptor(p.fd[0], SHUT_WR), 0);
  EXPECT_EQ(read_some(p.fd[1], &c, 1, soon()), 0);
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  EXPECT_EQ(write_some(p.fd[1], "h", 1, soon()), 1);
  reader.join();
  EXPECT_EQ(c, 'h');
  EXPECT_EQ(write_some(p.fd[0], "x", 1, soon()), -EPIPE);
}

BOTH(Descriptor, ShuttingDownWakesTheReader) {
  TcpPair p;
  char c;
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 0); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  EXPECT_EQ(shutdown_descriptor(p.fd[0], SHUT_RD), 0);
  reader.join();
}

BOTH(Descriptor, AResetConnectionIsAnError) {
  TcpPair p;
  const linger at_once = {1, 0};
  setsockopt(p.fd[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  char c;
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), -ECONNRESET); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  p.close(1);
  reader.join();
  EXPECT_EQ(write_some(p.fd[0], "x", 1, soon()), -EPIPE);
}

BOTH(Descriptor, APipeWithoutReadersEndsItsWriter) {
  signal(SIGPIPE, SIG_IGN);
  Pair p;
  ASSERT_EQ(make_pipe(p.fd), 0);
  std::vector<char> out(1 << 20);
  Task writer([&] { EXPECT_EQ(write_all(p.fd[1], out.data(), out.size(), soon()), -EPIPE); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[1]); }));
  p.close(0);
  writer.join();
}

BOTH(Descriptor, ASocketNeverRaisesSigpipe) {
  signal(SIGPIPE, SIG_DFL);
  TcpPair p;
  const int file = open_file("/proc/self/exe", O_RDONLY, 0);
  ASSERT_GE(file, 0);
  EXPECT_EQ(shutdown_descriptor(p.fd[0], SHUT_WR), 0);
  const iovec piece = {const_cast<char*>("x"), 1};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(&piece);
  message.msg_iovlen = 1;
  EXPECT_EQ(write_some(p.fd[0], "x", 1, soon()), -EPIPE);
  EXPECT_EQ(write_vector(p.fd[0], &piece, 1, soon()), -EPIPE);
  EXPECT_EQ(send(p.fd[0], "x", 1, 0, nullptr, 0, soon()), -EPIPE);
  EXPECT_EQ(send_message(p.fd[0], &message, 0, soon()), -EPIPE);
  off_t offset = 0;
  EXPECT_EQ(send_file(p.fd[0], file, &offset, 100, soon()), -EPIPE);
  sigset_t blocked;
  sigset_t pending;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  sigpending(&pending);
  EXPECT_FALSE(sigismember(&blocked, SIGPIPE));
  EXPECT_FALSE(sigismember(&pending, SIGPIPE));
  close_descriptor(file);
}

// ---- short reads ------------------------------------------------------------------------------

// System calls that a thread makes are not counted here; what is checked is that nothing is missed.
BOTH(Descriptor, AfterAShortReadNothingIsMissed) {
  TcpPair p;
  tri::test::Random random;
  constexpr size_t kBytes = 4 << 20;
  Task writer([&] {
    tri::test::Random lengths(1);
    std::vector<char> out(3000);
    for (size_t sent = 0; sent < kBytes;) {
      const size_t n = std::min(lengths.size_up_to(out.size()), kBytes - sent);
      for (size_t i = 0; i < n; ++i) out[i] = static_cast<char>(tri::test::pattern_byte(9, sent + i));
      ASSERT_EQ(write_all(p.fd[0], out.data(), n, soon()), static_cast<ssize_t>(n));
      sent += n;
      if (lengths.one_in(8)) yield();
    }
    p.close(0);  // its end may come in one edge with the last data
  });
  std::vector<char> in(4000);
  size_t received = 0;
  for (;;) {
    const ssize_t n = read_some(p.fd[1], in.data(), random.between(1, in.size()), soon());
    ASSERT_GE(n, 0);
    if (n == 0) break;
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      ASSERT_EQ(in[i], static_cast<char>(tri::test::pattern_byte(9, received + i)));
    }
    received += static_cast<size_t>(n);
  }
  EXPECT_EQ(received, kBytes);
  writer.join();
}

BOTH(Descriptor, DataAndEndInOneEdgeAreBothRead) {
  for (int i = 0; i < 200; ++i) {
    TcpPair p;
    char buffer[100];
    Task reader([&] {
      ssize_t n = read_some(p.fd[0], buffer, sizeof buffer, soon());
      EXPECT_EQ(n, 10);
      EXPECT_EQ(read_some(p.fd[0], buffer, sizeof buffer, soon()), 0);
    });
    if (i % 2 == 0) {
      ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
    }
    EXPECT_EQ(write_some(p.fd[1], "0123456789", 10, soon()), 10);
    p.close(1);
    reader.join();
  }
}

BOTH(Descriptor, UrgentDataDoesNotHideWhatFollows) {
  TcpPair p;
  char buffer[100];
  Task reader([&] {
    size_t n = 0;
    while (n < 20) {
      const ssize_t r = read_some(p.fd[0], buffer, sizeof buffer, soon());
      ASSERT_GT(r, 0);
      n += static_cast<size_t>(r);
    }
  });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  // The read stops at the mark, short, though more is there.
  EXPECT_EQ(write_some(p.fd[1], "0123456789", 10, soon()), 10);
  EXPECT_EQ(send(p.fd[1], "!", 1, MSG_OOB, nullptr, 0, soon()), 1);
  EXPECT_EQ(write_some(p.fd[1], "0123456789", 10, soon()), 10);
  reader.join();
  EXPECT_EQ(send(p.fd[1], "!", 1, MSG_OOB, nullptr, 0, soon()), 1);
  EXPECT_NE(poll_descriptor(p.fd[0], POLLPRI, soon()) & POLLPRI, 0);
}

// ---- closing ----------------------------------------------------------------------------------

BOTH(Descriptor, ClosingWakesReaderWriterAndPoller) {
  TcpPair p;
  std::vector<char> out(16 << 20);
  char c;
  Task writer([&] { EXPECT_EQ(write_all(p.fd[0], out.data(), out.size(), soon()), -EBADF); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), -EBADF); });
  Task poller([&] { EXPECT_EQ(poll_descriptor(p.fd[0], POLLIN, soon()), -EBADF); });
  // How many wait cannot be seen from here; those that come late get the same answer from the kernel.
  for (int i = 0; i < 100; ++i) yield();
  p.close(0);
  writer.join();
  reader.join();
  poller.join();
}

BOTH(Descriptor, ClosingADuplicateLeavesTheOther) {
  TcpPair p;
  char c = 0;
  EXPECT_EQ(read_some(p.fd[0], &c, 1, now() + kMs), -ETIMEDOUT);  // registered now
  const int other = dup(p.fd[0]);
  p.close(0);
  EXPECT_EQ(write_some(p.fd[1], "d", 1, soon()), 1);
  EXPECT_EQ(read_some(other, &c, 1, soon()), 1);
  EXPECT_EQ(c, 'd');
  Task reader([&] { EXPECT_EQ(read_some(other, &c, 1, soon()), 1); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(other); }));
  EXPECT_EQ(write_some(p.fd[1], "e", 1, soon()), 1);
  reader.join();
  close_descriptor(other);
}

// sysmon opens a file when it looks at the processors' times first, and takes a number that was just closed for a moment.
class NoCpuTimes {
 public:
  NoCpuTimes() {
    cpu_times = [] { return CpuTimes{}; };
  }
  ~NoCpuTimes() { cpu_times = cpu_times_of_system; }
};

BOTH(Descriptor, AReusedNumberIsANewDescriptor) {
  const NoCpuTimes numbers_are_ours;
  for (int i = 0; i < 300; ++i) {
    int number;
    {
      TcpPair p;
      char c;
      number = p.fd[0];
      EXPECT_EQ(read_some(p.fd[0], &c, 1, now() + 1), -ETIMEDOUT);
      EXPECT_EQ(write_some(p.fd[1], "old", 3, soon()), 3);  // an event that may be late
    }
    TcpPair p;
    EXPECT_TRUE(p.fd[0] == number || p.fd[1] == number);
    const int mine = p.fd[0] == number ? 0 : 1;
    char c = 0;
    Task reader([&] { EXPECT_EQ(read_some(p.fd[mine], &c, 1, soon()), 1); });
    if (i % 2 == 0) {
      ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[mine]); }));
    }
    EXPECT_EQ(write_some(p.fd[1 - mine], "n", 1, soon()), 1);
    reader.join();
    EXPECT_EQ(c, 'n');
  }
}

BOTH(Descriptor, ANumberThatWasClosedBehindOurBackIsRecognised) {
  const NoCpuTimes numbers_are_ours;
  UnixPair p;
  char c = 0;
  EXPECT_EQ(read_some(p.fd[0], &c, 1, now() + kMs), -ETIMEDOUT);  // registered now
  const int number = p.fd[0];
  ::close(p.fd[0]);
  int q[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, q), 0);
  ASSERT_EQ(q[0], number);
  Task reader([&] { EXPECT_EQ(read_some(q[0], &c, 1, soon()), 1); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(q[0]); }));
  EXPECT_EQ(write_some(q[1], "k", 1, soon()), 1);
  reader.join();
  EXPECT_EQ(c, 'k');
  close_descriptor(q[1]);
}

BOTH(Descriptor, ADetachedDescriptorStaysOpen) {
  TcpPair p;
  char c = 0;
  Task reader([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), -EBADF); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  EXPECT_EQ(detach_descriptor(p.fd[0]), 0);
  reader.join();
  EXPECT_EQ(write_some(p.fd[1], "x", 1, soon()), 1);
  EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1);
  EXPECT_EQ(c, 'x');
}

BOTH(Descriptor, ClosingRacesWithReading) {
  tri::test::Random random;
  for (size_t i = 0; i < tri::test::rounds(2000); ++i) {
    TcpPair p;
    char c;
    std::atomic<bool> started{false};
    Task reader([&] {
      started = true;
      const ssize_t r = read_some(p.fd[0], &c, 1, soon());
      EXPECT_TRUE(r == -EBADF) << r;
    });
    while (!started) yield();
    for (size_t n = random.below(4); n > 0; --n) yield();
    p.close(0);
    reader.join();
  }
}

// ---- kinds ------------------------------------------------------------------------------------

BOTH(Descriptor, RegularFilesGoByTheBlockingPath) {
  char path[] = "/tmp/tri_descriptor_test_XXXXXX";
  const int made = mkstemp(path);
  ASSERT_GE(made, 0);
  close(made);
  const int fd = open_file(path, O_RDWR, 0);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(write_all(fd, "hello", 5, kNoWait), 5);
  EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
  char buffer[10] = {};
  EXPECT_EQ(read_full(fd, buffer, 10, soon()), 5);
  EXPECT_STREQ(buffer, "hello");
  EXPECT_EQ(poll_descriptor(fd, POLLIN, soon()), POLLIN);
  G* const g = current();
  EXPECT_EQ(netpoll_arm(fd, false, g, begin_wait(g), 1), 1);
  EXPECT_EQ(receive(fd, buffer, 1, 0, nullptr, nullptr, soon()), -ENOTSOCK);
  EXPECT_EQ(accept(fd, nullptr, nullptr, soon()), -ENOTSOCK);
  EXPECT_EQ(close_descriptor(fd), 0);
  EXPECT_EQ(open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST);
  unlink(path);
  EXPECT_EQ(open_file(path, O_RDONLY, 0), -ENOENT);
}

BOTH(Descriptor, WhatEpollRefusesIsAlwaysReady) {
  const int fd = open_file("/dev/zero", O_RDWR, 0);
  ASSERT_GE(fd, 0);
  char c = 1;
  EXPECT_EQ(read_some(fd, &c, 1, soon()), 1);
  EXPECT_EQ(c, 0);
  EXPECT_EQ(write_some(fd, &c, 1, soon()), 1);
  G* const g = current();
  EXPECT_EQ(netpoll_arm(fd, false, g, begin_wait(g), 1), 1);
  EXPECT_EQ(close_descriptor(fd), 0);
}

BOTH(Descriptor, AnEventfdIsReadWhenItIsRung) {
  const int fd = eventfd(0, EFD_CLOEXEC);  // blocking: made non-blocking at its first use
  uint64_t count = 0;
  Task reader([&] { EXPECT_EQ(read_some(fd, &count, sizeof count, soon()), 8); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(fd); }));
  const uint64_t three = 3;
  EXPECT_EQ(write_some(fd, &three, sizeof three, soon()), 8);
  reader.join();
  EXPECT_EQ(count, 3U);
  close_descriptor(fd);
}

BOTH(Descriptor, ATtyWaitsForALine) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(master, 0);
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  const int tty = open_file(ptsname(master), O_RDWR | O_NOCTTY, 0);
  ASSERT_GE(tty, 0);
  char line[20] = {};
  Task reader([&] { EXPECT_EQ(read_some(tty, line, sizeof line, soon()), 6); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(tty); }));
  EXPECT_EQ(write_all(master, "hello\n", 6, soon()), 6);
  reader.join();
  EXPECT_STREQ(line, "hello\n");
  close_descriptor(tty);
  close_descriptor(master);
}

#if !defined __SANITIZE_THREAD__  // TSan allows no threads after fork().
TEST(Descriptor, StandardStreamsStayBlocking) {
  const int status = tri::test::in_child([] {
    netpoll_reset_after_fork();
    int p[2];
    CHILD_CHECK(pipe(p) == 0);
    CHILD_CHECK(dup2(p[0], 0) == 0);
    char c = 0;
    CHILD_CHECK(read_some(0, &c, 1, now() + kMs) == -ETIMEDOUT);
    CHILD_CHECK((fcntl(0, F_GETFL) & O_NONBLOCK) == 0);
    std::thread reader([&] { CHILD_CHECK(read_some(0, &c, 1, soon()) == 1); });
    CHILD_CHECK(eventually([&] { return someone_waits_on(0); }));
    CHILD_CHECK(write_some(p[1], "s", 1, soon()) == 1);
    reader.join();
    CHILD_CHECK(c == 's');
    return 0;
  });
  EXPECT_EQ(status, 0);
}
#endif

BOTH(Descriptor, PiecesAreReadAndWritten) {
  TcpPair p;
  char a[3] = {'a', 'b', 'c'};
  char b[2] = {'d', 'e'};
  const iovec out[2] = {{a, 3}, {b, 2}};
  EXPECT_EQ(write_vector(p.fd[0], out, 2, soon()), 5);
  char c[4] = {};
  char d[4] = {};
  const iovec in[2] = {{c, 4}, {d, 4}};
  EXPECT_EQ(read_vector(p.fd[1], in, 2, soon()), 5);
  EXPECT_EQ(memcmp(c, "abcd", 4), 0);
  EXPECT_EQ(d[0], 'e');
  EXPECT_EQ(write_vector(p.fd[0], out, -1, soon()), -EINVAL);
}

BOTH(Descriptor, MessagesCarryDescriptors) {
  UnixPair p;
  Pair passed;
  ASSERT_EQ(make_pipe(passed.fd), 0);
  char data = 'm';
  iovec piece = {&data, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &passed.fd[1], sizeof(int));
  EXPECT_EQ(send_message(p.fd[0], &message, 0, soon()), 1);
  memset(control, 0, sizeof control);
  message.msg_controllen = sizeof control;
  ASSERT_EQ(receive_message(p.fd[1], &message, MSG_CMSG_CLOEXEC, soon()), 1);
  int received = -1;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  EXPECT_EQ(write_some(received, "p", 1, soon()), 1);
  char c = 0;
  EXPECT_EQ(read_some(passed.fd[0], &c, 1, soon()), 1);
  EXPECT_EQ(c, 'p');
  EXPECT_EQ(close_descriptor(received), 0);
}

BOTH(Descriptor, AFileIsSentWhole) {
  const int file = open_file("/proc/self/exe", O_RDONLY, 0);
  ASSERT_GE(file, 0);
  struct stat s;
  ASSERT_EQ(fstat(file, &s), 0);
  const size_t size = std::min<size_t>(static_cast<size_t>(s.st_size), 4 << 20);
  TcpPair p;
  Task sender([&] {
    off_t offset = 0;
    while (static_cast<size_t>(offset) < size) {
      ASSERT_GT(send_file(p.fd[0], file, &offset, size - static_cast<size_t>(offset), soon()), 0);
    }
    EXPECT_EQ(static_cast<size_t>(offset), size);
    p.close(0);
  });
  std::vector<char> sent(size);
  std::vector<char> received(size + 1);
  EXPECT_EQ(read_full(p.fd[1], received.data(), size + 1, soon()), static_cast<ssize_t>(size));
  EXPECT_EQ(pread(file, sent.data(), size, 0), static_cast<ssize_t>(size));
  EXPECT_EQ(memcmp(sent.data(), received.data(), size), 0);
  sender.join();
  close_descriptor(file);
}

// ---- memory and forks -------------------------------------------------------------------------

BOTH(Descriptor, ArmedWaitsWakeWhoSelects) {
  TcpPair p;
  TcpPair q;
  G* const g = current();
  for (int i = 0; i < 50; ++i) {
    TcpPair* const which = i % 2 == 0 ? &p : &q;
    const WaitId id = begin_wait(g);
    ASSERT_EQ(netpoll_arm(p.fd[0], false, g, id, 100), 0);
    ASSERT_EQ(netpoll_arm(q.fd[0], false, g, id, 101), 0);
    ASSERT_EQ(netpoll_arm(q.fd[0], false, g, id, 102), 0);  // twice: the second needs memory of its own
    EXPECT_EQ(write_some(which->fd[1], "x", 1, soon()), 1);
    const int result = park(WaitReason::kSelect, nullptr, soon());
    EXPECT_TRUE(i % 2 == 0 ? result == 100 : result == 101 || result == 102) << result;
    netpoll_disarm(p.fd[0], false, g, id);
    netpoll_disarm(q.fd[0], false, g, id);
    netpoll_disarm(q.fd[0], false, g, id);
    EXPECT_FALSE(someone_waits_on(p.fd[0]));
    EXPECT_FALSE(someone_waits_on(q.fd[0]));
    EXPECT_EQ(netpoll_arm(which->fd[0], false, g, begin_wait(g), 100), 1);  // still there
    char c;
    EXPECT_EQ(read_some(which->fd[0], &c, 1, soon()), 1);
  }
  const WaitId id = begin_wait(g);
  ASSERT_EQ(netpoll_arm(p.fd[0], false, g, id, 100), 0);
  p.close(0);
  EXPECT_EQ(park(WaitReason::kSelect, nullptr, soon()), -EBADF);
}

// The number is one that nobody has asked for yet: who begins to wait just now must not be left behind.
TEST(Descriptor, ClosingWakesWhoBeginsToWaitAtThatMoment) {
  const int before = set_procs(2);
  for (size_t i = 0; i < tri::test::rounds(4'000); ++i) {
    int fd[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    std::atomic<bool> begins{false};
    const TaskId reader = spawn([&, read = i % 2 == 0] {
      begins = true;
      if (read) {
        char c;
        EXPECT_EQ(read_some(fd[0], &c, 1, soon()), -EBADF);
        return;
      }
      Case c;
      c.kind = CaseKind::kReadable;
      c.fd = fd[0];
      EXPECT_EQ(select(&c, 1, soon()), -EBADF);
    });
    while (!begins) sched_yield();
    for (size_t n = i % 50; n > 0; --n) arch::spin_hint();
    EXPECT_EQ(close_descriptor(fd[0]), 0);
    EXPECT_EQ(join(reader, soon()), 0);
    ::close(fd[1]);
  }
  set_procs(before);
}

TEST(Descriptor, ANumberThatOthersClosedAndOpenedAgainDoesNotBlockTheThread) {
  const NoCpuTimes numbers_are_ours;
  int fd[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
  char c;
  EXPECT_EQ(read_some(fd[0], &c, 1, kNoWait), -EAGAIN);
  ASSERT_EQ(::close(fd[0]), 0);  // behind our back: what is known of the number is out of date
  int again[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, again), 0);
  ASSERT_EQ(again[0], fd[0]) << "the lowest number that is free";
  std::atomic<bool> read{false};
  const TaskId reader = spawn([&read, n = fd[0]] {
    char it;
    EXPECT_EQ(read_some(n, &it, 1, soon()), 1);
    read = true;
    EXPECT_EQ(read_some(n, &it, 1, soon()), -EBADF);
  });
  EXPECT_TRUE(eventually([&] { return someone_waits_on(fd[0]); }));
  EXPECT_EQ(::write(again[1], "x", 1), 1);
  EXPECT_TRUE(eventually([&] { return read && someone_waits_on(fd[0]); }));
  EXPECT_EQ(close_descriptor(fd[0]), 0);
  EXPECT_EQ(join(reader, soon()), 0);
  ::close(fd[1]);
  ::close(again[1]);
}

#if !defined __SANITIZE_THREAD__  // TSan allows no threads after fork().
TEST(Descriptor, AForkedChildWaitsByItself) {
  TcpPair p;
  char c = 0;
  EXPECT_EQ(read_some(p.fd[0], &c, 1, now() + kMs), -ETIMEDOUT);
  std::thread waiter([&] { EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1); });
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  const pid_t pid = tri::test::fork_at_rest();
  if (pid == 0) {
    netpoll_reset_after_fork();
    verify_poll_descs();
    TcpPair q;
    char d = 0;
    CHILD_CHECK(read_some(q.fd[0], &d, 1, now() + kMs) == -ETIMEDOUT);
    std::thread reader([&] { CHILD_CHECK(read_some(q.fd[0], &d, 1, soon()) == 1); });
    CHILD_CHECK(eventually([&] { return someone_waits_on(q.fd[0]); }));
    CHILD_CHECK(write_some(q.fd[1], "c", 1, soon()) == 1);
    reader.join();
    CHILD_CHECK(d == 'c');
    _exit(0);
  }
  EXPECT_EQ(tri::test::wait_for(pid), 0);
  // The parent's registrations are untouched.
  EXPECT_EQ(write_some(p.fd[1], "p", 1, soon()), 1);
  waiter.join();
  EXPECT_EQ(c, 'p');
}
#endif

#if !defined __SANITIZE_THREAD__  // TSan allows no threads after fork().
TEST(Descriptor, TooManyDescriptorsAreAnError) {
  const int status = tri::test::in_child([] {
    netpoll_reset_after_fork();
    const int listener = listen_tcp("127.0.0.1", 0, 16);
    CHILD_CHECK(listener >= 0);
    const int client = dial_tcp("127.0.0.1", port_of(listener), soon());
    CHILD_CHECK(client >= 0);
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = static_cast<rlim_t>(client) + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    CHILD_CHECK(accept(listener, nullptr, nullptr, soon()) == -EMFILE);
    CHILD_CHECK(dial_tcp("127.0.0.1", port_of(listener), soon()) == -EMFILE);
    int p[2];
    CHILD_CHECK(make_pipe(p) == -EMFILE);
    CHILD_CHECK(udp(nullptr, 0) == -EMFILE);
    CHILD_CHECK(listen_unix("@tri-none", 0) == -EMFILE);
    // The connection is still in the queue.
    limit.rlim_cur += 10;
    setrlimit(RLIMIT_NOFILE, &limit);
    CHILD_CHECK(accept(listener, nullptr, nullptr, soon()) >= 0);
    return 0;
  });
  EXPECT_EQ(status, 0);
}
#endif

#if !defined __SANITIZE_THREAD__  // TSan allows no threads after fork().
TEST(Descriptor, NoDescriptorForThePollerIsAnError) {
  const int status = tri::test::in_child([] {
    netpoll_reset_after_fork();
    UnixPair p;
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = static_cast<rlim_t>(p.fd[1]) + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    char c;
    CHILD_CHECK(read_some(p.fd[0], &c, 1, soon()) == -EMFILE);
    CHILD_CHECK(netpoll_arm(p.fd[0], false, current(), begin_wait(current()), 1) == -EMFILE);
    CHILD_CHECK(!someone_waits_on(p.fd[0]));
    limit.rlim_cur += 10;
    setrlimit(RLIMIT_NOFILE, &limit);
    CHILD_CHECK(read_some(p.fd[0], &c, 1, now() + kMs) == -ETIMEDOUT);
    return 0;
  });
  EXPECT_EQ(status, 0);
}
#endif

}  // namespace
}  // namespace tri::sched
