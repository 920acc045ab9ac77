// pool_test.cc - Tests of sched/pool.h and pool_ager.h.
#include "sched/pool.h"

#include <dirent.h>

#include <memory>
#include <set>

#include "sched/pool_ager.h"
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
  Pool::age_all();
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

// ---- ageing by itself ------------------------------------------------------------------------------------------

using test::eventually;
using test::milliseconds;

/// For the pools of a test.
class PoolAge : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_TRUE(eventually([] { return !pools_are_watched(); })) << "of the test before";
    set_pool_age(milliseconds(5));
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return !pools_are_watched(); })) << "nothing is left to age";
    set_pool_age(milliseconds(1000));
  }
  static void put(PoolTest& t, int n) {
    std::vector<void*> objects;
    for (int i = 0; i < n; ++i) objects.push_back(t.pool.get());
    for (void* o : objects) t.pool.put(o);
  }
};

[[maybe_unused]] size_t count_threads() {
  DIR* const folder = opendir("/proc/self/task");
  size_t n = 0;
  while (const dirent* const entry = readdir(folder)) n += entry->d_name[0] != '.';
  closedir(folder);
  return n;
}

TEST_F(PoolAge, EmptiesAnIdlePoolBesideGoroutines) {
  test::in_goroutine([] {});
  PoolTest t;
  EXPECT_FALSE(pools_are_watched());
  put(t, 100);
  EXPECT_TRUE(pools_are_watched());
  EXPECT_TRUE(eventually([&] { return t.dropped == 100; }));
}

#if !TRI_TEST_SANITIZED  // Sanitizers have threads of their own.
TEST_F(PoolAge, EmptiesAnIdlePoolWithoutAScheduler) {
  if (runtime_started()) return;  // when all tests run in one process
  const size_t before = count_threads();
  PoolTest t;
  put(t, 100);
  EXPECT_EQ(count_threads(), before + 1);
  const auto in_kernel = [] { usleep(1000); };
  for (int i = 0; i < 10'000 && t.dropped != 100; ++i) in_kernel();
  EXPECT_EQ(t.dropped, 100);
  for (int i = 0; i < 10'000 && count_threads() != before; ++i) in_kernel();
  EXPECT_EQ(count_threads(), before);
  EXPECT_FALSE(runtime_started());
}
#endif

// As a report does: the record may become another's meanwhile.
[[gnu::no_sanitize_thread]] bool is_named(const G* g, const char* name) {
  for (size_t i = 0; i < kMaxName; ++i) {
    if (g->name[i] != name[i]) return false;
    if (name[i] == 0) return true;
  }
  return false;
}

TEST_F(PoolAge, IsLeftToAGoroutineAsSoonAsThereAreSome) {
  PoolTest t;
  put(t, 1);
  test::in_goroutine([] {});
  // The thread has work all the time, but hands it over.
  EXPECT_TRUE(eventually([&] {
    t.pool.put(new int);
    bool found = false;
    for (uint32_t i = 0; i < g_count(); ++i) found = found || is_named(g_at(i), "tri-pools");
    return found;
  }));
}

TEST_F(PoolAge, KeepsWhatIsInUse) {
  set_pool_age(milliseconds(60));
  test::in_goroutine([] {
    PoolTest t;
    const Time until = now() + milliseconds(300);
    while (now() < until) {
      void* const o = t.pool.get();
      t.pool.put(o);
      sleep_until(now() + milliseconds(1));
    }
    // A machine that is busy elsewhere may let two ages pass.
    EXPECT_LE(t.made, 3);
    t.pool.purge();
  });
}

TEST_F(PoolAge, BeginsAnewWheneverItHasEnded) {
  set_pool_age(100'000);
  for (const bool beside_goroutines : {false, true}) {
    if (beside_goroutines) test::in_goroutine([] {});
    PoolTest t;
    for (int i = 1; i <= 100; ++i) {
      t.pool.put(new int);
      ASSERT_TRUE(eventually([&] { return t.dropped == i; })) << i;
    }
  }
}

TEST_F(PoolAge, OfManyPoolsReachesEachAndOthersMayComeAndGo) {
  constexpr size_t kPools = 300;
  std::vector<std::unique_ptr<PoolTest>> pools;
  for (size_t i = 0; i < kPools; ++i) pools.push_back(std::make_unique<PoolTest>());
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      PoolTest t;
      put(t, 3);
      t.pool.purge();
      EXPECT_EQ(t.dropped, 3);
    }
  });
  for (auto& p : pools) put(*p, 40);
  for (auto& p : pools) EXPECT_TRUE(eventually([&] { return p->dropped == 40; }));
  stop = true;
  other.join();
}

TEST_F(PoolAge, PurgeWaitsForADropThatIsAtWork) {
  for (const bool by_goroutine : {false, true}) {
    struct State {
      std::atomic<bool> entered{false};
      std::atomic<bool> let_go{false};
      std::atomic<int> left{0};
    };
    auto* const state = new State;
    auto* const pool = new Pool{};
    pool->arg = state;
    pool->drop = [](void*, void* arg) {
      auto* const s = static_cast<State*>(arg);
      const bool is_first = !s->entered.exchange(true);
      EXPECT_TRUE(!is_first || eventually([s] { return s->let_go.load(); }));
      ++s->left;
    };
    static int objects[100];
    for (int& o : objects) pool->put(&o);
    ASSERT_TRUE(eventually([&] { return state->entered.load(); }));
    std::atomic<bool> purged{false};
    const auto purge = [&] {
      pool->purge();
      EXPECT_EQ(state->left, 100);
      // Nobody comes back to either.
      delete pool;
      delete state;
      purged = true;
    };
    std::thread purger([&] { by_goroutine ? test::in_goroutine(purge) : purge(); });
    // What the ager has not come to is dropped by the purge; for the rest, a piece of 27, it waits.
    EXPECT_TRUE(eventually([&] { return state->left == 73; }));
    sleep_until(now() + milliseconds(20));
    EXPECT_FALSE(purged);
    state->let_go = true;
    purger.join();
    EXPECT_TRUE(purged);
  }
}

TEST_F(PoolAge, DropMayUsePoolsItself) {
  struct Two {
    PoolTest inner;
    Pool outer{};
    std::atomic<int> dropped{0};
  } two;
  two.outer.arg = &two;
  two.outer.drop = [](void* object, void* arg) {
    auto* const t = static_cast<Two*>(arg);
    t->inner.pool.put(object);
    if (++t->dropped == 2) {
      t->inner.pool.purge();
      t->outer.purge();  // its own: of what is at work it does not wait for itself
    }
  };
  for (int i = 0; i < 60; ++i) two.outer.put(new int);
  EXPECT_TRUE(eventually([&] { return two.dropped == 60; }));
  EXPECT_TRUE(eventually([&] { return two.inner.dropped == 60; }));
  two.outer.purge();
}

// TSan starts no threads in a child of a process with threads, and ASan's allocator may be copied with its locks held.
#if !TRI_TEST_SANITIZED
TEST_F(PoolAge, AForkedChildHasWholePoolsAndAgesThemAnew) {
  set_pool_age(milliseconds(2));
  auto* const t = new PoolTest;
  put(*t, 1);  // fork() does not call handlers that are registered while it runs
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int k = 0; k < 2; ++k) {
    threads.emplace_back([&] {
      while (!stop) put(*t, 60);
    });
  }
  for (int k = 0; k < 20; ++k) {
    if (k == 10) test::in_goroutine([] {});
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(20);
      // Every object is there once.
      std::set<void*> seen;
      const int made = t->made;
      while (t->made == made) CHILD_CHECK(seen.insert(t->pool.get()).second);
      const int dropped = t->dropped;  // before the first put(): from then on they age
      for (void* const o : seen) t->pool.put(o);
      for (int i = 0; i < 10'000 && t->dropped - dropped < static_cast<int>(seen.size()); ++i) usleep(1000);
      CHILD_CHECK(t->dropped - dropped == static_cast<int>(seen.size()));
      t->pool.purge();
      _exit(42);
    }
    const int status = test::wait_for(pid);
    EXPECT_EQ(status, 42);
    if (status != 42) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  delete t;
}
#endif

}  // namespace
}  // namespace tri::sched
