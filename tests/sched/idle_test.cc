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
struct Cost {
  Time cpu = 0;
  long switches = 0;  // of all threads, by themselves and by the kernel
  int threads = 0;
};

Cost cost() {
  Cost c;
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  c.cpu = t.tv_sec * 1'000'000'000 + t.tv_nsec;
  DIR* const tasks = opendir("/proc/self/task");
  while (const dirent* e = readdir(tasks)) {
    if (e->d_name[0] == '.') continue;
    ++c.threads;
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
  constexpr Time kSpan = 3 * kSecond;
  const Time until = now() + kSpan + 2 * kSecond;
  std::vector<TaskId> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(spawn([until] { sleep_until(until); }));
  std::atomic<bool> gave_up{false};
  ids.push_back(spawn([&] {
    EXPECT_EQ(accept(listener, nullptr, nullptr, until), -ETIMEDOUT);
    gave_up = true;
  }));
  ids.push_back(spawn([&] { EXPECT_EQ(channel->receive(nullptr, kForever), -EPIPE); }));
  // sysmon slows down before it sleeps, and stacks that were used are given back after a second.
  ASSERT_TRUE(eventually([] { return busy_procs() == 0 && sched.sysmon_asleep.load(); }));
  sleep_until(now() + kSecond);
  const Cost before = cost();
  const uint64_t rounds_before = sysmon_rounds();
  timespec span{kSpan / kSecond, 0};
  nanosleep(&span, nullptr);
  const Cost after = cost();
  EXPECT_FALSE(gave_up) << "the machine is too slow for this test";
  EXPECT_EQ(sysmon_rounds(), rounds_before);
  // A thousandth; to look at itself takes the test some of it.
  EXPECT_LT(after.cpu - before.cpu, kSpan / 1000);
  // This thread's own sleep.
  EXPECT_LE(after.switches - before.switches, 5);
  EXPECT_EQ(after.threads, before.threads);
  // Sysmon, the maker, the keeper, and at most one for each processor that has run something.
  EXPECT_LE(after.threads, threads_at_first + 3 + 4);
  EXPECT_TRUE(channel->close());
  for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
  channel->unref();
  close_descriptor(listener);
}
#endif

}  // namespace
}  // namespace tri::sched
