// sched_support.h - What the tests of the scheduler share: goroutines made of lambdas, and a count to wait for.
#ifndef TRI_TESTS_SCHED_SCHED_SUPPORT_H
#define TRI_TESTS_SCHED_SCHED_SUPPORT_H

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <functional>

#include "sched/proc.h"
#include "tests/alloc/support.h"

namespace tri::sched::test {

using namespace tri::test;

/// As the shim does it: the allocator's handlers are registered first, so they run inside of the scheduler's, which keep preemption out.
inline const int allocator_is_registered = pthread_atfork(fork_prepare, fork_parent, fork_child);

/// Starts fn in a goroutine.
inline TaskId spawn(std::function<void()> fn, const char* name = nullptr, size_t stack_bytes = 0) {
  SpawnOptions options;
  TaskId id = 0;
  options.name = name;
  options.stack_bytes = stack_bytes;
  options.id = &id;
  auto* const copy = new std::function<void()>(std::move(fn));
  const int error = go(
      [](void* p) {
        auto* const f = static_cast<std::function<void()>*>(p);
        (*f)();
        delete f;
      },
      copy, options);
  if (error != 0) ADD_FAILURE() << "go: " << error;
  return id;
}

/// Runs fn in a goroutine and waits for its end, for a minute at most.
inline void in_goroutine(std::function<void()> fn) { ASSERT_EQ(join(spawn(std::move(fn)), now() + 60'000'000'000), 0); }

/// Waits until the condition holds, for two minutes at most (other programs may have the processors); false if it never does.
template <class Condition>
bool eventually(Condition&& condition) {
  const Time until = now() + 120'000'000'000;
  while (!condition()) {
    if (now() > until) return false;
    sleep_until(now() + 200'000);
  }
  return true;
}

constexpr Time milliseconds(int64_t n) { return n * 1'000'000; }

}  // namespace tri::sched::test

#endif
