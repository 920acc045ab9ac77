// select_test.cc - Tests of sched/select.h. Many check what Go's tests of select check.
#include "sched/select.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

struct Unref {
  template <class T>
  void operator()(T* t) const {
    t->unref();
  }
};
using Chan = std::unique_ptr<Channel, Unref>;
using Ctx = std::unique_ptr<Context, Unref>;

Chan make(size_t capacity) { return Chan(Channel::create(sizeof(int), capacity)); }
Case on_send(const Chan& c, int* value) { return {CaseKind::kSend, 0, c.get(), value, 0, false}; }
Case on_receive(const Chan& c, int* value) { return {CaseKind::kReceive, 0, c.get(), value, 0, false}; }
Case at(Time when) { return {CaseKind::kAt, 0, nullptr, nullptr, when, false}; }
Case on_done(const Ctx& c) { return {CaseKind::kDone, 0, c.get(), nullptr, 0, false}; }
Case nothing() { return {CaseKind::kReceive, 0, nullptr, nullptr, 0, false}; }

template <size_t N>
int run(Case (&cases)[N], Time deadline = kForever) {
  return select(cases, N, deadline);
}

void expect_nobody_waits(const Chan& c) {
  c->lock().lock();
  EXPECT_TRUE(c->senders().empty());
  EXPECT_TRUE(c->receivers().empty());
  c->lock().unlock();
}

// ---- alone -----------------------------------------------------------------------------------------------------

TEST(Select, TakesTheCaseThatIsReady) {
  const Chan a = make(1);
  const Chan b = make(1);
  int in = 0;
  int out = 5;
  Case send_b[] = {on_receive(a, &in), on_send(b, &out)};
  EXPECT_EQ(run(send_b), 1);
  Case receive_b[] = {on_receive(a, &in), on_receive(b, &in)};
  EXPECT_EQ(run(receive_b), 1);
  EXPECT_EQ(in, 5);
  EXPECT_FALSE(receive_b[1].closed);
}

TEST(Select, TakesTheDefaultWhenNoneIsReady) {
  const Chan a = make(0);
  const Chan b = make(1);
  int value = 0;
  Case cases[] = {on_receive(a, &value), on_send(a, &value), on_receive(b, &value)};
  EXPECT_EQ(run(cases, kNoWait), -EAGAIN);
  EXPECT_EQ(select(cases, 1, kNoWait), -EAGAIN);
  EXPECT_EQ(select(nullptr, 0, kNoWait), -EAGAIN);
  expect_nobody_waits(a);
}

TEST(Select, OfNothingWaitsUntilTheDeadline) {
  Case cases[] = {nothing(), {CaseKind::kNone, 0, nullptr, nullptr, 0, false}};
  EXPECT_EQ(run(cases, ms(2)), -ETIMEDOUT);
  EXPECT_EQ(select(nullptr, 0, ms(2)), -ETIMEDOUT);
}

TEST(Select, RefusesAKindThatDoesNotExist) {
  Case cases[] = {nothing(), {static_cast<CaseKind>(99), 0, nullptr, nullptr, 0, false}};
  EXPECT_EQ(run(cases, kNoWait), -EINVAL);
}

TEST(Select, NeverTakesACaseOfANullChannel) {
  const Chan a = make(1);
  int value = 1;
  for (int i = 0; i < 100; ++i) {
    Case cases[] = {nothing(), on_send(a, &value), nothing()};
    ASSERT_EQ(run(cases, kNoWait), 1);
    ASSERT_EQ(a->receive(nullptr, kNoWait), 0);
  }
}

TEST(Select, SaysInTheCaseThatItsChannelIsClosed) {
  const Chan a = make(1);
  int value = 9;
  EXPECT_EQ(a->send(&value, kNoWait), 0);
  EXPECT_TRUE(a->close());
  Case rest[] = {on_receive(a, &value)};
  EXPECT_EQ(run(rest), 0);
  EXPECT_FALSE(rest[0].closed) << "there was a value left";
  Case closed[] = {on_receive(a, &value)};
  EXPECT_EQ(run(closed), 0);
  EXPECT_TRUE(closed[0].closed);
  EXPECT_EQ(value, 0);
  Case sending[] = {on_send(a, &value)};
  EXPECT_EQ(run(sending), 0);
  EXPECT_TRUE(sending[0].closed);
}

TEST(Select, EndsAtItsDeadlineAndLeavesEveryQueue) {
  const Chan a = make(0);
  const Chan b = make(0);
  int value = 0;
  Case cases[] = {on_receive(a, &value), on_send(b, &value), on_receive(b, &value), on_receive(a, &value)};
  const Time until = ms(3);
  EXPECT_EQ(run(cases, until), -ETIMEDOUT);
  EXPECT_GE(now(), until);
  expect_nobody_waits(a);
  expect_nobody_waits(b);
}

TEST(Select, ReachesTheEarliestOfItsMoments) {
  const Chan a = make(0);
  Case cases[] = {on_receive(a, nullptr), at(ms(10'000)), at(ms(2))};
  EXPECT_EQ(run(cases, ms(20'000)), 2);
  Case past[] = {on_receive(a, nullptr), at(1)};
  EXPECT_EQ(run(past, kNoWait), 1);
  Case later[] = {at(ms(10'000))};
  EXPECT_EQ(run(later, ms(1)), -ETIMEDOUT);
}

TEST(Select, IsFairToAllThatAreReady) {
  constexpr int kRounds = 6000;
  for (const size_t n : {size_t{2}, size_t{3}, size_t{5}}) {
    std::vector<Chan> chans;
    for (size_t i = 0; i < n; ++i) chans.push_back(make(1));
    // Some that are never ready, so that the choice must not depend on the place.
    std::vector<Case> cases(n * 2, nothing());
    std::vector<int> hits(n * 2);
    int value = 1;
    for (int k = 0; k < kRounds; ++k) {
      for (size_t i = 0; i < n; ++i) {
        (void)chans[i]->send(&value, kNoWait);
        cases[i < n / 2 ? i : n + i] = on_receive(chans[i], &value);
      }
      const int i = select(cases.data(), cases.size(), kNoWait);
      ASSERT_GE(i, 0);
      ++hits[static_cast<size_t>(i)];
    }
    for (size_t i = 0; i < n; ++i) {
      const double share = hits[i < n / 2 ? i : n + i] * static_cast<double>(n) / kRounds;
      EXPECT_GT(share, 0.85) << i << " of " << n;
      EXPECT_LT(share, 1.15) << i << " of " << n;
    }
  }
}

TEST(Select, TakesHundredsOfCases) {
  std::vector<Chan> chans;
  std::vector<Case> cases;
  int value = 0;
  for (int i = 0; i < 300; ++i) {
    chans.push_back(make(1));
    cases.push_back(on_receive(chans.back(), &value));
  }
  EXPECT_EQ(select(cases.data(), cases.size(), kNoWait), -EAGAIN);
  EXPECT_EQ(select(cases.data(), cases.size(), ms(1)), -ETIMEDOUT);
  for (const size_t i : {size_t{0}, size_t{63}, size_t{64}, size_t{200}, size_t{299}}) {
    const int sent = static_cast<int>(i);
    ASSERT_EQ(chans[i]->send(&sent, kNoWait), 0);
    ASSERT_EQ(select(cases.data(), cases.size(), kForever), sent);
    EXPECT_EQ(value, sent);
  }
  for (const Chan& c : chans) expect_nobody_waits(c);
}

TEST(Select, SeesACancelledContext) {
  const Ctx c(Context::create(nullptr, kForever, nullptr, nullptr));
  const Chan a = make(0);
  Case cases[] = {on_receive(a, nullptr), on_done(c)};
  EXPECT_EQ(run(cases, kNoWait), -EAGAIN);
  c->cancel();
  EXPECT_EQ(run(cases, kNoWait), 1);
  EXPECT_EQ(run(cases), 1);
  const Ctx timed(Context::create(nullptr, ms(2), nullptr, nullptr));
  Case until[] = {on_receive(a, nullptr), on_done(timed)};
  EXPECT_EQ(run(until), 1);
  EXPECT_EQ(timed->error(), -ETIMEDOUT);
}

// ---- between workers -------------------------------------------------------------------------------------------

TRI_WITH_CREW(SelectOf);

TEST_P(SelectOf, IsWokenByWhicheverComes) {
  const Chan a = make(0);
  const Chan b = make(0);
  for (int i = 0; i < 200; ++i) {
    crew.go([&, i] {
      const int value = i;
      if (i % 4 < 2) {
        EXPECT_EQ((i % 2 == 0 ? a : b)->send(&value, kForever), 0);
      } else {
        EXPECT_EQ((i % 2 == 0 ? a : b)->receive(nullptr, kForever), 0);
      }
    });
    int in = -1;
    int out = 1;
    if (i % 4 < 2) {
      Case cases[] = {on_receive(a, &in), on_receive(b, &in)};
      ASSERT_EQ(run(cases), i % 2);
      ASSERT_EQ(in, i);
    } else {
      Case cases[] = {on_send(a, &out), on_send(b, &out), nothing()};
      ASSERT_EQ(run(cases), i % 2);
    }
    crew.join();
    expect_nobody_waits(a);
    expect_nobody_waits(b);
  }
}

TEST_P(SelectOf, IsWokenByCloseAndByCancellation) {
  for (int i = 0; i < 100; ++i) {
    const Chan a = make(0);
    const Chan b = make(0);
    const Ctx c(Context::create(nullptr, kForever, nullptr, nullptr));
    crew.go([&, i] {
      if (i % 2 == 0) {
        EXPECT_TRUE(a->close());
      } else {
        c->cancel();
      }
    });
    int value = 3;
    Case cases[] = {on_done(c), on_receive(a, &value), on_receive(b, &value)};
    ASSERT_EQ(run(cases), i % 2 == 0 ? 1 : 0);
    EXPECT_EQ(cases[1].closed, i % 2 == 0);
    EXPECT_EQ(value, i % 2 == 0 ? 0 : 3);
    crew.join();
    expect_nobody_waits(b);
  }
}

// Two that each select to send to, or receive from, the same channel: each must meet the other, never itself.
TEST_P(SelectOf, DoesNotMeetItself) {
  for (const size_t capacity : {size_t{0}, size_t{10}}) {
    const Chan c = make(capacity);
    const int rounds = static_cast<int>(test::rounds(2000));
    for (int me = 0; me < 2; ++me) {
      crew.go([&, me] {
        int sent = 0;
        int received = 0;
        while (sent < rounds || received < rounds) {
          int out = me * 1'000'000 + sent;
          int in = -1;
          Case cases[] = {sent < rounds ? on_send(c, &out) : nothing(),
                          received < rounds ? on_receive(c, &in) : nothing()};
          const int i = run(cases);
          ASSERT_TRUE(i == 0 || i == 1) << i;
          if (i == 0) {
            ++sent;
          } else {
            ++received;
            if (capacity == 0) {
              ASSERT_NE(in / 1'000'000, me);
            }
          }
        }
      });
    }
    crew.join();
    EXPECT_EQ(c->length(), 0U);
  }
}

TEST_P(SelectOf, TheSameChannelTwiceIsTwoChances) {
  const Chan c = make(0);
  for (int i = 0; i < 100; ++i) {
    crew.go([&] {
      int a = 0;
      int b = 0;
      Case cases[] = {on_receive(c, &a), on_receive(c, &b)};
      const int k = run(cases);
      ASSERT_GE(k, 0);
      EXPECT_EQ(k == 0 ? a : b, 7);
      EXPECT_EQ(k == 0 ? b : a, 0);
    });
    const int seven = 7;
    ASSERT_EQ(c->send(&seven, kForever), 0);
    crew.join();
    expect_nobody_waits(c);
  }
}

// Up to 16 cases stand on the stack, up to 64 are looked at together. The channels are in no order, some are null, one is there twice.
TEST_P(SelectOf, FewCasesAndManyAreTheSame) {
  for (const size_t n : {size_t{2}, size_t{4}, size_t{16}, size_t{17}, size_t{64}, size_t{66}}) {
    std::vector<Chan> chans;
    for (size_t i = 0; i < n; ++i) chans.push_back(make(0));
    std::vector<int> values(n, -1);
    std::vector<Case> cases;
    for (size_t i = 0; i < n; ++i) {
      const Chan& c = chans[i == n - 1 ? 0 : (i * 7 + 3) % n];
      cases.push_back(i % 5 == 4 && i != n - 1 ? nothing()
                      : i % 3 == 1             ? on_send(c, &values[i])
                                               : on_receive(c, &values[i]));
    }
    cases[0] = on_receive(chans[0], &values[0]);
    EXPECT_EQ(select(cases.data(), n, kNoWait), -EAGAIN);
    EXPECT_EQ(select(cases.data(), n, ms(1)), -ETIMEDOUT);
    for (size_t i = 0; i < n; ++i) {
      auto* const partner = static_cast<Channel*>(cases[i].object);
      if (partner == nullptr) continue;
      const bool sends = cases[i].kind == CaseKind::kSend;
      std::fill(values.begin(), values.end(), sends ? static_cast<int>(i) : -1);
      int got = -1;
      crew.go([&] {
        const int value = static_cast<int>(i);
        EXPECT_EQ(sends ? partner->receive(&got, kForever) : partner->send(&value, kForever), 0);
      });
      const int k = select(cases.data(), n, kForever);
      crew.join();
      ASSERT_GE(k, 0);
      const auto at = static_cast<size_t>(k);
      ASSERT_EQ(cases[at].object, partner) << "case " << i << " of " << n;
      ASSERT_EQ(cases[at].kind, cases[i].kind);
      EXPECT_FALSE(cases[at].closed);
      EXPECT_EQ(sends ? got : values[at], static_cast<int>(i));
      for (size_t other = 0; other < n; ++other) {
        if (other != at && !sends) {
          EXPECT_EQ(values[other], -1) << other;
        }
      }
    }
    crew.go([&] { EXPECT_TRUE(chans[0]->close()); });
    const int k = select(cases.data(), n, kForever);
    crew.join();
    ASSERT_GE(k, 0);
    EXPECT_EQ(cases[static_cast<size_t>(k)].object, chans[0].get());
    EXPECT_TRUE(cases[static_cast<size_t>(k)].closed);
    for (const Chan& c : chans) expect_nobody_waits(c);
  }
}

TEST_P(SelectOf, ManyChannelsBesideContexts) {
  for (const size_t n : {size_t{3}, size_t{15}, size_t{16}, size_t{40}}) {
    const Ctx first(Context::create(nullptr, kForever, nullptr, nullptr));
    const Ctx last(Context::create(nullptr, kForever, nullptr, nullptr));
    std::vector<Chan> chans;
    std::vector<Case> cases = {on_done(first)};
    int value = 0;
    for (size_t i = 0; i < n; ++i) {
      chans.push_back(make(0));
      cases.push_back(on_receive(chans[i], &value));
    }
    cases.push_back(on_done(last));
    EXPECT_EQ(select(cases.data(), cases.size(), ms(1)), -ETIMEDOUT);
    crew.go([&] {
      const int four = 4;
      EXPECT_EQ(chans[n - 1]->send(&four, kForever), 0);
    });
    ASSERT_EQ(select(cases.data(), cases.size(), kForever), static_cast<int>(n));
    EXPECT_EQ(value, 4);
    crew.join();
    crew.go([&] { last->cancel(); });
    ASSERT_EQ(select(cases.data(), cases.size(), kForever), static_cast<int>(n + 1));
    crew.join();
    for (const Chan& c : chans) expect_nobody_waits(c);
  }
}

TEST_P(SelectOf, ASendAndAReceiveOfOneChannelMeetOthersAlone) {
  const Chan c = make(0);
  for (int i = 0; i < 100; ++i) {
    int out = 5;
    int in = 0;
    Case cases[] = {on_receive(c, &in), nothing(), on_send(c, &out)};
    if (i % 10 == 0) {
      ASSERT_EQ(run(cases, ms(1)), -ETIMEDOUT);
    }
    int got = 0;
    crew.go([&] {
      const int six = 6;
      EXPECT_EQ(i % 2 == 0 ? c->send(&six, kForever) : c->receive(&got, kForever), 0);
    });
    ASSERT_EQ(run(cases), i % 2 == 0 ? 0 : 2);
    crew.join();
    EXPECT_EQ(in, i % 2 == 0 ? 6 : 0);
    EXPECT_EQ(got, i % 2 == 0 ? 0 : 5);
    expect_nobody_waits(c);
  }
}

// One value for two who try without waiting: a default may only be taken when there was none at one moment.
TEST_P(SelectOf, TakesNoDefaultWhileAValueMoves) {
  const Chan a = make(1);
  const Chan b = make(1);
  std::atomic<bool> stop{false};
  int one = 1;
  ASSERT_EQ(a->send(&one, kNoWait), 0);
  crew.go([&] {
    // A value is put into one channel before the other one's is taken: at each moment one of them has one.
    for (int i = 0; !stop.load(); ++i) {
      const int value = 1;
      const Chan& from = i % 2 == 0 ? a : b;
      const Chan& to = i % 2 == 0 ? b : a;
      ASSERT_EQ(to->send(&value, kForever), 0);
      ASSERT_EQ(from->receive(nullptr, kForever), 0);
    }
  });
  // Looks without taking, with a send that cannot be: both full is allowed, both empty never seen.
  for (size_t i = 0; i < test::rounds(20'000); ++i) {
    Case cases[] = {on_receive(a, &one), on_receive(b, &one)};
    const int k = run(cases, kNoWait);
    ASSERT_GE(k, 0) << "in round " << i;
    // Give it back, so that the mover finds what it expects.
    ASSERT_EQ((k == 0 ? a : b)->send(&one, kForever), 0);
  }
  stop.store(true);
  crew.join();
}

// Go's stress: four channels, each sent and received by plain calls and by selects over all four, each side as often.
TEST_P(SelectOf, StressGivesEachValueToOne) {
  Chan c[4] = {make(0), make(0), make(2), make(3)};
  const int n = static_cast<int>(test::rounds(2000));
  for (int k = 0; k < 4; ++k) {
    crew.go([&, k] {
      for (int i = 0; i < n; ++i) ASSERT_EQ(c[k]->send(&i, kForever), 0);
    });
    crew.go([&, k] {
      for (int i = 0; i < n; ++i) ASSERT_EQ(c[k]->receive(nullptr, kForever), 0);
    });
  }
  for (const bool sends : {true, false}) {
    crew.go([&, sends] {
      int done[4] = {};
      for (int total = 0; total < 4 * n; ++total) {
        int value = total;
        Case cases[4];
        for (int k = 0; k < 4; ++k) {
          cases[k] = done[k] == n ? nothing() : sends ? on_send(c[k], &value) : on_receive(c[k], &value);
        }
        const int k = run(cases);
        ASSERT_TRUE(k >= 0 && k < 4) << k;
        ++done[k];
      }
    });
  }
  crew.join();
  for (const Chan& one : c) EXPECT_EQ(one->length(), 0U);
}

TEST_P(SelectOf, DeadlinesRaceWithPartners) {
  const Chan a = make(0);
  const Chan b = make(1);
  std::atomic<long> sent{0};
  std::atomic<long> received{0};
  for (int k = 0; k < 4; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < test::rounds(3000); ++i) {
        int value = 1;
        Case receives[] = {on_receive(a, &value), on_receive(b, &value), on_receive(a, &value)};
        Case sends[] = {on_send(a, &value), on_send(b, &value), on_send(b, &value)};
        const Time until = now() + static_cast<Time>(random.below(20'000));
        const int r = k % 2 == 0 ? run(sends, until) : run(receives, until);
        ASSERT_TRUE(r >= 0 || r == -ETIMEDOUT) << r;
        if (r >= 0) (k % 2 == 0 ? sent : received).fetch_add(1);
      }
    });
  }
  crew.join();
  EXPECT_EQ(sent.load() - received.load(), static_cast<long>(b->length()));
  expect_nobody_waits(a);
  expect_nobody_waits(b);
}

// Locks of channels that two selects name in opposite orders.
TEST_P(SelectOf, OrderOfCasesDoesNotDeadlock) {
  Chan c[3] = {make(0), make(0), make(0)};
  for (int me = 0; me < 4; ++me) {
    crew.go([&, me] {
      for (size_t i = 0; i < test::rounds(2000); ++i) {
        int v = 0;
        Case up[] = {on_send(c[0], &v), on_receive(c[1], &v), on_send(c[2], &v)};
        Case down[] = {on_send(c[1], &v), on_receive(c[2], &v), on_receive(c[0], &v)};
        const int r = me % 2 == 0 ? run(up, ms(1)) : run(down, ms(1));
        ASSERT_TRUE(r >= 0 || r == -ETIMEDOUT) << r;
      }
    });
  }
  crew.join();
}

}  // namespace
}  // namespace tri::sched
