// deadlock_test.cc - Tests of sched/deadlock.cc: what is a deadlock, and what only looks like one.
#include <dlfcn.h>
#include <netdb.h>

#include "sched/pool.h"
#include "sched/pool_ager.h"
#include "sched/resolve.h"
#include "sched/select.h"
#include "sched/syscall.h"
#include "tests/sched/net_support.h"

namespace {

std::atomic<bool> slow_resolver{false};

void sleep_in_kernel(int64_t ms) {
  const timespec t{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&t, nullptr);
}

}  // namespace

/// The resolver of libc, which can be told to take its time.
extern "C" int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** out) {
  if (slow_resolver) sleep_in_kernel(60);
  static const auto real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(host, service, hints, out);
}

namespace tri::sched {
namespace {

using namespace test;

/// Longer than it takes to look twice, and once more.
constexpr int64_t kLooksMs = 60;

/// As tri_main() does it. A deadlock that is not found ends as well.
void in_main(std::function<void()> fn) {
  alarm(20);
  main_waits.store(true);
  EXPECT_EQ(join(spawn(std::move(fn), "main"), kForever), 0);
  main_waits.store(false);
  alarm(0);
}

void wait_for_ever() { sleep_until(kForever); }

/// Writes a byte to the descriptor from another process, after a while. Before there are threads.
class Writer {
 public:
  explicit Writer(int fd) : pid_(fork()) {
    if (pid_ != 0) return;
    sleep_in_kernel(kLooksMs);
    _exit(write(fd, "x", 1) == 1 ? 0 : 1);
  }
  ~Writer() { EXPECT_EQ(wait_for(pid_), 0); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

 private:
  pid_t pid_;
};

struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends), 0); }
  ~Pipe() {
    close_descriptor(ends[0]);
    close_descriptor(ends[1]);
  }
  [[nodiscard]] int in() const { return ends[1]; }
  [[nodiscard]] int out() const { return ends[0]; }
  int ends[2];
};

void read_byte(const Pipe& p) {
  char c = 0;
  EXPECT_EQ(read_some(p.out(), &c, 1, kForever), 1);
}
[[maybe_unused]] void write_byte(const Pipe& p) { EXPECT_EQ(write_some(p.in(), "x", 1, kForever), 1); }

/// One waits without a deadline, until another comes.
class Meeting {
 public:
  void wait() {
    lock_.lock();
    if (is_over_) return lock_.unlock();
    g_ = current();
    id_ = begin_wait(g_);
    EXPECT_EQ(park(WaitReason::kReceive, &lock_, kForever), 0);
  }
  void wake() {
    lock_.lock();
    is_over_ = true;
    G* const g = g_ != nullptr && claim(g_, id_) ? g_ : nullptr;
    lock_.unlock();
    if (g != nullptr) ready(g, 0);
  }

 private:
  SpinLock lock_;
  bool is_over_ = false;
  G* g_ = nullptr;
  WaitId id_ = 0;
};

// ---- none --------------------------------------------------------------------------------------------------------

TEST(NoDeadlock, WhileAGoroutineWaitsForADescriptor) {
  Pipe p;
  Writer writer(p.in());
  in_main([&] { read_byte(p); });
}

TEST(NoDeadlock, WhileASelectWaitsForADescriptor) {
  Pipe p;
  Writer writer(p.in());
  in_main([&] {
    Case c;
    c.kind = CaseKind::kReadable;
    c.fd = p.out();
    EXPECT_EQ(select(&c, 1, kForever), 0);
  });
}

TEST(NoDeadlock, WhileAThreadWaitsForADescriptor) {
  Pipe p;
  Writer writer(p.in());
  Meeting meeting;
  std::thread thread([&] {
    read_byte(p);
    meeting.wake();
  });
  in_main([&] { meeting.wait(); });
  thread.join();
}

TEST(NoDeadlock, WhileAThreadWaitsForItsDeadline) {
  Meeting meeting;
  std::thread thread([&] {
    sleep_until(now() + milliseconds(kLooksMs));
    meeting.wake();
  });
  in_main([&] { meeting.wait(); });
  thread.join();
}

TEST(NoDeadlock, WhileAThreadOfTheProgramIsAwake) {
  Meeting meeting;
  std::thread thread([&] {
    sleep_in_kernel(kLooksMs);
    meeting.wake();
  });
  in_main([&] { meeting.wait(); });
  thread.join();
}

TEST(NoDeadlock, DuringABlockingCall) {
  set_procs(1);
  in_main([] {
    const TaskId id = spawn([] {
      blocking_begin();
      sleep_in_kernel(kLooksMs);
      blocking_end();
    });
    EXPECT_EQ(join(id, kForever), 0);
  });
}

TEST(NoDeadlock, WhileANameIsResolved) {
  slow_resolver = true;
  in_main([] {
    sockaddr_storage found[1];
    EXPECT_EQ(resolve("localhost", 1, found, 1, kForever), 1);
  });
  slow_resolver = false;
}

TEST(NoDeadlock, WhileATimerRuns) {
  in_main([] { sleep_until(now() + milliseconds(kLooksMs)); });
}

TEST(NoDeadlock, UnlessMainWaits) {
  // Without memory of its own, which would be lost with it.
  SpawnOptions options;
  TaskId id = 0;
  options.id = &id;
  ASSERT_EQ(go([](void*) { wait_for_ever(); }, nullptr, options), 0);
  EXPECT_EQ(join(id, now() + milliseconds(kLooksMs)), -ETIMEDOUT);
}

// ---- one ---------------------------------------------------------------------------------------------------------

#if !defined __SANITIZE_THREAD__  // TSan has a thread of its own, which nobody knows to be harmless.

class DeadlockDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

constexpr const char* kReport = "tri: all goroutines are asleep: deadlock! in .*\n(.*\n)*.*\"main\": waits for sleep";

TEST_F(DeadlockDeathTest, IsFoundAtOnce) { EXPECT_DEATH(in_main(wait_for_ever), kReport); }

TEST_F(DeadlockDeathTest, IsFoundOnSeveralProcs) {
  EXPECT_DEATH(
      {
        set_procs(4);
        in_main([] {
          for (int i = 0; i < 20; ++i) spawn(wait_for_ever);
          wait_for_ever();
        });
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundBesideADescriptorThatNobodyWaitsFor) {
  EXPECT_DEATH(
      {
        Pipe p;
        in_main([&] {
          const TaskId reader = spawn([&] { read_byte(p); });
          yield();
          write_byte(p);
          EXPECT_EQ(join(reader, kForever), 0);
          wait_for_ever();
        });
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundWhenTheWaitForADescriptorHasEnded) {
  // By a deadline, and by closing it.
  EXPECT_DEATH(
      {
        Pipe p;
        in_main([&] {
          char c;
          EXPECT_EQ(read_some(p.out(), &c, 1, now() + milliseconds(1)), -ETIMEDOUT);
          const TaskId reader = spawn([&] { EXPECT_EQ(read_some(p.out(), &c, 1, kForever), -EBADF); });
          sleep_until(now() + milliseconds(1));
          close_descriptor(p.out());
          EXPECT_EQ(join(reader, kForever), 0);
          wait_for_ever();
        });
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundBesideTheThreadThatPollsForThreads) {
  EXPECT_DEATH(
      {
        Pipe p;
        const TaskId id = spawn([&] {
          sleep_until(now() + milliseconds(5));
          write_byte(p);
        });
        read_byte(p);
        EXPECT_EQ(join(id, kForever), 0);
        in_main(wait_for_ever);
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundBesideThreadsThatSleepForEver) {
  EXPECT_DEATH(
      {
        std::thread thread(wait_for_ever);
        in_main(wait_for_ever);
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundAfterWorkThatLastedLongerThanTheLooks) {
  EXPECT_DEATH(
      {
        set_procs(2);
        in_main([] {
          const Time until = now() + milliseconds(1200);
          while (now() < until) {
          }
          wait_for_ever();
        });
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundWhenTheLastThreadFallsAsleepLate) {
  EXPECT_DEATH(
      {
        std::thread thread([] {
          sleep_in_kernel(1200);
          wait_for_ever();
        });
        in_main(wait_for_ever);
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundWhenThePoolsHaveAged) {
  EXPECT_DEATH(
      {
        set_pool_age(milliseconds(10));
        static Pool pool;
        pool.put(&pool);  // before there are goroutines
        in_main(wait_for_ever);
      },
      kReport);
  EXPECT_DEATH(
      {
        set_pool_age(milliseconds(10));
        in_main([] {
          static Pool pool;
          pool.put(&pool);
          wait_for_ever();
        });
      },
      kReport);
}

TEST_F(DeadlockDeathTest, IsFoundInAForkedChild) {
  EXPECT_DEATH(
      {
        spawn(wait_for_ever);
        EXPECT_TRUE(eventually([] { return sched.service_threads == 2; }));
        const pid_t pid = tri::test::fork_at_rest();
        if (pid == 0) in_main(wait_for_ever);
        EXPECT_EQ(wait_for(pid), 1000 + SIGABRT);
        abort();
      },
      kReport);
}

#endif

}  // namespace
}  // namespace tri::sched
