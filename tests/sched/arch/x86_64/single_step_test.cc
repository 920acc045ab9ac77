// single_step_test.cc - A backtrace at every single instruction of a switch; whether to preempt, at every one of an allocation.
//
// The processor's trap flag raises SIGTRAP after each instruction; the handler unwinds from there. Behind the switch's exchange of
// stack pointers the frames are those of the other goroutine, or of the scheduler's loop.
#include <dlfcn.h>
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

#include <thread>

#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/thread_list.h"
#include "sched/switch.h"
#include "tests/sched/sched_support.h"

#if !TRI_TEST_SANITIZED  // A sanitizer handles the signal its own way.

namespace tri::sched {
namespace {

using namespace test;

struct Seen {
  std::atomic<uint64_t> offsets{0};  // bytes of tri_switch() at which it was stopped
  std::atomic<int> stops{0};
  std::atomic<int> lost{0};  // of them: without a way to the end
} seen;

struct Walk {
  uintptr_t last = 0;
  int frames = 0;
};

_Unwind_Reason_Code step_out(_Unwind_Context* context, void* to) {
  auto* const walk = static_cast<Walk*>(to);
  if (_Unwind_GetIP(context) != 0) walk->last = _Unwind_GetIP(context);  // some report the end as a frame at 0
  return ++walk->frames == 100 ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

bool is_outermost(uintptr_t pc) {
  if (pc - reinterpret_cast<uintptr_t>(&tri_first_frame) < 32) return true;
  // A thread begins in libc: the switch was to or from the scheduler's loop.
  Dl_info its{};
  Dl_info libc{};
  return dladdr(reinterpret_cast<void*>(pc), &its) != 0 && dladdr(reinterpret_cast<void*>(&getpid), &libc) != 0 &&
         its.dli_fbase == libc.dli_fbase;
}

constexpr greg_t kTrapFlag = 0x100;
std::atomic<bool> stepping{false};

/// The flag is the thread's: a goroutine that goes on in another leaves it behind. Whoever is stopped after the end takes it off.
bool is_over(void* context) {
  if (stepping) return false;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
  return true;
}

void on_trap(int, siginfo_t*, void* context) {
  if (is_over(context)) return;
  const auto pc = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  // It is asked for the function of a return address, and looks at the byte before.
  if (_Unwind_FindEnclosingFunction(reinterpret_cast<void*>(pc + 1)) != reinterpret_cast<void*>(&tri_switch)) return;
  seen.offsets |= uint64_t{1} << (pc - reinterpret_cast<uintptr_t>(&tri_switch));
  ++seen.stops;
  Walk walk;
  const _Unwind_Reason_Code end = _Unwind_Backtrace(step_out, &walk);
  if (end != _URC_END_OF_STACK || !is_outermost(walk.last)) ++seen.lost;
}

inline void trap(bool on) {
  stepping = on;
  // The flags register is changed on the stack, below the red zone.
  if (on) {
    asm volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
                 :
                 :
                 : "memory", "cc");
  } else {
    asm volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp"
                 :
                 :
                 : "memory", "cc");
  }
}

TEST(SingleStep, EachInstructionOfASwitchLeadsToTheFirstFrame) {
  set_procs(1);
  struct sigaction action = {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  std::atomic<bool> over{false};
  const TaskId other = spawn([&] {
    while (!over) yield();
  });
  in_goroutine([] {
    yield();  // the other one has begun
    for (int i = 0; i < 10; ++i) {
      trap(true);
      yield();
      trap(false);
    }
  });
  over = true;
  EXPECT_EQ(join(other, kForever), 0);
  // All of them were seen, and each time, but for those when a busy machine had the goroutine go on in another thread.
  constexpr int kInstructions = 11;
  EXPECT_EQ(std::popcount(seen.offsets.load()), kInstructions);
  EXPECT_GE(seen.stops, 10 * kInstructions);
  EXPECT_EQ(seen.lost, 0);
}

std::atomic<int> holds{0};   // steps at which this thread held a lock of the allocator
std::atomic<int> hidden{0};  // of them: not known to be in a slow path

void on_allocator_step(int, siginfo_t*, void* context) {
  if (is_over(context)) return;
  if (!thread_list.lock().held_by_me() && !heap.lock().held_by_me() && !persistent::lock().held_by_me()) return;
  ++holds;
  if (!in_slow_path()) ++hidden;
}

TEST(SingleStep, WhoHoldsALockOfTheAllocatorIsKnownToBeInIt) {
  // From the first block of a thread on: who is preempted with such a lock keeps everybody from forking.
  struct sigaction action = {};
  action.sa_sigaction = on_allocator_step;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  void* large = nullptr;
  std::thread thread([&] {
    trap(true);
    deallocate(allocate(100));
    large = allocate(1 << 20);
    deallocate(large);
    trap(false);
  });
  thread.join();
  EXPECT_NE(large, nullptr);
  EXPECT_GT(holds, 100);
  EXPECT_EQ(hidden, 0);
}

}  // namespace
}  // namespace tri::sched

#endif
