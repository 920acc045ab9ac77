// chan_test.cc - Tests of sched/chan.h. Many check what Go's tests of channels check.
#include "sched/chan.h"

#include <cerrno>

#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

using test::ms;

struct Unref {
  void operator()(Channel* c) const { c->unref(); }
};
using Chan = std::unique_ptr<Channel, Unref>;

template <class T = int>
Chan make(size_t capacity) {
  return Chan(Channel::create(sizeof(T), capacity));
}

template <class T>
int send(const Chan& c, T value, Time deadline = kForever) {
  return c->send(&value, deadline);
}
template <class T = int>
T receive(const Chan& c) {
  T value{};
  EXPECT_EQ(c->receive(&value, kForever), 0);
  return value;
}

// ---- alone -----------------------------------------------------------------------------------------------------

TEST(Chan, GivesBackValuesInTheirOrder) {
  const Chan c = make(4);
  for (int round = 0; round < 5; ++round) {  // so that the ring wraps at every place
    for (int i = 0; i < 3; ++i) EXPECT_EQ(send(c, round * 10 + i), 0);
    EXPECT_EQ(c->length(), 3U);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(receive(c), round * 10 + i);
  }
  EXPECT_EQ(c->capacity(), 4U);
}

TEST(Chan, TriesWithoutWaiting) {
  const Chan c = make(1);
  int value = 7;
  EXPECT_EQ(c->receive(&value, kNoWait), -EAGAIN);
  EXPECT_EQ(c->receive(&value, -5), -EAGAIN);
  EXPECT_EQ(c->send(&value, kNoWait), 0);
  EXPECT_EQ(c->send(&value, kNoWait), -EAGAIN);
  value = 0;
  EXPECT_EQ(c->receive(&value, kNoWait), 0);
  EXPECT_EQ(value, 7);
  const Chan none = make(0);
  EXPECT_EQ(none->send(&value, kNoWait), -EAGAIN);
  EXPECT_EQ(none->receive(&value, kNoWait), -EAGAIN);
}

TEST(Chan, GivesTheRestAfterCloseAndThenSaysSo) {
  const Chan c = make(3);
  for (int i = 1; i < 3; ++i) EXPECT_EQ(send(c, i), 0);
  EXPECT_TRUE(c->close());
  EXPECT_EQ(send(c, 3), -EPIPE);
  EXPECT_EQ(send(c, 3, kNoWait), -EPIPE);
  EXPECT_EQ(receive(c), 1);
  EXPECT_EQ(receive(c), 2);
  for (const Time deadline : {kForever, kNoWait}) {
    int value = 9;
    EXPECT_EQ(c->receive(&value, deadline), -EPIPE);
    EXPECT_EQ(value, 0) << "as Go's zero value";
  }
  EXPECT_FALSE(c->close()) << "the second time";
}

TEST(Chan, TimesOutAndLeavesNothingBehind) {
  const Chan c = make(0);
  int value = 1;
  for (int i = 0; i < 3; ++i) {
    const Time until = ms(2);
    EXPECT_EQ(c->receive(&value, until), -ETIMEDOUT);
    EXPECT_GE(now(), until);
    EXPECT_EQ(c->send(&value, ms(1)), -ETIMEDOUT);
    EXPECT_EQ(c->send(&value, 1), -ETIMEDOUT) << "long past";
  }
  EXPECT_EQ(c->send(&value, kNoWait), -EAGAIN);
  EXPECT_EQ(c->receive(&value, kNoWait), -EAGAIN);
  EXPECT_EQ(value, 1);
}

TEST(Chan, OfNothingWaitsUntilTheDeadline) {
  EXPECT_EQ(wait_on_nothing(kNoWait), -EAGAIN);
  EXPECT_EQ(wait_on_nothing(ms(1)), -ETIMEDOUT);
}

TEST(Chan, HasNoMemoryForSizesThatCannotBe) {
  EXPECT_EQ(Channel::create(SIZE_MAX, 1), nullptr);
  EXPECT_EQ(Channel::create(8, SIZE_MAX / 8), nullptr);
  EXPECT_EQ(Channel::create(8, SIZE_MAX / 4), nullptr);
  EXPECT_EQ(Channel::create(1, SIZE_MAX / 4), nullptr);
}

TEST(Chan, CountsReferences) {
  Channel* const c = Channel::create(4, 1);
  c->ref();
  c->unref();
  const int one = 1;
  EXPECT_EQ(c->send(&one, kNoWait), 0);
  c->unref();
}

TEST(ChanDeathTest, IsNotFreedUnderSomebodyWhoWaits) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Channel* const c = Channel::create(4, 0);
        std::thread waiter([c] { (void)c->receive(nullptr, kForever); });
        test::until([c] { return c->may_send(); });
        c->unref();
        waiter.join();
      },
      "tri: last reference given up while somebody waits on channel 0x[0-9a-f]+ in .*\\[[0-9]+\\]");
}

template <size_t N>
struct Bytes {
  unsigned char b[N];
};

template <size_t N>
void passes_bytes() {
  for (const size_t capacity : {size_t{0}, size_t{3}}) {
    const Chan c(Channel::create(N, capacity));
    std::thread sender([&] {
      for (unsigned k = 0; k < 10; ++k) {
        Bytes<N> out;
        for (size_t i = 0; i < N; ++i) out.b[i] = static_cast<unsigned char>(k * 7 + i);
        EXPECT_EQ(c->send(&out, kForever), 0);
      }
    });
    for (unsigned k = 0; k < 10; ++k) {
      // Neighbours show whether exactly N bytes were written.
      struct {
        unsigned char before;
        Bytes<N> in;
        unsigned char after;
      } room;
      memset(&room, 0xee, sizeof room);
      ASSERT_EQ(c->receive(&room.in, kForever), 0);
      EXPECT_EQ(room.before, 0xee);
      EXPECT_EQ(room.after, 0xee);
      for (size_t i = 0; i < N; ++i) ASSERT_EQ(room.in.b[i], static_cast<unsigned char>(k * 7 + i)) << "size " << N;
    }
    sender.join();
  }
}

TEST(Chan, PassesValuesOfAnySize) {
  passes_bytes<1>();
  passes_bytes<2>();
  passes_bytes<3>();
  passes_bytes<4>();
  passes_bytes<7>();
  passes_bytes<8>();
  passes_bytes<12>();
  passes_bytes<16>();
  passes_bytes<24>();
  passes_bytes<1000>();
  passes_bytes<70000>();
}

// ---- between workers -------------------------------------------------------------------------------------------

TRI_WITH_CREW(ChanOf);

TEST_P(ChanOf, NoBytesCountsAndWakes) {
  for (const size_t capacity : {size_t{0}, size_t{5}}) {
    const Chan c(Channel::create(0, capacity));
    std::atomic<int> received{0};
    crew.go([&] {
      while (c->receive(nullptr, kForever) == 0) received.fetch_add(1);
    });
    for (int i = 0; i < 100; ++i) ASSERT_EQ(c->send(nullptr, kForever), 0);
    EXPECT_TRUE(c->close());
    crew.join();
    EXPECT_EQ(received.load(), 100);
  }
}

TEST_P(ChanOf, AnyCapacityIsFirstInFirstOut) {
  for (size_t capacity = 0; capacity < 20; ++capacity) {
    const Chan c = make(capacity);
    crew.go([&] {
      for (int i = 0; i < 100; ++i) EXPECT_EQ(send(c, i), 0);
    });
    for (int i = 0; i < 100; ++i) ASSERT_EQ(receive(c), i);
    crew.join();
  }
}

TEST_P(ChanOf, AnyCapacityGivesEachValueToOneReceiver) {
  constexpr int kSenders = 4;
  constexpr int kReceivers = 4;
  const int each = static_cast<int>(test::rounds(2000));
  for (const size_t capacity : {size_t{0}, size_t{1}, size_t{7}}) {
    const Chan c = make(capacity);
    std::vector<std::atomic<int>> seen(static_cast<size_t>(kSenders * each));
    std::atomic<int> left{kSenders};
    for (int s = 0; s < kSenders; ++s) {
      crew.go([&, s] {
        for (int i = 0; i < each; ++i) ASSERT_EQ(send(c, s * each + i), 0);
        if (left.fetch_sub(1) == 1) {
          EXPECT_TRUE(c->close());
        }
      });
    }
    for (int r = 0; r < kReceivers; ++r) {
      crew.go([&] {
        // What one sender sent is received in its order, as far as one receiver sees it.
        int last[kSenders];
        std::fill(last, last + kSenders, -1);
        int value;
        while (c->receive(&value, kForever) == 0) {
          seen[static_cast<size_t>(value)].fetch_add(1);
          ASSERT_GT(value % each, last[value / each]);
          last[value / each] = value % each;
        }
      });
    }
    crew.join();
    for (const auto& n : seen) ASSERT_EQ(n.load(), 1);
  }
}

TEST_P(ChanOf, WaitersAreServedInTheOrderInWhichTheyCame) {
  const Chan c = make(0);
  const Chan order = make(10);
  for (int i = 0; i < 5; ++i) {
    const size_t before = static_cast<size_t>(i);
    std::atomic<bool> started{false};
    crew.go([&, i] {
      started.store(true);
      int value;
      ASSERT_EQ(c->receive(&value, kForever), 0);
      ASSERT_EQ(send(order, value * 10 + i), 0);
    });
    // Each queues before the next starts: the queue's length is what we wait for.
    test::until([&] {
      c->lock().lock();
      size_t n = 0;
      if (const Waiter* const head = c->receivers().front()) {
        const Waiter* w = head;
        do {
          ++n;
          w = w->next;
        } while (w != head);
      }
      c->lock().unlock();
      return started.load() && n == before + 1;
    });
  }
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(send(c, i), 0);
    EXPECT_EQ(receive(order), i * 11);
  }
}

TEST_P(ChanOf, CloseWakesEverybody) {
  const Chan c = make(0);
  const Chan full = make(1);
  ASSERT_EQ(send(full, 1), 0);
  std::atomic<int> pipes{0};
  for (int i = 0; i < 4; ++i) {
    crew.go([&] {
      int value = 9;
      if (c->receive(&value, kForever) == -EPIPE && value == 0) pipes.fetch_add(1);
    });
    crew.go([&] {
      if (send(full, 2) == -EPIPE) pipes.fetch_add(1);
    });
  }
  test::until([&] { return c->may_send(); });
  EXPECT_TRUE(c->close());
  EXPECT_TRUE(full->close());
  crew.join();
  EXPECT_EQ(pipes.load(), 8);
  EXPECT_EQ(receive(full), 1) << "what was sent is still there; what waited is not";
  EXPECT_EQ(full->receive(nullptr, kNoWait), -EPIPE);
}

// (Go had this wrong once: a try gave neither.)
TEST_P(ChanOf, ATryAgainstCloseGivesTheValueOrClosed) {
  for (size_t i = 0; i < test::rounds(2000); ++i) {
    const Chan c = make(1);
    ASSERT_EQ(send(c, 8), 0);
    crew.go([&] { EXPECT_TRUE(c->close()); });
    int value = 0;
    EXPECT_EQ(c->receive(&value, kNoWait), 0) << "the value was there all the time";
    EXPECT_EQ(value, 8);
    crew.join();
  }
}

TEST_P(ChanOf, DeadlinesRaceWithPartners) {
  const Chan c = make(0);
  std::atomic<long> sent{0};
  std::atomic<long> received{0};
  const size_t rounds = test::rounds(3000);
  for (int k = 0; k < 2; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < rounds; ++i) {
        const int r = send(c, 1, now() + static_cast<Time>(random.below(20'000)));
        ASSERT_TRUE(r == 0 || r == -ETIMEDOUT) << r;
        if (r == 0) sent.fetch_add(1);
      }
    });
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k + 10));
      for (size_t i = 0; i < rounds; ++i) {
        int value = 0;
        const int r = c->receive(&value, now() + static_cast<Time>(random.below(20'000)));
        ASSERT_TRUE(r == 0 || r == -ETIMEDOUT) << r;
        ASSERT_EQ(value, r == 0 ? 1 : 0);
        if (r == 0) received.fetch_add(1);
      }
    });
  }
  crew.join();
  EXPECT_EQ(sent.load(), received.load());
  EXPECT_EQ(c->send(nullptr, kNoWait), -EAGAIN) << "nobody was left in the queue";
}

// ---- what happens before what: plain memory, so TSan checks it, too ------------------------------------------------

TEST_P(ChanOf, ASendHappensBeforeItsReceive) {
  for (const size_t capacity : {size_t{0}, size_t{2}}) {
    for (int i = 0; i < 100; ++i) {
      const Chan c = make(capacity);
      int data = 0;
      crew.go([&] {
        data = 1;
        EXPECT_EQ(send(c, 0), 0);
      });
      receive(c);
      EXPECT_EQ(data, 1);
      crew.join();
    }
  }
}

TEST_P(ChanOf, CloseHappensBeforeAReceiveThatTellsOfIt) {
  for (int i = 0; i < 100; ++i) {
    const Chan c = make(1);
    int data = 0;
    crew.go([&] {
      data = 1;
      EXPECT_TRUE(c->close());
    });
    int r;
    while ((r = c->receive(nullptr, i % 2 == 0 ? kForever : kNoWait)) == -EAGAIN) yield();
    EXPECT_EQ(r, -EPIPE);
    EXPECT_EQ(data, 1);
    crew.join();
  }
}

TEST_P(ChanOf, AReceiveWithoutRingHappensBeforeTheSendEnds) {
  for (int i = 0; i < 100; ++i) {
    const Chan c = make(0);
    int data = 0;
    crew.go([&] {
      data = 1;
      receive(c);
    });
    EXPECT_EQ(send(c, 0), 0);
    EXPECT_EQ(data, 1);
    crew.join();
  }
}

TEST_P(ChanOf, TheRingBoundsHowManyAreInside) {
  // The k-th receive happens before the (k + capacity)-th send ends: a channel is a semaphore.
  const Chan c = make(3);
  std::atomic<int> inside{0};
  int guarded = 0;
  const Chan lock = make(1);
  for (int k = 0; k < 6; ++k) {
    crew.go([&] {
      for (size_t i = 0; i < test::rounds(500); ++i) {
        ASSERT_EQ(send(c, 1), 0);
        ASSERT_LE(inside.fetch_add(1), 2);
        ASSERT_EQ(send(lock, 1), 0);
        ++guarded;  // plain: TSan sees whether a channel of capacity 1 is a lock
        receive(lock);
        inside.fetch_sub(1);
        receive(c);
      }
    });
  }
  crew.join();
  EXPECT_EQ(guarded, static_cast<int>(6 * test::rounds(500)));
}

// Numbers sieve themselves through a chain of filters, as in Go's test.
TEST_P(ChanOf, ASieveFindsThePrimes) {
  std::vector<Chan> chain;
  chain.push_back(make(0));
  std::atomic<bool> done{false};
  crew.go([&, out = chain[0].get()] {
    for (int i = 2;; ++i) {
      if (out->send(&i, kForever) != 0) return;
    }
  });
  const int primes[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29};
  for (const int p : primes) {
    Channel* const in = chain.back().get();
    int found = 0;
    ASSERT_EQ(in->receive(&found, kForever), 0);
    ASSERT_EQ(found, p);
    chain.push_back(make(0));
    crew.go([in, out = chain.back().get(), p] {
      int i;
      while (in->receive(&i, kForever) == 0) {
        if (i % p != 0 && out->send(&i, kForever) != 0) return;
      }
    });
  }
  done.store(true);
  for (const Chan& c : chain) EXPECT_TRUE(c->close());
  crew.join();
}

}  // namespace
}  // namespace tri::sched
