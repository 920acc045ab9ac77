// single_step_test.cc - A backtrace at every single instruction of a switch; whether to preempt, at every one of an allocation.
//
// The processor's trap flag raises SIGTRAP after each instruction; the handler unwinds from there. Behind the switch's exchange of
// stack pointers the frames are those of the other goroutine, or of the scheduler's loop.
#include <dlfcn.h>
#include <fenv.h>
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

#include <thread>

#include "alloc/malloc.h"
#include "alloc/mheap.h"
#include "alloc/persistent.h"
#include "alloc/thread_list.h"
#include "sched/chan.h"
#include "sched/switch.h"
#include "tests/sched/sched_support.h"

#if !TRI_TEST_SANITIZED  // A sanitizer handles the signal its own way.

namespace tri::sched {
namespace {

using namespace test;

struct Seen {
  std::atomic<int> stops{0};
  std::atomic<int> lost{0};    // of them: without a way to the end
  std::atomic<int> others{0};  // of them: on a stack of another goroutine
  std::atomic<const void*> lost_at{nullptr};
} seen;
uintptr_t my_stack;  // somewhere on it

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
  const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  ++seen.stops;
  constexpr uintptr_t kStack = 32 * 1024;
  if (static_cast<uintptr_t>(registers[REG_RSP]) - my_stack + kStack > 2 * kStack) ++seen.others;
  Walk walk;
  const _Unwind_Reason_Code end = _Unwind_Backtrace(step_out, &walk);
  if (end == _URC_END_OF_STACK && is_outermost(walk.last)) return;
  ++seen.lost;
  seen.lost_at = reinterpret_cast<const void*>(registers[REG_RIP]);
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

// `give_way` leads to other goroutines and back.
void step_through(void (*give_way)()) {
  seen.stops = seen.others = seen.lost = 0;
  struct sigaction action = {};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  constexpr int kRounds = 10;
  in_goroutine([give_way] {
    give_way();  // the others have begun
    my_stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    for (int i = 0; i < kRounds; ++i) {
      trap(true);
      give_way();
      trap(false);
    }
  });
  // Each time, but for those when a busy machine had the goroutine go on in another thread.
  EXPECT_GE(seen.stops, kRounds / 2 * 100);
  EXPECT_GE(seen.others, kRounds / 2 * 10);
  EXPECT_EQ(seen.lost, 0) << "last at " << seen.lost_at;
}

TEST(SingleStep, EachInstructionOfASwitchLeadsToTheFirstFrame) {
  set_procs(1);
  std::atomic<bool> over{false};
  const TaskId other = spawn([&] {
    while (!over) yield();
  });
  step_through(yield);
  over = true;
  EXPECT_EQ(join(other, kForever), 0);
}

Channel* there = nullptr;
Channel* back = nullptr;

TEST(SingleStep, EachInstructionBetweenDifferentSwitchesLeadsToTheFirstFrame) {
  // One yields, one waits on a channel, one sleeps, and one has other modes of arithmetic: each goes on where another was left.
  set_procs(1);
  std::atomic<bool> over{false};
  there = Channel::create(sizeof(int), 0);
  back = Channel::create(sizeof(int), 0);
  const TaskId yields = spawn([&] {
    fesetround(FE_UPWARD);
    while (!over) yield();
  });
  const TaskId answers = spawn([] {
    int n;
    while (there->receive(&n, kForever) == 0 && back->send(&n, kForever) == 0) {
    }
  });
  const TaskId sleeps = spawn([&] {
    while (!over) (void)sleep_until(now() + 1000);
  });
  step_through([] {
    int n = 1;
    (void)there->send(&n, kForever);
    yield();
    (void)back->receive(&n, kForever);
  });
  over = true;
  EXPECT_TRUE(there->close());
  for (const TaskId id : {yields, answers, sleeps}) EXPECT_EQ(join(id, kForever), 0);
  there->unref();
  back->unref();
}

std::atomic<uintptr_t> deepest{0};

void on_critical_step(int, siginfo_t*, void* context) {
  if (is_over(context)) return;
  const auto sp = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]);
  if (sp < deepest) deepest = sp;
  // What the signal's handler does. Not for ever: what it leads to would not end either.
  if (in_critical() && ++seen.stops < 5000) tri_tls.todo = Todo::kPreempt;
}

TEST(SingleStep, OneWhoCannotGiveWayDoesNotTryOnTopOfHisTry) {
  // As under a debugger, a tracer, or a storm of signals: one at each instruction.
  set_procs(1);
  in_goroutine([] {
    struct sigaction action = {};
    action.sa_sigaction = on_critical_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, nullptr);
    seen.stops = 0;
    deepest = my_stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    std::atomic<bool> taken{false};
    std::atomic<bool> over{false};
    // As fork() does: so nobody can be given the processor.
    std::thread forking([&] {
      SpinGuard guard(sched.lock);
      taken = true;
      while (!over) {
      }
    });
    while (!taken) {
    }
    trap(true);
    enter_critical();
    leave_critical();
    trap(false);
    over = true;
    forking.join();
    EXPECT_GT(seen.stops, 10);
    EXPECT_LT(seen.stops, 1000);
    EXPECT_LT(my_stack - deepest, 2048U);
  });
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
