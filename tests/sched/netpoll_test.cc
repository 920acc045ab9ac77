// netpoll_test.cc - Tests of sched/netpoll.h and sched/poller.h: breaks, timeouts, and very many waits at once.
#include "sched/netpoll.h"

#include <dirent.h>

#include <algorithm>

#include "sched/g.h"
#include "sched/poller.h"
#include "sched/stack.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

// ---- the poller alone -------------------------------------------------------------------------

TEST(Poller, ReportsWhatIsReadyOnce) {
  Poller poller;
  ASSERT_EQ(poller.open(), 0);
  ASSERT_EQ(poller.open(), 0);  // is open
  Pair p;
  ASSERT_EQ(make_pipe(p.fd), 0);
  ASSERT_EQ(poller.add(p.fd[0], 7), 0);
  EXPECT_EQ(poller.add(p.fd[0], 8), 1);
  PollEvent events[4];
  EXPECT_EQ(poller.wait(events, 4, kNoWait), 0U);
  ASSERT_EQ(::write(p.fd[1], "x", 1), 1);
  ASSERT_EQ(poller.wait(events, 4, soon()), 1U);
  EXPECT_EQ(events[0].fd, p.fd[0]);
  EXPECT_EQ(events[0].generation, 7U);
  EXPECT_EQ(events[0].events, PollDesc::kReadable);
  EXPECT_EQ(poller.wait(events, 4, kNoWait), 0U);  // still ready, but no news
  ASSERT_EQ(poller.change(p.fd[0], 9), 0);
  ASSERT_EQ(poller.wait(events, 4, soon()), 1U);
  EXPECT_EQ(events[0].generation, 9U);
  poller.remove(p.fd[0]);
  EXPECT_EQ(poller.change(p.fd[0], 9), -ENOENT);
  ASSERT_EQ(::write(p.fd[1], "x", 1), 1);
  EXPECT_EQ(poller.wait(events, 4, kNoWait), 0U);
  poller.reset_after_fork();
}

TEST(Poller, RefusesWhatCannotBePolled) {
  Poller poller;
  ASSERT_EQ(poller.open(), 0);
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(poller.add(file, 0), -EPERM);
  close(file);
  EXPECT_EQ(poller.add(file, 0), -EBADF);
  poller.reset_after_fork();
}

TEST(Poller, ASubmillisecondTimeoutIsKept) {
  Poller poller;
  ASSERT_EQ(poller.open(), 0);
  PollEvent events[4];
  // Not rounded up to a millisecond: then none would be shorter, however often it is tried. Other programs make most of them longer where the
  // processors are wanted.
  EXPECT_TRUE(eventually([&] {
    const Time start = now();
    EXPECT_EQ(poller.wait(events, 4, start + 100'000), 0U);
    const Time took = now() - start;
    EXPECT_GE(took, 100'000);
    return took < 900'000;
  }));
  EXPECT_EQ(poller.wait(events, 4, 1), 0U);  // past
  poller.reset_after_fork();
}

TEST(Poller, AnInterruptEndsTheWaitThatSleepsOrTheNext) {
  Poller poller;
  poller.interrupt();  // of one that is not open: nothing
  ASSERT_EQ(poller.open(), 0);
  PollEvent events[4];
  for (int i = 0; i < 200; ++i) {
    std::thread sleeper([&] { EXPECT_EQ(poller.wait(events, 4, kForever), 0U); });
    if (i % 2 == 0) sched_yield();
    for (int n = i % 3; n >= 0; --n) poller.interrupt();
    sleeper.join();
    // At most one more comes of interrupts that raced with the end of that wait.
    (void)poller.wait(events, 4, now() + 1);
  }
  // Who does not wait does not swallow it.
  poller.interrupt();
  EXPECT_EQ(poller.wait(events, 4, kNoWait), 0U);
  const Time start = now();
  EXPECT_EQ(poller.wait(events, 4, start + 30 * kSecond), 0U);
  EXPECT_LT(now() - start, 20 * kSecond);
  poller.reset_after_fork();
}

TEST(Poller, IsOpenedOnceByManyThreads) {
  for (int i = 0; i < 50; ++i) {
    Poller poller;
    tri::test::in_threads(4, [&](size_t) {
      EXPECT_EQ(poller.open(), 0);
      EXPECT_TRUE(poller.is_open());
    });
    poller.reset_after_fork();
  }
}

// ---- many -------------------------------------------------------------------------------------

// Waits until a count has been reached, and says where it stands if not.
void expect_reaches(const std::atomic<size_t>& count, size_t wanted) {
  EXPECT_TRUE(eventually([&] { return count.load() >= wanted; })) << count.load() << " of " << wanted;
  EXPECT_EQ(count.load(), wanted);
}

TEST(Netpoll, TenThousandConnectionsEcho) {
  const size_t wanted = kSlow ? 1000 : 10'000;
  const size_t limit = raise_descriptor_limit(2 * wanted + 100);
  const size_t connections = std::min(wanted, (limit - 100) / 2);
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  ASSERT_GE(listener, 0);
  const int port = port_of(listener);
  std::atomic<size_t> served{0};
  std::atomic<size_t> answered{0};
  std::atomic<bool> go_on{false};
  spawn([&] {
    for (size_t i = 0; i < connections; ++i) {
      const int fd = accept(listener, nullptr, nullptr, soon());
      ASSERT_GE(fd, 0);
      spawn([fd, &served] {
        char buffer[64];
        for (;;) {
          const ssize_t n = read_some(fd, buffer, sizeof buffer, soon());
          if (n <= 0) {
            EXPECT_EQ(n, 0);
            break;
          }
          EXPECT_EQ(write_all(fd, buffer, static_cast<size_t>(n), soon()), n);
        }
        close_descriptor(fd);
        ++served;
      });
    }
  });
  std::atomic<size_t> connected{0};
  for (size_t i = 0; i < connections; ++i) {
    spawn([&, i] {
      const int fd = dial_tcp("127.0.0.1", port, soon());
      EXPECT_GE(fd, 0);
      ++connected;
      // All are open at once before any of them talks.
      while (!go_on.load()) sleep_until(now() + 10 * kMs);
      for (uint64_t n = 0; n < 3; ++n) {
        const uint64_t question = i * 10 + n;
        uint64_t answer = 0;
        EXPECT_EQ(write_all(fd, &question, sizeof question, soon()), 8);
        EXPECT_EQ(read_full(fd, &answer, sizeof answer, soon()), 8);
        EXPECT_EQ(answer, question);
      }
      close_descriptor(fd);
      ++answered;
    });
  }
  expect_reaches(connected, connections);
  go_on = true;
  expect_reaches(answered, connections);
  expect_reaches(served, connections);
  close_descriptor(listener);
  verify_poll_descs();
  printf("%zu connections\n", connections);
}

// What the local queue has no room for stays with the kernel, in its order, and does not go behind all others in the global queue.
TEST(Netpoll, TakesNoMoreThanTheQueueHolds) {
  const int before = set_procs(1);
  constexpr size_t kReady = 64;
  constexpr size_t kRoom = 10;
  UnixPair pairs[kReady];
  std::atomic<size_t> served{0};
  for (const UnixPair& p : pairs) {
    spawn([&, fd = p.fd[0]] {
      char c;
      EXPECT_EQ(read_some(fd, &c, 1, soon()), 1);
      ++served;
    });
  }
  const auto waits = [](const UnixPair& p) { return someone_waits_on(p.fd[0]); };
  ASSERT_TRUE(eventually([&] { return std::all_of(std::begin(pairs), std::end(pairs), waits); }));
  in_goroutine([&] {
    const auto poll = [] {
      size_t n = 0;
      G* const list = netpoll(kNoWait);
      for (const G* g = list; g != nullptr; g = g->next_claimed) ++n;
      ready_list(list);
      return n;
    };
    for (;;) {
      enter_critical();  // not preempted: nothing leaves the queue, and nobody else takes the events
      if (sched.polling.exchange(1) == 0) break;
      leave_critical();  // by whoever sleeps until a time; there is one until it has this P
      sleep_until(now() + kMs);
    }
    for (const UnixPair& p : pairs) EXPECT_EQ(::write(p.fd[1], "x", 1), 1);
    const RunQ& queue = current_m()->p->runq;
    while (queue.size() < RunQ::kSize - kRoom) spawn([] {});
    const size_t room = RunQ::kSize - queue.size();
    size_t taken = poll();
    taken += poll();  // an interrupt may have had one of the places
    const size_t taken_when_full = poll();
    sched.polling.store(0);
    leave_critical();
    EXPECT_LE(room, kRoom);
    EXPECT_EQ(taken, room);
    EXPECT_EQ(taken_when_full, 0U);
  });
  expect_reaches(served, kReady);
  set_procs(before);
}

size_t open_descriptors() {
  size_t n = 0;
  DIR* const d = opendir("/proc/self/fd");
  while (const dirent* e = readdir(d)) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

// `waits` goroutines, several on each descriptor, all of them in a read at one time; nothing ever comes. False if the deadline was over
// before the last of them got there.
bool time_out_together(const std::vector<UnixPair>& pairs, size_t waits, Time patience) {
  std::atomic<size_t> timed_out{0};
  std::atomic<size_t> late{0};
  const Time deadline = now() + patience;
  for (size_t i = 0; i < waits; ++i) {
    spawn([&, fd = pairs[i % pairs.size()].fd[i / pairs.size() % 2]] {
      char c;
      if (now() >= deadline) ++late;
      EXPECT_EQ(read_some(fd, &c, 1, deadline), -ETIMEDOUT);
      EXPECT_GE(now(), deadline);
      ++timed_out;
    });
  }
  expect_reaches(timed_out, waits);
  return late == 0;
}

// Records that are neither in the pool nor kept by a processor: new ones are made when as many are asked for as there ever were.
uint32_t records_in_use() {
  const uint32_t before = g_count();
  G* const first = take_gs(before);
  const uint32_t missing = g_count() - before;
  G* last = first;
  while (last->next != nullptr) last = last->next;
  put_gs(first, last);
  return missing;
}

// Every one gets its timeout, and what they took comes back.
TEST(Netpoll, AHundredThousandReadsTimeOut) {
  const size_t waits = kSlow ? 5'000 : 100'000;
  const size_t limit = raise_descriptor_limit(waits + 100);
  const size_t before = open_descriptors();
  {
    const std::vector<UnixPair> pairs(std::min(waits / 4, (limit - 100) / 2));
    for (Time patience = 2 * kSecond; !time_out_together(pairs, waits, patience);) patience *= 2;
    for (const UnixPair& p : pairs) {
      EXPECT_FALSE(someone_waits_on(p.fd[0]));
      EXPECT_FALSE(someone_waits_on(p.fd[1]));
    }
    verify_poll_descs();
  }
  // The poller's own two stay, and what tells how busy the machine is (os/cpu_times.h).
  EXPECT_LE(open_descriptors(), before + 3);
  EXPECT_TRUE(eventually([] { return earliest_timer() == kForever; }));
  // Each processor keeps some dozens of records and stacks to itself, and a chunk of stacks may not have been used up.
  const size_t kept = 100 * static_cast<size_t>(set_procs(0)) + 100;
  EXPECT_TRUE(eventually([&] { return records_in_use() <= kept; })) << records_in_use();
  EXPECT_TRUE(eventually([] { return stack_stats().pooled == 0; })) << stack_stats().pooled;
  const StackStats stacks = stack_stats();
  EXPECT_LE(stacks.reserved_bytes / kDefaultStack - stacks.empty, kept + 1024);
}

// Readers and deadlines race with data: each byte is read once, whoever gives up.
TEST(Netpoll, DeadlinesRaceWithData) {
  UnixPair p(SOCK_DGRAM);
  std::atomic<size_t> received{0};
  std::atomic<bool> done{false};
  std::vector<Task> readers;
  const size_t datagrams = tri::test::rounds(20'000);
  for (uint64_t t = 0; t < 4; ++t) {
    readers.emplace_back([&, t] {
      // Half of the readers are goroutines.
      const auto body = [&] {
        tri::test::Random random(t);
        while (!done.load()) {
          char c;
          const ssize_t n = read_some(p.fd[0], &c, 1, now() + static_cast<Time>(random.below(200'000)));
          if (n == 1) {
            ++received;
          } else {
            EXPECT_EQ(n, -ETIMEDOUT);
          }
        }
      };
      if (t % 2 == 0) return body();
      EXPECT_EQ(join(spawn(body, nullptr, Task::kStack), soon()), 0);
    });
  }
  for (size_t i = 0; i < datagrams; ++i) {
    ASSERT_EQ(write_some(p.fd[1], "x", 1, soon()), 1);
    if (i % 16 == 0) sleep_until(now() + 50'000);
  }
  expect_reaches(received, datagrams);
  done = true;
  for (Task& t : readers) t.join();
}

// Threads and goroutines wait on one descriptor, which is then registered with both pollers.
TEST(Netpoll, ThreadsAndGoroutinesShareADescriptor) {
  UnixPair p(SOCK_DGRAM);
  constexpr size_t kEach = 500;
  std::atomic<size_t> received{0};
  const auto read_some_of_them = [&] {
    for (size_t i = 0; i < kEach; ++i) {
      char c;
      EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1);
      ++received;
    }
  };
  std::vector<Task> readers;
  for (int i = 0; i < 2; ++i) readers.emplace_back(read_some_of_them);
  const TaskId a = spawn(read_some_of_them, nullptr, Task::kStack);
  const TaskId b = spawn(read_some_of_them, nullptr, Task::kStack);
  for (size_t i = 0; i < 4 * kEach; ++i) ASSERT_EQ(write_some(p.fd[1], "x", 1, soon()), 1);
  for (Task& t : readers) t.join();
  EXPECT_EQ(join(a, soon()), 0);
  EXPECT_EQ(join(b, soon()), 0);
  EXPECT_EQ(received.load(), 4 * kEach);
}

// A busy processor does not keep the network waiting for ever.
TEST(Netpoll, IsLookedAtBesideAHog) {
  const int before = set_procs(1);
  TcpPair p;
  std::atomic<bool> done{false};
  const TaskId reader = spawn(
      [&] {
        char c;
        EXPECT_EQ(read_some(p.fd[0], &c, 1, soon()), 1);
        done = true;
      },
      nullptr, Task::kStack);
  ASSERT_TRUE(eventually([&] { return someone_waits_on(p.fd[0]); }));
  const TaskId hog = spawn([&] {
    while (!done.load(std::memory_order_relaxed)) {
    }
  });
  EXPECT_EQ(write_some(p.fd[1], "x", 1, soon()), 1);
  EXPECT_EQ(join(reader, soon()), 0);
  EXPECT_EQ(join(hog, soon()), 0);
  set_procs(before);
}

}  // namespace
}  // namespace tri::sched
