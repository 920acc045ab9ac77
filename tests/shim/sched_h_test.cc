// sched_h_test.cc - Tests of tri/sched.h by a program that links the library.
#include <errno.h>
#include <gtest/gtest.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>

namespace {

std::atomic<int> count;

void one_more(void*) { ++count; }

TEST(SchedH, MainWaitsForItsGoroutine) {
  count = 0;
  EXPECT_EQ(tri_main(
                [](void* p) {
                  tri_sleep(TRI_MS(2));
                  *static_cast<int*>(p) = 1;
                  count = tri_main(one_more, nullptr);  // not by a goroutine
                },
                &count),
            0);
  EXPECT_EQ(count, -EDEADLK);
}

TEST(SchedH, SpawnsJoinsAndCopies) {
  count = 0;
  tri_task task = 0;
  tri_attr attr = {};
  EXPECT_EQ(tri_spawn(&task, one_more, nullptr, &attr), -EINVAL);
  attr.size = sizeof attr;
  attr.name = "a name that is longer than what is kept of it";
  attr.stack_size = 1 << 20;
  ASSERT_EQ(tri_spawn(&task, one_more, nullptr, &attr), 0);
  EXPECT_EQ(tri_join(task, tri_after(TRI_S(30))), 0);
  EXPECT_EQ(count, 1);
  int n = 41;
  ASSERT_EQ(tri_go_copy([](void* p) { count += *static_cast<int*>(p); }, &n, sizeof n), 0);
  n = 0;
  while (count != 42) tri_yield();
  EXPECT_EQ(tri_go_copy(one_more, &n, 129), -E2BIG);
  EXPECT_EQ(tri_join(0, 0), -ESRCH);
}

TEST(SchedH, LocalsBeginEmptyInEachGoroutine) {
  for (int i = 0; i < 3; ++i) {
    tri_task task = 0;
    ASSERT_EQ(tri_spawn(
                  &task,
                  [](void*) {
                    EXPECT_EQ(tri_local_get(1), nullptr);
                    EXPECT_EQ(tri_local_set(1, &count), 0);
                    tri_yield();
                    EXPECT_EQ(tri_local_get(1), &count);
                    EXPECT_EQ(tri_local_set(4, nullptr), -EINVAL);
                  },
                  nullptr, nullptr),
              0);
    EXPECT_EQ(tri_join(task, TRI_FOREVER), 0);
  }
}

TEST(SchedH, TimersRunStopAndStartAgain) {
  count = 0;
  tri_timer timer = TRI_TIMER_INIT;
  EXPECT_EQ(tri_timer_stop(&timer), 0);
  EXPECT_EQ(tri_timer_reset(&timer, 1), -EINVAL);
  EXPECT_EQ(tri_timer_start(&timer, 0, -1, one_more, nullptr), -EINVAL);
  ASSERT_EQ(tri_timer_start(&timer, tri_after(TRI_MS(1)), TRI_MS(1), one_more, nullptr), 0);
  while (count < 5) tri_sleep(TRI_US(200));
  EXPECT_EQ(tri_timer_stop(&timer), 1);
  EXPECT_EQ(tri_timer_stop(&timer), 0);
  ASSERT_EQ(tri_timer_start(&timer, tri_after(TRI_S(3600)), 0, one_more, nullptr), 0);
  tri_sleep(TRI_MS(1));
  count = 0;
  EXPECT_EQ(tri_timer_reset(&timer, tri_now()), 1);
  while (count < 1) tri_sleep(TRI_US(200));
  EXPECT_EQ(tri_timer_stop(&timer), 0);
}

TEST(SchedHDeathTest, ReportsADeadlock) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(tri_main([](void*) { tri_sleep_until(TRI_FOREVER); }, nullptr),
               "tri: all goroutines are asleep: deadlock!.*\n.*\"main\": waits for sleep");
}

TEST(SchedH, ReportsTasks) {
  std::atomic<bool> stop{false};
  tri_task task = 0;
  ASSERT_EQ(tri_spawn(
                &task,
                [](void* p) {
                  while (!*static_cast<std::atomic<bool>*>(p)) tri_sleep(TRI_MS(5));
                },
                &stop, nullptr),
            0);
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  EXPECT_EQ(tri_report(fds[1], "tasks"), 0);
  close(fds[1]);
  char text[8192] = {};
  ASSERT_GT(read(fds[0], text, sizeof text - 1), 0);
  close(fds[0]);
  EXPECT_NE(strstr(text, "goroutine "), nullptr) << text;
  stop = true;
  EXPECT_EQ(tri_join(task, TRI_FOREVER), 0);
}

}  // namespace
