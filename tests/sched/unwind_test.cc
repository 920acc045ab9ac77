// unwind_test.cc - Tests of what arch/*/*.S tell unwinders: a goroutine's backtrace ends at its first frame, wherever it is taken,
// and exceptions find their handlers.
#include <unwind.h>

#include <stdexcept>
#include <string>

#include "sched/switch.h"
#include "sched/syscall.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

using namespace test;

struct Backtrace {
  static constexpr size_t kMost = 128;
  uintptr_t pc[kMost];
  size_t count = 0;
  _Unwind_Reason_Code end = _URC_NO_REASON;

  [[gnu::noinline]] Backtrace() { end = _Unwind_Backtrace(add, this); }

  static _Unwind_Reason_Code add(_Unwind_Context* context, void* to) {
    auto* const b = static_cast<Backtrace*>(to);
    if (b->count == kMost) return _URC_NORMAL_STOP;
    b->pc[b->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
  }
  bool ends_at_first_frame() const {
    // The call in it is a few instructions behind its label. Behind it nothing, or the end, which some unwinders report as a frame at 0.
    size_t n = count;
    while (n != 0 && pc[n - 1] == 0) --n;
    const auto first = reinterpret_cast<uintptr_t>(&tri_first_frame);
    return end == _URC_END_OF_STACK && n != 0 && pc[n - 1] - first < 32;
  }
};

/// Where the call of `take` in each of `depth` frames returns to is in one function: so its address comes back so many times.
[[gnu::noinline]] size_t take_at_depth(int depth, Backtrace* out) {
  if (depth == 0) {
    *out = Backtrace();
    return 0;
  }
  const size_t below = take_at_depth(depth - 1, out);
  __asm__ volatile("" : : : "memory");  // no tail call
  return below + 1;
}

size_t frames_with_the_commonest_pc(const Backtrace& b) {
  size_t most = 0;
  for (size_t i = 0; i < b.count; ++i) {
    size_t n = 0;
    for (size_t k = 0; k < b.count; ++k) n += b.pc[k] == b.pc[i] ? 1 : 0;
    most = std::max(most, n);
  }
  return most;
}

/// Something that an unwinder would take for return addresses, where the caller of a goroutine's first frame would have left its own.
void poison_end_of_stack() {
  auto* const top = reinterpret_cast<uintptr_t*>(current_g()->stack_top);
  for (size_t i = 1; i <= kFirstFrameGap / sizeof *top; ++i) top[-i] = reinterpret_cast<uintptr_t>(&take_at_depth) + 8;
}

TEST(Unwind, EndsAtTheFirstFrameOfAGoroutine) {
  in_goroutine([] {
    poison_end_of_stack();
    Backtrace b;
    EXPECT_TRUE(b.ends_at_first_frame()) << b.count << " frames, " << b.end;
    EXPECT_EQ(take_at_depth(20, &b), 20U);
    EXPECT_TRUE(b.ends_at_first_frame()) << b.count << " frames, " << b.end;
    EXPECT_GE(frames_with_the_commonest_pc(b), 19U);
  });
}

TEST(Unwind, EndsThereOnAStackThatIsUsedAgainAndOnAnotherThread) {
  set_procs(2);
  std::atomic<int> wrong{0};
  for (int i = 0; i < 200; ++i) {
    in_goroutine([&] {
      wrong += Backtrace().ends_at_first_frame() ? 0 : 1;
      yield();
      sleep_until(now() + 1000);
      wrong += Backtrace().ends_at_first_frame() ? 0 : 1;
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Unwind, FindsTheGoroutineFromTheStackOfABlockingCall) {
  in_goroutine([] {
    Backtrace b;
    call_blocking([](void* out) { *static_cast<Backtrace*>(out) = Backtrace(); }, &b);
    EXPECT_TRUE(b.ends_at_first_frame()) << b.count << " frames, " << b.end;
  });
}

struct Counted {
  explicit Counted(int* count) : alive(count) { ++*alive; }
  ~Counted() { --*alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int* alive;
};

[[gnu::noinline]] void throw_at_depth(int depth, int* alive, int value) {
  Counted c(alive);
  if (depth == 0) {
    yield();  // others throw meanwhile
    throw std::runtime_error(std::to_string(value));
  }
  throw_at_depth(depth - 1, alive, value);
  __asm__ volatile("" : : : "memory");  // no tail call
}

TEST(Unwind, ExceptionsFindTheirHandlersInTheirGoroutines) {
  for (const int procs : {1, 4}) {
    set_procs(procs);
    std::atomic<int> caught{0};
    std::vector<TaskId> ids;
    for (int i = 0; i < 50; ++i) {
      ids.push_back(spawn([&caught, i] {
        for (int k = 0; k < 20; ++k) {
          int alive = 0;
          std::string what;
          try {
            throw_at_depth(i % 7, &alive, i * 100 + k);
          } catch (const std::runtime_error& e) {
            what = e.what();
          }
          if (alive == 0 && what == std::to_string(i * 100 + k)) ++caught;
        }
      }));
    }
    for (const TaskId id : ids) EXPECT_EQ(join(id, kForever), 0);
    EXPECT_EQ(caught, 50 * 20);
  }
}

TEST(UnwindDeathTest, AnExceptionWithoutHandlerEndsTheProgramAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(in_goroutine([] { throw std::runtime_error("nobody"); }), "what\\(\\):  nobody");
}

}  // namespace
}  // namespace tri::sched
