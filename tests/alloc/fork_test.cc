// fork_test.cc - Tests of alloc/fork.cc: one fork at a time, of a heap in a known state.
#include <sys/mman.h>

#include "alloc/emergency.h"
#include "alloc/mcentral.h"
#include "alloc/stats.h"
#include "alloc/thread_list.h"
#include "tests/alloc/fork_support.h"

namespace tri {
namespace {

TEST(Fork, ChildHasTheHeapOfItsParent) {
  test::warm_up();
  void* const small = allocate(100);
  void* const large = allocate(300'000);
  void* const huge = allocate(size_t{40} << 20);
  test::fill(small, 100, 1);
  test::fill(large, 300'000, 2);
  test::fill(huge, size_t{40} << 20, 3);
  const int status = test::in_forked_child([&] {
    CHILD_CHECK(test::holds(small, 100, 1));
    CHILD_CHECK(test::holds(large, 300'000, 2));
    CHILD_CHECK(test::holds(huge, size_t{40} << 20, 3));
    deallocate(small);
    deallocate(large);
    deallocate(huge);
    for (size_t n = 1; n < 10'000'000; n *= 3) {
      void* const p = allocate(n);
      CHILD_CHECK(p != nullptr);
      test::fill(p, n, n);
      CHILD_CHECK(test::holds(p, n, n));
      deallocate(p);
    }
    heap.verify();
    current_mcache()->verify();
    return 0;
  });
  EXPECT_EQ(status, 0);
  // And the parent's is as it was.
  EXPECT_TRUE(test::holds(small, 100, 1));
  EXPECT_TRUE(test::holds(large, 300'000, 2));
  deallocate(small);
  deallocate(large);
  deallocate(huge);
  current_mcache()->verify();
  heap.verify();
}

TEST(Fork, ParentGoesOnWithAllLocksFree) {
  test::warm_up();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(test::in_forked_child([] { return 0; }), 0);
    EXPECT_FALSE(heap.lock().held_by_me());
    deallocate(allocate(100'000));
    test::in_thread([] { deallocate(allocate(5000)); });
  }
}

TEST(Fork, BeforeTheFirstBlock) {
  const int status = test::in_child([] {
    const int inner = test::in_forked_child([] {
      void* const p = allocate(100);
      CHILD_CHECK(p != nullptr);
      deallocate(p);
      return 0;
    });
    CHILD_CHECK(inner == 0);
    deallocate(allocate(100));
    return 0;
  });
  EXPECT_EQ(status, 0);
}

TEST(Fork, ChildOfAChild) {
  void* const p = allocate(1000);
  test::fill(p, 1000, 4);
  EXPECT_EQ(test::in_forked_child([&] {
              void* const q = allocate(2000);
              test::fill(q, 2000, 5);
              CHILD_CHECK(test::in_forked_child([&] {
                            CHILD_CHECK(test::holds(p, 1000, 4));
                            CHILD_CHECK(test::holds(q, 2000, 5));
                            deallocate(p);
                            deallocate(q);
                            return 0;
                          }) == 0);
              deallocate(q);
              return 0;
            }),
            0);
  deallocate(p);
}

TEST(Fork, ChildTakesOverTheBlocksOfOtherThreads) {
  // Their owners do not exist in the child; what they hold does.
  constexpr size_t kThreads = 3;
  std::vector<void*> blocks[kThreads];
  test::warm_up();
  test::Barrier ready(kThreads + 1);
  test::Barrier done(kThreads + 1);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 2000; ++i) {
        const size_t n = 1 + i * 7 % 3000;
        blocks[t].push_back(allocate(n));
        test::fill(blocks[t][i], n, t * 10'000 + i);
      }
      deallocate(allocate(500'000));  // cached by a thread that the child has not
      ready.wait();
      done.wait();
    });
  }
  ready.wait();
  const int status = test::in_forked_child([&] {
    CHILD_CHECK(Thread::count() == 1);
    const uint64_t used = test::used_bytes();
    for (size_t t = 0; t < kThreads; ++t) {
      for (size_t i = 0; i < blocks[t].size(); ++i) {
        CHILD_CHECK(test::holds(blocks[t][i], 1 + i * 7 % 3000, t * 10'000 + i));
      }
    }
    const Stats before = take_stats();
    for (auto& list : blocks) {
      for (void* p : list) deallocate(p);
    }
    test::drop_caches();
    const Stats after = take_stats();
    CHILD_CHECK(before.live_blocks - after.live_blocks == kThreads * 2000);
    // All of it went back: what the parent's threads kept for later, too.
    CHILD_CHECK(test::used_bytes() < used / 8);
    heap.verify();
    current_mcache()->verify();
    return 0;
  });
  EXPECT_EQ(status, 0);
  done.wait();
  for (std::thread& t : threads) t.join();
  for (auto& list : blocks) {
    for (void* p : list) deallocate(p);
  }
  test::drop_caches();
}

TEST(Fork, BlocksOnTheirWayArriveInTheChild) {
  // Freed by another thread to spans of ours, which have not been looked at.
  test::warm_up();
  const uint64_t before = test::used_bytes();
  std::vector<void*> blocks;
  for (int i = 0; i < 5000; ++i) blocks.push_back(allocate(64));
  test::in_thread([&] {
    for (void* p : blocks) deallocate(p);
  });
  // One more thread that stays, so that the child has something to put in order.
  test::Barrier ready(2);
  test::Barrier done(2);
  std::thread other([&] {
    deallocate(allocate(10));
    ready.wait();
    done.wait();
  });
  ready.wait();
  const int status = test::in_forked_child([&] {
    test::drop_caches();
    CHILD_CHECK(test::used_bytes() <= before + 65536);
    heap.verify();
    current_mcache()->verify();
    return 0;
  });
  EXPECT_EQ(status, 0);
  done.wait();
  other.join();
  test::drop_caches();
}

TEST(Fork, HollowSpansAreGoneInTheChild) {
  test::warm_up();
  std::vector<void*> blocks(40'000);
  for (void*& p : blocks) p = allocate(100);
  test::in_thread([&] {
    for (void* p : blocks) deallocate(p);
  });
  // Nothing has been collected here yet: this thread has done nothing since.
  const int status = test::in_forked_child([&] {
    current_mcache()->verify();
    const uint64_t used = test::used_bytes();
    if (used > 2'000'000) return 1;
    for (void*& p : blocks) test::fill(p = allocate(100), 100, 7);
    for (void* p : blocks) {
      if (!test::holds(p, 100, 7)) return 2;
      deallocate(p);
    }
    test::drop_caches();
    current_mcache()->verify();
    return test::used_bytes() > used + 100'000 ? 3 : 0;
  });
  EXPECT_EQ(status, 0);
  for (void*& p : blocks) p = allocate(100);
  for (void* p : blocks) deallocate(p);
}

TEST(Fork, FromAThreadWithoutARecord) {
  test::warm_up();
  void* const p = allocate(100);
  test::fill(p, 100, 6);
  test::in_thread([&] {
    EXPECT_EQ(test::in_forked_child([&] {
                CHILD_CHECK(test::holds(p, 100, 6));
                deallocate(p);
                deallocate(allocate(1000));
                test::drop_caches();
                heap.verify();
                return 0;
              }),
              0);
  });
  deallocate(p);
}

/// An orphan one of whose blocks was freed, while nobody has been told yet: as when its owner has just left it.
struct Orphan {
  explicit Orphan(size_t size) : c(size_class(size)), s(heap.alloc_small(c, cache)) {
    EXPECT_TRUE(s->carve());
    freed = pop(s);
    EXPECT_TRUE(s->has_free() || s->carve());
    kept = pop(s);
    test::fill(kept, size, size);
    s->store_link(freed, kNil);
    s->remote.store(RemoteChain::make(s->offset_of(freed), s->offset_of(freed), 1));
    mcentral[c].put(s, 2);
    token_holder.notify.push(s);
  }
  ~Orphan() {
    EXPECT_TRUE(mcentral[c].collect_remote(s));
    deallocate(kept);
    test::drop_caches();
    heap.flush(cache);
  }
  Orphan(const Orphan&) = delete;
  Orphan& operator=(const Orphan&) = delete;

  unsigned c;
  PageCache cache;
  Span* s;
  void* freed;
  void* kept;
  MCache token_holder;
};

TEST(Fork, BlocksOnTheirWayToASpanWithoutAnOwnerArriveInTheChild) {
  test::warm_up();
  // Spans with room, and one that is full but for these blocks.
  Orphan small(3000);
  Orphan large(kMaxSmallSize);
  const auto child = [&] {
    CHILD_CHECK(test::holds(small.kept, 3000, 3000));
    CHILD_CHECK(test::holds(large.kept, kMaxSmallSize, kMaxSmallSize));
    deallocate(small.kept);
    deallocate(large.kept);
    test::drop_caches();
    // The other blocks had come back before, so the spans are wholly free.
    CHILD_CHECK(pagemap::lookup(small.kept) == &null_span);
    CHILD_CHECK(pagemap::lookup(large.kept) == &null_span);
    heap.verify();
    return 0;
  };
  test::Barrier ready(2);
  test::Barrier done(2);
  std::thread other([&] {
    deallocate(allocate(10));
    ready.wait();
    done.wait();
  });
  ready.wait();
  EXPECT_EQ(test::in_forked_child(child), 0);
  test::in_thread([&] { EXPECT_EQ(test::in_forked_child(child), 0) << "from a thread without a record"; });
  done.wait();
  other.join();
}

TEST(Fork, TheLastBlockOfASpanWithoutAnOwnerMayBeOnItsWay) {
  test::warm_up();
  const unsigned c = size_class(5000);
  PageCache cache;
  Span* const s = heap.alloc_small(c, cache);
  ASSERT_TRUE(s->carve());
  void* const freed = pop(s);
  s->store_link(freed, kNil);
  s->remote.store(RemoteChain::make(s->offset_of(freed), s->offset_of(freed), 1));
  mcentral[c].put(s, 1);
  MCache token_holder;
  token_holder.notify.push(s);
  const auto child = [&] {
    test::drop_caches();
    CHILD_CHECK(pagemap::lookup(freed) == &null_span);
    heap.verify();
    return 0;
  };
  // The parent has a record, so a child of a thread without one is not alone.
  test::in_thread([&] { EXPECT_EQ(test::in_forked_child(child), 0); });
  EXPECT_TRUE(mcentral[c].collect_remote(s));
  heap.flush(cache);
}

TEST(Fork, InTheMiddleOfASlowPath) {
  // As in a signal handler above one: the child lives from the emergency area until it execs or exits.
  void* const p = allocate(100);
  test::fill(p, 100, 7);
  {
    SlowPath slow;
    LockGuard guard(heap.lock());
    const int status = test::in_forked_child([&] {
      CHILD_CHECK(heap.lock().held_by_me() || !heap.lock().try_lock_for(0));
      void* const q = allocate(100'000);
      CHILD_CHECK(q != nullptr);
      CHILD_CHECK(emergency::owns(q));
      CHILD_CHECK(test::holds(p, 100, 7));
      deallocate(q);
      return 0;
    });
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(heap.lock().held_by_me());
  }
  deallocate(p);
  deallocate(allocate(100'000));
}

TEST(Fork, InASlowPathWhileAnotherThreadHoldsALock) {
  // That lock is waited for a short time only, since its holder may be waiting for us.
  test::warm_up();
  test::Barrier locked(2);
  test::Barrier done(2);
  std::thread holder([&] {
    LockGuard guard(mcentral[5].lock());
    locked.wait();
    done.wait();
  });
  locked.wait();
  {
    SlowPath slow;
    EXPECT_EQ(test::in_forked_child([] {
                // Its holder does not exist here.
                CHILD_CHECK(mcentral[5].lock().try_lock_for(0));
                mcentral[5].lock().unlock();
                return 0;
              }),
              0);
  }
  done.wait();
  holder.join();
  LockGuard guard(mcentral[5].lock());
}

}  // namespace
}  // namespace tri
