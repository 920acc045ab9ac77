// stack_test.cc - Tests of sched/stack.h, and of what reports make of goroutines.
#include "sched/stack.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "alloc/base/sys.h"
#include "sched/dump.h"
#include "sched/syscall.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

TEST(Stack, SizesArePowersOfTwoInBounds) {
  EXPECT_EQ(stack_size_for(0), default_stack());
  EXPECT_EQ(stack_size_for(1), kMinStack);
  EXPECT_EQ(stack_size_for(65'537), 131'072U);
  EXPECT_EQ(stack_size_for(SIZE_MAX), kMaxStack);
}

TEST(Stack, IsUsableToItsGuard) {
  for (const uint32_t bytes : {stack_size_for(kMinStack), stack_size_for(65'536), stack_size_for(1 << 20)}) {
    char* const top = take_stack(bytes);
    ASSERT_NE(top, nullptr);
    memset(top - bytes + guard_bytes(), 0xab, bytes - guard_bytes());
    EXPECT_TRUE(aligned_to(top, 64));
    put_stack(top, bytes);
    EXPECT_EQ(take_stack(bytes), top);
  }
}

TEST(Stack, EachHasItsGuard) {
  // Guards are made some at a time, ahead of their stacks.
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  for (const uint32_t bytes : {stack_size_for(kMinStack), stack_size_for(0)}) {
    std::vector<char*> tops;
    for (int i = 0; i < 100; ++i) {
      char* const top = take_stack(bytes);
      ASSERT_NE(top, nullptr);
      tops.push_back(top);
      const char* const low = top - bytes;
      // The kernel reads for us, and tells where it may not.
      EXPECT_EQ(write(pipe_ends[1], low + guard_bytes() - 1, 1), -1);
      EXPECT_EQ(errno, EFAULT);
      EXPECT_EQ(write(pipe_ends[1], low + guard_bytes(), 1), 1);
    }
    for (char* const top : tops) put_stack(top, bytes);
  }
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST(Stack, GivesMemoryBackAfterAWhile) {
  const uint32_t bytes = stack_size_for(0);
  std::vector<char*> tops;
  for (int i = 0; i < 500; ++i) {
    tops.push_back(take_stack(bytes));
    tops.back()[-1] = 1;
  }
  for (char* const t : tops) put_stack(t, bytes);
  const size_t pooled = stack_stats().pooled;
  EXPECT_GE(pooled, 500U);
  while (next_trim() != kForever) trim_stacks(next_trim());
  EXPECT_EQ(stack_stats().pooled, 0U);
  EXPECT_GE(stack_stats().empty, pooled);
  // Those that come back read as zero, and still have their guard.
  char* const top = take_stack(bytes);
  EXPECT_EQ(top[-1], 0);
  put_stack(top, bytes);
}

int dig(int depth) {
  volatile char room[512];
  room[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : dig(depth - 1) + room[0];
}

TEST(Stack, IsAsLargeAsAsked) {
  SpawnOptions options;
  TaskId id = 0;
  options.id = &id;
  options.stack_bytes = size_t{4} * 1024 * 1024;
  ASSERT_EQ(go([](void*) { dig(kSanitized ? 1000 : 6000); }, nullptr, options), 0);
  EXPECT_EQ(join(id, kForever), 0);
}

// ASan has its own handler and its own message.
#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__  // The sanitizer's handler comes first.
TEST(StackDeathTest, OverflowNamesTheGoroutine) {
  EXPECT_DEATH(
      {
        SpawnOptions options;
        TaskId id = 0;
        options.id = &id;
        options.name = "digger";
        (void)go([](void*) { dig(1'000'000); }, nullptr, options);
        join(id, kForever);
      },
      "tri: stack overflow: goroutine [0-9]+ \\(digger\\) has used up its 64 KiB; it runs .*0x");
}
#endif

#if !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__  // The sanitizer's handler comes first.
/// Nobody's memory; opaque, so that the compiler does not refuse to write there.
volatile int* nobodys_memory() {
  volatile uintptr_t address = 8;
  return reinterpret_cast<volatile int*>(address);
}

TEST(StackDeathTest, OtherFaultsTakeTheirOldWay) {
  EXPECT_EXIT(in_goroutine([] { *nobodys_memory() = 1; }), ::testing::KilledBySignal(SIGSEGV), "");
  EXPECT_EXIT(
      {
        signal(SIGSEGV, [](int) { _exit(7); });
        in_goroutine([] { *nobodys_memory() = 1; });
      },
      ::testing::ExitedWithCode(7), "");
}
#endif

TEST(Parked, HundredThousandCostAPageEach) {
  set_procs(1);
  const size_t n = kSlow ? 300 : 100'000;
  static std::atomic<size_t> arrived;
  static TaskId last;
  std::atomic<bool> stop{false};
  arrived = 0;
  last = spawn([&] {
    while (!stop) sleep_until(now() + milliseconds(1));
  });
  const size_t before = os::resident_bytes();
  in_goroutine([&] {
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(go(
                    [](void*) {
                      ++arrived;
                      EXPECT_EQ(join(last, kForever), 0);
                      --arrived;
                    },
                    nullptr),
                0);
      if (i % 64 == 0) yield();
    }
  });
  EXPECT_TRUE(eventually([&] { return arrived == n; }));
  if (!kSlow) {
    EXPECT_LT((os::resident_bytes() - before) / n, 4096U + 700);
  }
  stop = true;
  EXPECT_TRUE(eventually([&] { return arrived == 0; }));
}

TEST(Dump, TellsWhatEachOneWaitsFor) {
  set_procs(1);
  std::atomic<bool> stop{false};
  const TaskId id = spawn(
      [&] {
        while (!stop) {
          begin_wait(current());
          park(WaitReason::kSemaphore, nullptr, now() + milliseconds(20));
        }
      },
      "waiter");
  std::string text;
  EXPECT_TRUE(eventually([&] {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    dump_tasks(fds[1]);
    close(fds[1]);
    char buffer[65536];
    text.clear();
    for (ssize_t n; (n = read(fds[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
    close(fds[0]);
    return text.find("\"waiter\": waits for semaphore") != std::string::npos;
  })) << text;
  EXPECT_NE(text.find("tasks, 1 procs"), std::string::npos) << text;
  stop = true;
  join(id, kForever);
}

}  // namespace
}  // namespace tri::sched
