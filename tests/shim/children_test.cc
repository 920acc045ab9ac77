// children_test.cc - vfork, posix_spawn, system and popen from a program whose threads are inside malloc.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "support/memory.h"
#include "support/process.h"

extern char** environ;

namespace tri_test {
namespace {

class Children : public testing::Test {
 protected:
  void SetUp() override {
    for (uint64_t t = 0; t < 2; ++t)
      threads_.emplace_back([this, t] {
        Random random(t + 1);
        while (!end_) free(opaque(malloc(random.below(5000))));
      });
  }
  void TearDown() override {
    end_ = true;
    for (auto& t : threads_) t.join();
  }

 private:
  std::atomic<bool> end_{false};
  std::vector<std::thread> threads_;
};

int exit_status(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(Children, SystemRunsAShell) {
  for (int i = 0; i < 50; ++i) ASSERT_EQ(WEXITSTATUS(system("exit 7")), 7);
}

TEST_F(Children, PopenReadsItsChildsWords) {
  for (int i = 0; i < 50; ++i) {
    FILE* stream = popen("echo a word", "r");
    ASSERT_NE(stream, nullptr);
    char* line = nullptr;
    size_t room = 0;
    ASSERT_GT(getline(&line, &room, stream), 0);
    EXPECT_STREQ(line, "a word\n");
    free(line);
    ASSERT_EQ(pclose(stream), 0);
  }
}

TEST_F(Children, PosixSpawnStartsPrograms) {
  for (int i = 0; i < 100; ++i) {
    char name[] = "/bin/sh";
    char option[] = "-c";
    char text[] = "exit 9";
    char* const argv[] = {name, option, text, nullptr};
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, 0);
    ASSERT_EQ(posix_spawn(&child, name, &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ASSERT_EQ(exit_status(child), 9);
  }
}

TEST_F(Children, VforkStartsPrograms) {
  for (int i = 0; i < 100; ++i) {
    void* before = malloc(100);
    pid_t child = vfork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(99);
    }
    ASSERT_EQ(exit_status(child), 0);
    free(before);
  }
}

TEST_F(Children, VforkWhoseExecFailsLeavesTheParentsHeapWhole) {
  for (int i = 0; i < 100; ++i) {
    char* block = static_cast<char*>(malloc(1000));
    fill(block, 1000, 5);
    pid_t child = vfork();
    if (child == 0) {
      execl("/nonexistent", "nonexistent", nullptr);
      _exit(33);
    }
    ASSERT_EQ(exit_status(child), 33);
    ASSERT_TRUE(holds(block, 1000, 5));
    free(block);
  }
}

TEST_F(Children, ProgramsStartedByChildrenAreUnderTheLibraryToo) {
  ASSERT_EQ(WEXITSTATUS(system("grep -q libtri /proc/self/maps")), 0);
}

}  // namespace
}  // namespace tri_test
