// crowding_test.cc - Tests of sched/crowding.h: the arithmetic, and what the network's goroutines see of it.
#include "sched/crowding.h"

#include "tests/sched/net_support.h"

namespace tri::sched {
namespace {

using namespace test;

constexpr Time kStep = Crowding::kInterval;

/// A machine whose times go on by what a test says, in percent of one processor.
class FakeMachine {
 public:
  explicit FakeMachine(int cpus) { times_.cpus = cpus; }
  CpuTimes after(int idle, int own) {
    times_.at += kStep;
    times_.idle += kStep / 100 * idle;
    times_.own += kStep / 100 * own;
    return times_;
  }

 private:
  CpuTimes times_ = {kStep, 0, 0, 0};
};

TEST(Crowding, IsNotKnownFromOneLook) {
  FakeMachine machine(2);
  Crowding crowding;
  EXPECT_EQ(crowding.look(machine.after(0, 100)), kNoCrowd);
  EXPECT_EQ(crowding.look(machine.after(0, 100)), 1U);
}

TEST(Crowding, LeavesToOthersWhatTheyTake) {
  FakeMachine machine(8);
  Crowding crowding;
  (void)crowding.look(machine.after(0, 0));
  EXPECT_EQ(crowding.look(machine.after(0, 480)), 4U) << "320 % are others'";
  EXPECT_EQ(crowding.look(machine.after(0, 80)), 1U) << "never none";
  EXPECT_EQ(crowding.look(machine.after(5, 600)), 6U);
}

TEST(Crowding, IsNoneWhileTheMachineIsOurs) {
  FakeMachine machine(2);
  Crowding crowding;
  (void)crowding.look(machine.after(0, 0));
  EXPECT_EQ(crowding.look(machine.after(0, 199)), kNoCrowd);
  EXPECT_EQ(crowding.look(machine.after(0, 180)), kNoCrowd) << "some others there always are";
}

TEST(Crowding, EndsWhereAProcessorIsIdleAndNotBefore) {
  FakeMachine machine(2);
  Crowding crowding;
  (void)crowding.look(machine.after(0, 0));
  ASSERT_EQ(crowding.look(machine.after(0, 120)), 1U);
  EXPECT_EQ(crowding.look(machine.after(0, 100)), 1U) << "we kept to one, they took the other";
  EXPECT_EQ(crowding.look(machine.after(20, 100)), 1U) << "in between it stays";
  EXPECT_EQ(crowding.look(machine.after(50, 100)), kNoCrowd);
  EXPECT_EQ(crowding.look(machine.after(20, 100)), kNoCrowd);
}

TEST(Crowding, ForgetsWhatIsTooOld) {
  FakeMachine machine(2);
  Crowding crowding;
  (void)crowding.look(machine.after(0, 0));
  ASSERT_EQ(crowding.look(machine.after(0, 100)), 1U);
  crowding.restart();
  EXPECT_EQ(crowding.look(machine.after(1000, 0)), 1U) << "what was idle before says nothing";
  EXPECT_EQ(crowding.look(machine.after(100, 50)), kNoCrowd);
}

TEST(Crowding, IsNoneWhereTheSystemDoesNotTell) {
  FakeMachine machine(2);
  Crowding crowding;
  (void)crowding.look(machine.after(0, 0));
  ASSERT_EQ(crowding.look(machine.after(0, 100)), 1U);
  EXPECT_EQ(crowding.look(CpuTimes{}), kNoCrowd);
  FakeMachine smaller(1);
  ASSERT_EQ(crowding.look(machine.after(0, 100)), kNoCrowd);
  EXPECT_EQ(crowding.look(smaller.after(0, 100)), kNoCrowd) << "a processor has gone, and its times with it";
}

/// Two processors of ours, and a machine that is as full as a test says.
class CrowdedNetwork : public testing::Test {
 protected:
  CrowdedNetwork() {
    set_procs(2);
    // There is a network from the first wait on.
    int pair[2];
    char byte;
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    in_goroutine([&] { EXPECT_EQ(read_some(pair[0], &byte, 1, now() + milliseconds(1)), -ETIMEDOUT); });
    EXPECT_EQ(close_descriptor(pair[0]), 0);
    EXPECT_EQ(::close(pair[1]), 0);
  }
  ~CrowdedNetwork() override { cpu_times = cpu_times_of_system; }

  static void be(bool crowded) {
    is_crowded = crowded;
    cpu_times = [] {
      static std::atomic<Time> idle{0};
      const Time at = now();
      if (!is_crowded) idle = at;  // one processor's, all the time
      return CpuTimes{at, idle, at / 2, 2};
    };
    // sysmon looks while somebody runs.
    EXPECT_EQ(join(spawn([=] {
                     const uint32_t wanted = crowded ? 1 : kNoCrowd;
                     while (sched.useful.load() != wanted) yield();
                   }),
                   now() + 60'000'000'000),
              0);
  }
  static inline std::atomic<bool> is_crowded{false};
};

constexpr size_t kConnections = 32;

/// Wakes a goroutine of each connection by one event, all at once; how many of them ran on the processor that ran fewer.
size_t ran_elsewhere(size_t rounds) {
  std::atomic<size_t> on[2] = {};
  int pairs[kConnections][2];
  for (auto& pair : pairs) EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  std::vector<TaskId> readers;
  std::atomic<size_t> served{0};
  for (auto& pair : pairs) {
    readers.push_back(spawn([&, fd = pair[0]] {
      char byte;
      while (read_some(fd, &byte, 1, kForever) == 1) {
        ++on[current_m()->p->id % 2];
        for (const Time until = now() + 20'000; now() < until;) {
        }
        ++served;
      }
    }));
  }
  for (size_t round = 1; round <= rounds; ++round) {
    for (auto& pair : pairs) EXPECT_EQ(::write(pair[1], "x", 1), 1);
    EXPECT_TRUE(eventually([&] { return served == round * kConnections; }));
  }
  for (auto& pair : pairs) EXPECT_EQ(shutdown(pair[1], SHUT_RDWR), 0);
  for (const TaskId id : readers) EXPECT_EQ(join(id, kForever), 0);
  for (auto& pair : pairs) {
    EXPECT_EQ(close_descriptor(pair[0]), 0);
    EXPECT_EQ(::close(pair[1]), 0);
  }
  return on[0] < on[1] ? on[0] : on[1];
}

TEST_F(CrowdedNetwork, WakesAnotherProcessorOnlyWhereThereIsRoom) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) return;  // one is never two
  constexpr size_t kRounds = 50;
  // Other programs may keep the second thread from its processor, or the first from its own for so long that sysmon helps.
  EXPECT_TRUE(eventually([&] {
    be(true);
    const size_t crowded = ran_elsewhere(kRounds);
    be(false);
    const size_t roomy = ran_elsewhere(kRounds);
    return crowded * 10 < kRounds * kConnections && roomy * 5 > kRounds * kConnections;
  }));
}

TEST_F(CrowdedNetwork, WaitsNoLongerThanATurnBehindOneWhoComputes) {
  // Both become ready at once; the first that runs cannot be preempted, and computes until the other has run.
  std::atomic<int> waiting{0};
  std::atomic<bool> first{true};
  std::atomic<bool> second_ran{false};
  int pairs[2][2];
  for (auto& pair : pairs) ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  be(true);
  std::vector<TaskId> readers;
  for (auto& pair : pairs) {
    readers.push_back(spawn([&, fd = pair[0]] {
      char byte;
      ++waiting;
      EXPECT_EQ(read_some(fd, &byte, 1, kForever), 1);
      if (!first.exchange(false)) {
        second_ran = true;
        return;
      }
      enter_critical();
      for (const Time give_up = now() + 10'000'000'000; !second_ran && now() < give_up;) {
      }
      const bool in_time = second_ran;
      leave_critical();
      EXPECT_TRUE(in_time);
    }));
  }
  ASSERT_TRUE(eventually([&] { return waiting == 2 && busy_procs() == 0; }));
  for (auto& pair : pairs) ASSERT_EQ(::write(pair[1], "x", 1), 1);
  for (const TaskId id : readers) EXPECT_EQ(join(id, kForever), 0);
  for (auto& pair : pairs) {
    EXPECT_EQ(close_descriptor(pair[0]), 0);
    EXPECT_EQ(::close(pair[1]), 0);
  }
}

}  // namespace
}  // namespace tri::sched
