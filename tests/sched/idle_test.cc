// idle_test.cc - Tests of sched/idle.h: the mask, and a program whose goroutines all wait, which costs nothing.
#include "sched/idle.h"

#include <dirent.h>
#include <time.h>

#include "sched/chan.h"
#include "sched/sysmon.h"
#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

TEST(IdlePs, GivesEachToOne) {
  IdlePs idle;
  EXPECT_EQ(idle.take_any(), -1);
  for (const uint32_t id : {3U, 64U, 255U}) idle.put(id);
  EXPECT_EQ(idle.count(), 3U);
  EXPECT_TRUE(idle.take(64));
  EXPECT_FALSE(idle.take(64));
  EXPECT_FALSE(idle.is_idle(64));
  EXPECT_EQ(idle.take_any(), 3);
  EXPECT_EQ(idle.take_any(), 255);
  EXPECT_EQ(idle.take_any(), -1);
  EXPECT_FALSE(idle.any());
}

#if !TRI_TEST_SANITIZED  // A sanitizer has a thread of its own, which works.
Time cpu_time() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * kSecond + t.tv_nsec;
}

struct Cost {
  long switches = 0;  // of all threads but this one, by themselves and by the kernel
  int threads = 0;
};

Cost cost() {
  Cost c;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* e = readdir(tasks)) {
    if (e->d_name[0] == '.') continue;
    ++c.threads;
    if (atoi(e->d_name) == gettid()) continue;
    FILE* const f = fopen(("/proc/self/task/" + std::string(e->d_name) + "/status").c_str(), "re");
    char line[256];
    while (f != nullptr && fgets(line, sizeof line, f) != nullptr) {
      long n = 0;
      if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1) c.switches += n;
      if (sscanf(line, "nonvoluntary_ctxt_switches: %ld", &n) == 1) c.switches += n;
    }
    if (f != nullptr) fclose(f);
  }
  closedir(tasks);
  return c;
}

TEST(Idle, AProgramThatWaitsUsesNoProcessor) {
  const int threads_at_first = cost().threads;
  set_procs(4);
  const int listener = listen_tcp("127.0.0.1", 0, 0);
  ASSERT_GE(listener, 0);
  Channel* const channel = Channel::create(8, 0);
  // All of them have a timer, too.
  const Time until = now() + 600 * kSecond;
  std::vector<TaskId> ids;
  for (int i = 0; i < 100; ++i) {
    ids.push_back(spawn([=] { EXPECT_EQ(channel->receive(nullptr, until + i), -EPIPE); }));
  }
  ids.push_back(spawn([=] { EXPECT_EQ(accept(listener, nullptr, nullptr, until), -EBADF); }));
  // sysmon slows down before it sleeps, and stacks that were used are given back after a second.
  ASSERT_TRUE(eventually([] { return busy_procs() == 0 && sched.sysmon_asleep.load(); }));
  // What is left to do may be late on a slow machine: one of a few spans must be quiet. A thread that works at times does so in all.
  constexpr Time kSpan = 2 * kSecond;
  std::string seen;
  bool quiet = false;
  for (int i = 0; !quiet && i < 5; ++i) {
    const uint64_t rounds_before = sysmon_rounds();
    const Cost before = cost();
    const Time cpu_before = cpu_time();  // To look at itself takes the test some of it.
    timespec span{kSpan / kSecond, 0};
    nanosleep(&span, nullptr);
    const Time cpu = cpu_time() - cpu_before;
    const Cost after = cost();
    const long switches = after.switches - before.switches;
    quiet = cpu < kSpan / 1000 && switches == 0 && after.threads == before.threads && sysmon_rounds() == rounds_before;
    // Sysmon, the maker, the keeper, and one for each processor that has run something; under load some more, made while
    // others were on their way to sleep. Not one for each goroutine.
    EXPECT_LE(after.threads, threads_at_first + 3 + 4 * 4);
    seen += std::to_string(cpu / 1000) + " us, " + std::to_string(switches) + " switches, " +
            std::to_string(after.threads) + " threads, " + std::to_string(sysmon_rounds() - rounds_before) +
            " rounds of sysmon\n";
  }
  EXPECT_TRUE(quiet) << seen;
  EXPECT_TRUE(channel->close());
  EXPECT_EQ(close_descriptor(listener), 0);
  for (const TaskId id : ids) EXPECT_EQ(join(id, soon()), 0);
  channel->unref();
}
#endif

}  // namespace
}  // namespace tri::sched
