// pool_test.cc - Tests of sched/pool.h.
#include "sched/pool.h"

#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

struct PoolTest {
  PoolTest() : pool{} {
    pool.make = [](void* p) -> void* {
      static_cast<PoolTest*>(p)->made.fetch_add(1);
      return new int(0);
    };
    pool.drop = [](void* object, void* p) {
      static_cast<PoolTest*>(p)->dropped.fetch_add(1);
      delete static_cast<int*>(object);
    };
    pool.arg = this;
  }
  ~PoolTest() { pool.purge(); }
  std::atomic<int> made{0};
  std::atomic<int> dropped{0};
  Pool pool;
};

TEST(Pool, GivesWhatWasPutAndElseMakesOne) {
  PoolTest t;
  void* const a = t.pool.get();
  EXPECT_EQ(t.made.load(), 1);
  t.pool.put(a);
  EXPECT_EQ(t.pool.get(), a);
  t.pool.put(a);
  t.pool.put(nullptr);
  Pool empty{};
  EXPECT_EQ(empty.get(), nullptr);
  int x;
  empty.put(&x);
  EXPECT_EQ(empty.get(), &x);
  empty.purge();
}

TEST(Pool, DropsWhatNobodyAskedForOverTwoAges) {
  PoolTest t;
  void* objects[100];
  for (void*& o : objects) o = t.pool.get();
  for (void* o : objects) t.pool.put(o);
  t.pool.age();
  EXPECT_EQ(t.dropped.load(), 0);
  void* const kept = t.pool.get();  // of the victims
  EXPECT_EQ(t.made.load(), 100);
  t.pool.put(kept);
  age_pools();
  EXPECT_EQ(t.dropped.load(), 99);
  EXPECT_EQ(t.pool.get(), kept);
  t.pool.put(kept);
  t.pool.purge();
  EXPECT_EQ(t.dropped.load(), 100);
}

TRI_WITH_CREW(PoolOf);

TEST_P(PoolOf, GivesNoObjectToTwo) {
  PoolTest t;
  for (int k = 0; k < 4; ++k) {
    crew.go([&, k] {
      test::Random random(static_cast<uint64_t>(k));
      for (size_t i = 0; i < test::rounds(5000); ++i) {
        void* held[40];
        const size_t n = random.between(1, 40);
        for (size_t j = 0; j < n; ++j) {
          held[j] = t.pool.get();
          ASSERT_EQ(++*static_cast<int*>(held[j]), 1);  // plain: TSan sees whether it is ours alone
        }
        for (size_t j = 0; j < n; ++j) {
          --*static_cast<int*>(held[j]);
          t.pool.put(held[j]);
        }
        if (random.one_in(100)) t.pool.age();
      }
    });
  }
  crew.join();
  t.pool.purge();
  EXPECT_EQ(t.made.load(), t.dropped.load());
}

}  // namespace
}  // namespace tri::sched
