// thread_test.cc - Tests of alloc/thread.h and thread_list.h: what threads leave behind.
#include "alloc/thread.h"

#include <set>

#include "alloc/emergency.h"
#include "alloc/persistent.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

class ThreadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    used_ = test::used_bytes();
    threads_ = Thread::count();
  }
  void TearDown() override { EXPECT_EQ(Thread::count(), threads_); }
  int64_t used() const { return static_cast<int64_t>(test::used_bytes() - used_); }

 private:
  uint64_t used_ = 0;
  size_t threads_ = 0;
};

TEST_F(ThreadTest, HasNoRecordBeforeItsFirstBlock) {
  test::in_thread([] {
    EXPECT_EQ(current_mcache(), &empty_mcache);
    const size_t before = Thread::count();
    void* const p = allocate(10);
    EXPECT_NE(current_mcache(), &empty_mcache);
    EXPECT_EQ(Thread::count(), before + 1);
    EXPECT_TRUE(thread_of(current_mcache())->alive.load());
    EXPECT_EQ(current_mcache()->owner_tp, arch::thread_pointer());
    deallocate(p);
  });
}

TEST_F(ThreadTest, MayFreeAsItsFirstAct) {
  void* const small = allocate(10);
  void* const large = allocate(100'000);
  test::in_thread([&] { deallocate(small); });
  test::in_thread([&] { deallocate(large); });
  test::in_thread([] { deallocate(nullptr); });
  test::drop_caches();
  EXPECT_LE(used(), 65536);
}

TEST_F(ThreadTest, LeavesItsRecordToTheNext) {
  MCache* first = nullptr;
  test::in_thread([&] {
    deallocate(allocate(10));
    first = current_mcache();
  });
  EXPECT_FALSE(thread_of(first)->alive.load());
  test::in_thread([&] {
    deallocate(allocate(10));
    EXPECT_EQ(current_mcache(), first);
  });
}

TEST_F(ThreadTest, LeavesNoSpanBehindWhenAllIsFreed) {
  test::in_thread([] {
    std::vector<void*> blocks;
    for (size_t n = 1; n <= 100'000; n += n / 3 + 1) blocks.push_back(allocate(n));
    for (void* p : blocks) deallocate(p);
  });
  EXPECT_EQ(used(), 0);
}

TEST_F(ThreadTest, BlocksOutliveItAndTheirSpansAreUsedAgain) {
  // Threads in turn leave one block each: spans with room are taken over, so there is one for all.
  const uint64_t threads = class_capacity(size_class(300));
  std::vector<void*> blocks;
  for (uint64_t i = 0; i < threads; ++i) {
    test::in_thread([&] {
      void* const p = allocate(300);
      test::fill(p, 300, i);
      blocks.push_back(p);
    });
  }
  EXPECT_LE(used(), 65536);
  std::set<Span*> spans;
  for (uint64_t i = 0; i < threads; ++i) {
    EXPECT_TRUE(test::holds(blocks[i], 300, i));
    Span* const s = pagemap::lookup(blocks[i]);
    EXPECT_EQ(s->owner.load(), nullptr);
    spans.insert(s);
  }
  EXPECT_EQ(spans.size(), 1U);
  for (void* p : blocks) deallocate(p);
  test::drop_caches();
  EXPECT_EQ(used(), 0);
}

TEST_F(ThreadTest, TenThousandShortThreadsNeedNoMoreThanOne) {
  const size_t count = test::kTsan || test::kEmulated ? 1000 : 10'000;
  const auto body = [] {
    void* const small = allocate(100);
    void* const large = allocate(200'000);
    test::fill(small, 100, 1);
    test::fill(large, 200'000, 2);
    deallocate(small);
    deallocate(large);
  };
  for (int i = 0; i < 100; ++i) test::in_thread(body);
  const uint64_t arenas = test::arena_bytes();
  const uint64_t committed = counters->committed_bytes.load();
  const size_t metadata = persistent::mapped_bytes();
  for (size_t i = 0; i < count; ++i) test::in_thread(body);
  EXPECT_EQ(test::arena_bytes(), arenas);
  EXPECT_EQ(counters->committed_bytes.load(), committed);
  EXPECT_EQ(persistent::mapped_bytes(), metadata);
  EXPECT_EQ(used(), 0);
}

TEST_F(ThreadTest, ManyAtOnceEndWithNothingLost) {
  std::vector<std::vector<void*>> blocks(32);
  test::in_threads(32, [&](size_t t) {
    for (size_t i = 0; i < 200; ++i) {
      void* const p = allocate(16 + 8 * i);
      test::fill(p, 16 + 8 * i, t * 1000 + i);
      blocks[t].push_back(p);
    }
  });
  for (size_t t = 0; t < 32; ++t) {
    for (size_t i = 0; i < 200; ++i) {
      EXPECT_TRUE(test::holds(blocks[t][i], 16 + 8 * i, t * 1000 + i));
      deallocate(blocks[t][i]);
    }
  }
  test::drop_caches();
  EXPECT_EQ(used(), 0);
  heap.verify();
}

// A destructor of thread-specific data that allocates and frees, in each of its rounds.
struct LateUser {
  pthread_key_t key;
  int rounds = 0;
  void* kept = nullptr;
  std::vector<void*> blocks;

  static void destroy(void* value) {
    auto* user = static_cast<LateUser*>(value);
    deallocate(user->kept);
    user->kept = allocate(700);
    test::fill(user->kept, 700, 5);
    void* const large = allocate(300'000);
    EXPECT_NE(large, nullptr);
    deallocate(large);
    user->blocks.push_back(allocate(50));
    if (++user->rounds < 4) pthread_setspecific(user->key, value);
  }
};

#if !defined __SANITIZE_THREAD__  // The sanitizer takes leave of a thread before the last destructors.
TEST_F(ThreadTest, MayAllocateInEachRoundOfItsDestructors) {
  // The key is younger than ours, so in the last round its destructor runs when the record is gone.
  LateUser user;
  ASSERT_EQ(pthread_key_create(&user.key, &LateUser::destroy), 0);
  test::in_thread([&] {
    user.kept = allocate(700);
    pthread_setspecific(user.key, &user);
  });
  EXPECT_EQ(user.rounds, 4);
  EXPECT_TRUE(test::holds(user.kept, 700, 5));
  deallocate(user.kept);
  for (void* p : user.blocks) deallocate(p);
  pthread_key_delete(user.key);
  test::drop_caches();
  EXPECT_EQ(used(), 0);
}
#endif

#if !defined __SANITIZE_THREAD__  // The sanitizer takes leave of a thread before the last destructors.
TEST_F(ThreadTest, MayFirstAllocateInADestructor) {
  LateUser user;
  ASSERT_EQ(pthread_key_create(&user.key, &LateUser::destroy), 0);
  test::in_thread([&] { pthread_setspecific(user.key, &user); });
  EXPECT_EQ(user.rounds, 4);
  deallocate(user.kept);
  for (void* p : user.blocks) deallocate(p);
  pthread_key_delete(user.key);
}
#endif

TEST_F(ThreadTest, ASlowPathWithinASlowPathUsesTheEmergencyArea) {
  void* const own = allocate(3000);
  void* const own_large = allocate(50'000);
  test::fill(own, 3000, 1);
  {
    SlowPath slow;  // as when a signal handler runs above one
    ASSERT_NE(slow.get(), nullptr);
    SlowPath above;
    EXPECT_TRUE(above.reentered());
    EXPECT_EQ(above.get(), nullptr);
    // What the fast paths can do goes on; what they cannot comes from elsewhere.
    std::vector<void*> blocks;
    do {
      blocks.push_back(allocate(100));
      ASSERT_NE(blocks.back(), nullptr);
      ASSERT_TRUE(test::aligned_to(blocks.back(), 16));
      test::fill(blocks.back(), 100, blocks.size());
      ASSERT_LT(blocks.size(), 5000U);
    } while (!emergency::owns(blocks.back()));
    EXPECT_GE(usable_size(blocks.back()), 100U);
    void* const large = allocate(100'000);
    EXPECT_TRUE(emergency::owns(large));
    EXPECT_TRUE(test::is_zero(large, 100'000));
    void* const aligned = allocate_aligned(64, 16384);
    EXPECT_TRUE(test::aligned_to(aligned, 16384));
    // Large blocks cannot be freed or moved now: nothing happens, and nothing breaks.
    EXPECT_FALSE(resize_in_place(own_large, 60'000'000));
    for (size_t i = 0; i < blocks.size(); ++i) {
      EXPECT_TRUE(test::holds(blocks[i], 100, i + 1));
      deallocate(blocks[i]);
    }
    deallocate(large);
    deallocate(aligned);
  }
  SlowPath after;
  EXPECT_FALSE(after.reentered());
  EXPECT_TRUE(test::holds(own, 3000, 1));
  deallocate(own);
}

TEST_F(ThreadTest, BlocksOfTheEmergencyAreaMoveOutWhenTheyGrow) {
  void* const p = emergency::alloc(100, 16);
  ASSERT_NE(p, nullptr);
  test::fill(p, 100, 9);
  void* const q = reallocate(p, 5000);
  ASSERT_NE(q, nullptr);
  EXPECT_FALSE(emergency::owns(q));
  EXPECT_TRUE(test::holds(q, 100, 9));
  deallocate(q);
}

TEST_F(ThreadTest, WithoutMemoryForARecordItStillFrees) {
  // All metadata memory is used up, then new threads arrive.
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(allocate(40));
  void* const large = allocate(100'000);
  std::vector<std::thread> threads;
  test::Barrier attached(9);
  test::Barrier done(9);
  {
    // Idle records would do, so they are taken by others.
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        deallocate(allocate(10));
        attached.wait();
        done.wait();
      });
    }
    attached.wait();
    test::Faults faults(0);
    while (persistent::alloc(16, 16) != nullptr) {
    }
    test::in_thread([&] {
      void* const p = allocate(10);
      const bool without_record = current_mcache() == &empty_mcache;
      if (without_record) {
        EXPECT_EQ(p, nullptr);
      }
      EXPECT_EQ(p == nullptr, without_record);
      deallocate(p);
      for (void* block : blocks) deallocate(block);
      deallocate(large);
    });
  }
  done.wait();
  for (std::thread& t : threads) t.join();
  test::drop_caches();
  EXPECT_LE(used(), 65536);
}

}  // namespace
}  // namespace tri
