// crew.h - Workers for the tests of what waits: plain threads, goroutines, or both in turn.
//
// Whatever blocks must work between any of them, so its tests are run with each kind.
#ifndef TRI_TESTS_SCHED_CREW_H
#define TRI_TESTS_SCHED_CREW_H

#include <functional>
#include <thread>
#include <vector>

#include "sched/wait.h"
#include "tests/sched/sched_support.h"

namespace tri::sched::test {

using namespace tri::test;

enum class Kind { kThreads, kGoroutines, kBoth };
inline std::string name_of_kind(const ::testing::TestParamInfo<Kind>& info) {
  return info.param == Kind::kThreads ? "Threads" : info.param == Kind::kGoroutines ? "Goroutines" : "Both";
}

class Crew {
 public:
  explicit Crew(Kind kind) : kind_(kind) {}
  ~Crew() { join(); }
  void go(std::function<void()> fn) {
    if (kind_ == Kind::kThreads || (kind_ == Kind::kBoth && started_++ % 2 == 0)) {
      threads_.emplace_back(std::move(fn));
    } else {
      tasks_.push_back(spawn(std::move(fn)));
    }
  }
  void join() {
    for (std::thread& t : threads_) t.join();
    threads_.clear();
    for (const TaskId id : tasks_) EXPECT_EQ(sched::join(id, now() + milliseconds(60'000)), 0);
    tasks_.clear();
  }

 private:
  Kind kind_;
  size_t started_ = 0;
  std::vector<std::thread> threads_;
  std::vector<TaskId> tasks_;
};

/// Tests that are run with each kind of worker.
class WithCrew : public ::testing::TestWithParam<Kind> {
 protected:
  Crew crew{GetParam()};
};

inline Time ms(int n) { return now() + n * Time{1'000'000}; }

/// Waits for a condition; a test that hangs here fails, in half a minute.
template <class Fn>
void until(Fn&& condition) {
  const Time give_up = ms(30'000);
  while (!condition()) {
    ASSERT_LT(now(), give_up) << "waited for too long";
    sched::yield();
  }
}

}  // namespace tri::sched::test

#define TRI_WITH_CREW(suite)                                                                                    \
  class suite : public test::WithCrew {};                                                                       \
  INSTANTIATE_TEST_SUITE_P(By, suite,                                                                           \
                           ::testing::Values(test::Kind::kThreads, test::Kind::kGoroutines, test::Kind::kBoth), \
                           test::name_of_kind)

#endif
