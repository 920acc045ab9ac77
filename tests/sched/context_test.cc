// context_test.cc - Tests of sched/context.h and sched/scope.h.
#include "sched/context.h"

#include <cerrno>

#include "sched/chan.h"
#include "sched/scope.h"
#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

Context* make(Context* parent = nullptr, Time deadline = kForever) {
  return Context::create(parent, deadline, nullptr, nullptr);
}

TEST(Context, IsCancelledWithAllBelowItAndNobodyElse) {
  Context* const root = make();
  Context* const left = make(root);
  Context* const right = make(root);
  Context* const below = make(left);
  Context* const leaf = make(below);
  left->cancel();
  left->cancel();
  EXPECT_EQ(root->error(), 0);
  EXPECT_EQ(right->error(), 0);
  for (Context* c : {left, below, leaf}) EXPECT_EQ(c->error(), -ECANCELED);
  Context* const late = make(below);
  EXPECT_EQ(late->error(), -ECANCELED) << "born cancelled";
  root->cancel();
  EXPECT_EQ(right->error(), -ECANCELED);
  for (Context* c : {root, left, right, below, leaf, late}) c->unref();
}

TEST(Context, HasTheEarliestDeadlineAbove) {
  const Time soon = ms(2);
  Context* const root = make(nullptr, soon);
  Context* const child = make(root, soon + 1'000'000'000);
  EXPECT_EQ(child->deadline(), soon);
  EXPECT_EQ(child->wait(kForever), 0);
  EXPECT_GE(now(), soon);
  EXPECT_EQ(child->error(), -ETIMEDOUT);
  EXPECT_EQ(child->wait(kNoWait), 0);
  child->unref();
  root->unref();
  Context* const never = make();
  EXPECT_EQ(never->wait(kNoWait), -EAGAIN);
  EXPECT_EQ(never->wait(ms(1)), -ETIMEDOUT);
  never->unref();
}

TEST(Context, FindsTheNearestValue) {
  int a = 0;
  int b = 0;
  Context* const root = Context::create(nullptr, kForever, &a, &a);
  Context* const middle = Context::create(root, kForever, &b, &b);
  Context* const leaf = Context::create(middle, kForever, &a, &b);
  EXPECT_EQ(leaf->value(&a), &b);
  EXPECT_EQ(middle->value(&a), &a);
  EXPECT_EQ(leaf->value(&b), &b);
  EXPECT_EQ(root->value(&b), nullptr);
  EXPECT_EQ(root->value(nullptr), nullptr);
  root->unref();
  middle->unref();
  leaf->unref();
}

TEST(Context, AttachedOneBoundsEveryWait) {
  Context* const timed = make(nullptr, ms(2));
  EXPECT_EQ(attach_context(timed), nullptr);
  EXPECT_EQ(attached_context(), timed);
  EXPECT_EQ(wait_on_nothing(kForever), -ETIMEDOUT);
  Context* const cancelled = make();
  cancelled->cancel();
  EXPECT_EQ(attach_context(cancelled), timed);
  EXPECT_EQ(wait_on_nothing(kForever), -ECANCELED) << "at once";
  Channel* const c = Channel::create(4, 1);
  const int one = 1;
  EXPECT_EQ(c->send(&one, kForever), 0) << "what need not wait is not cancelled";
  EXPECT_EQ(c->send(&one, kForever), -ECANCELED);
  EXPECT_EQ(attach_context(nullptr), cancelled);
  c->unref();
  cancelled->unref();
  timed->unref();
}

TRI_WITH_CREW(ContextOf);

TEST_P(ContextOf, CancelWakesAllWhoWaitUnderIt) {
  for (size_t i = 0; i < test::rounds(200); ++i) {
    Context* const root = make();
    Channel* const c = Channel::create(4, 0);
    std::atomic<int> cancelled{0};
    for (int k = 0; k < 4; ++k) {
      crew.go([&, k] {
        Context* const mine = make(root);
        attach_context(mine);
        const int r = k % 2 == 0 ? c->receive(nullptr, kForever) : mine->wait(kForever);
        cancelled.fetch_add(r == -ECANCELED || r == 0 ? 1 : 0);
        attach_context(nullptr);
        mine->unref();
      });
    }
    root->cancel();
    crew.join();
    EXPECT_EQ(cancelled.load(), 4);
    c->lock().lock();
    EXPECT_TRUE(c->receivers().empty());
    c->lock().unlock();
    c->unref();
    root->unref();
  }
}

TEST_P(ContextOf, CancellationRacesWithPartnersAndDeadlines) {
  for (size_t i = 0; i < test::rounds(500); ++i) {
    Context* const root = make();
    Channel* const c = Channel::create(4, 0);
    int sent = -1;
    int received = -1;
    crew.go([&] {
      attach_context(root);
      const int v = 1;
      sent = c->send(&v, now() + 200'000);
      attach_context(nullptr);
    });
    crew.go([&] {
      attach_context(root);
      received = c->receive(nullptr, now() + 200'000);
      attach_context(nullptr);
    });
    if (i % 2 == 0) yield();
    root->cancel();
    crew.join();
    EXPECT_EQ(sent == 0, received == 0) << sent << " " << received;
    c->unref();
    root->unref();
  }
}

// ---- scopes: their tasks are goroutines --------------------------------------------------------------------------------

struct Work {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};
};

TEST(Scope, WaitsForAllAndKeepsTheFirstError) {
  Scope scope{};
  std::atomic<int> done{0};
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(scope.go(
                  [](void* p) {
                    static_cast<std::atomic<int>*>(p)->fetch_add(1);
                    return 0;
                  },
                  &done, kForever),
              0);
  }
  EXPECT_EQ(scope.wait(kForever), 0);
  EXPECT_EQ(done.load(), 20);
  EXPECT_EQ(scope.error(), 0);
  ASSERT_EQ(scope.go([](void*) { return -7; }, nullptr, kForever), 0);
  EXPECT_EQ(scope.wait(kForever), 0);
  EXPECT_EQ(scope.error(), -7);
}

TEST(Scope, AnErrorCancelsTheOthers) {
  Scope scope{};
  ASSERT_EQ(scope.open(nullptr, kForever, 0), 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(scope.go([](void*) { return wait_on_nothing(kForever); }, nullptr, kForever), 0);
  }
  EXPECT_EQ(scope.wait(kNoWait), -EAGAIN);
  EXPECT_EQ(scope.wait(ms(1)), -ETIMEDOUT);
  ASSERT_EQ(scope.go([](void*) { return 5; }, nullptr, kForever), 0);
  EXPECT_EQ(scope.wait(kForever), 0);
  EXPECT_EQ(scope.error(), 5);
  EXPECT_EQ(scope.context(), nullptr);
}

TEST(Scope, RunsNoMoreThanItsLimitAtOnce) {
  Scope scope{};
  Work work;
  ASSERT_EQ(scope.open(nullptr, kForever, 3), 0);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(scope.go(
                  [](void* p) {
                    auto* const w = static_cast<Work*>(p);
                    const int n = w->running.fetch_add(1) + 1;
                    int seen = w->most.load();
                    while (n > seen && !w->most.compare_exchange_weak(seen, n)) {
                    }
                    sleep_until(now() + 100'000);
                    w->running.fetch_sub(1);
                    w->done.fetch_add(1);
                    return 0;
                  },
                  &work, kForever),
              0);
  }
  EXPECT_EQ(scope.wait(kForever), 0);
  EXPECT_EQ(work.done.load(), 50);
  EXPECT_LE(work.most.load(), 3);
  EXPECT_GE(work.most.load(), 2);
}

TEST(Scope, WaitIsNotCancelledByTheCallersContext) {
  Context* const cancelled = make();
  cancelled->cancel();
  Scope scope{};
  std::atomic<bool> ended{false};
  ASSERT_EQ(scope.go(
                [](void* p) {
                  sleep_until(now() + 3'000'000);
                  static_cast<std::atomic<bool>*>(p)->store(true);
                  return 0;
                },
                &ended, kForever),
            0);
  attach_context(cancelled);
  EXPECT_EQ(scope.wait(kForever), 0);
  EXPECT_TRUE(ended.load());
  attach_context(nullptr);
  cancelled->unref();
}

}  // namespace
}  // namespace tri::sched
