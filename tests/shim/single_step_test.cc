// single_step_test.cc - A signal at every single instruction of malloc and free.
//
// A storm of signals hits an instruction by chance; the processor's trap flag hits each one: it raises SIGTRAP after
// every instruction, the slow paths included.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>

#include "support/memory.h"

namespace tri_test {
namespace {

// The flags register is changed on the stack, below the red zone.
std::atomic<long> g_steps{0};

void step(int) { g_steps.fetch_add(1, std::memory_order_relaxed); }

inline void trap_flag(bool on) {
  if (on)
    asm volatile(
        "lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
  else
    asm volatile(
        "lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
            : "memory", "cc");
}

TEST(SingleStep, ASignalAtEveryInstructionLeavesEveryBlockWhole) {
  struct sigaction action {};
  action.sa_handler = step;
  sigaction(SIGTRAP, &action, nullptr);
  constexpr int kBlocks = 300;
  static void* blocks[kBlocks];
  free(malloc(10));
  trap_flag(true);
  for (int i = 0; i < kBlocks; ++i) blocks[i] = malloc(static_cast<size_t>(i * 13 % 700));
  for (int i = 0; i < kBlocks; i += 2) free(blocks[i]);
  for (int i = 0; i < kBlocks; i += 2) blocks[i] = malloc(static_cast<size_t>(i * 13 % 700));
  trap_flag(false);
  for (int i = 0; i < kBlocks; ++i)
    fill(blocks[i], static_cast<size_t>(i * 13 % 700), static_cast<uint64_t>(i));
  for (int i = 0; i < kBlocks; ++i)
    ASSERT_TRUE(holds(blocks[i], static_cast<size_t>(i * 13 % 700), static_cast<uint64_t>(i)));
  trap_flag(true);
  for (int i = 0; i < kBlocks; ++i) free(blocks[i]);
  trap_flag(false);
  EXPECT_GT(g_steps, kBlocks * 10) << "no single steps: the test proves nothing";
}

}  // namespace
}  // namespace tri_test
