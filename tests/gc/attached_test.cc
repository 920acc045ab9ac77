// attached_test.cc - Weak references, cleanups and pins follow their blocks.
#include "gc/attached.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "alloc/malloc.h"
#include "tests/alloc/support.h"
#include "tests/gc/collected_support.h"

#if !TRI_TEST_SANITIZED  // Their own records keep words that look like pointers to dead blocks; and under TSan nobody stops.

namespace tri::gc {
namespace {

using test::collect_now;
using test::forgotten;
using test::Hidden;
using test::is_there;

void* volatile root;
uintptr_t ran = 0;

void note(void* arg) { ran += reinterpret_cast<uintptr_t>(arg); }
void run_all() {
  Attached::Fn fn;
  void* arg;
  while (attached.take(&fn, &arg)) fn(arg);
}
void* number(uintptr_t n) { return reinterpret_cast<void*>(n); }

class AttachedTest : public ::testing::Test {
 protected:
  AttachedTest() { set_mode(Mode::kOff, 100); }
};

TEST_F(AttachedTest, AWeakReferenceIsEmptyOnceItsBlockIsCollected) {
  Weak* w = nullptr;
  forgotten([&] {
    root = allocate_collected(100, false);
    w = attached.new_weak(root);
    ASSERT_NE(w, nullptr);
    EXPECT_EQ(attached.get(w), root);
  });
  ASSERT_EQ(collect_now(), 0);
  forgotten([&] { EXPECT_EQ(attached.get(w), root); });
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  EXPECT_EQ(attached.get(w), nullptr);
  attached.free_weak(w);
}

TEST_F(AttachedTest, ACleanupRunsOnceAfterItsBlockAndDoesNotKeepIt) {
  Hidden h;
  forgotten([&] {
    root = allocate_collected(100, false);
    h = Hidden(root);
    EXPECT_EQ(attached.add_cleanup(root, note, number(1)), 0);
    EXPECT_EQ(attached.add_cleanup(root, note, number(10)), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  run_all();
  EXPECT_EQ(ran, 0U);
  EXPECT_EQ(attached.cleanups(), 2U);
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(h));
  run_all();
  EXPECT_EQ(ran, 11U);
  ASSERT_EQ(collect_now(), 0);
  run_all();
  EXPECT_EQ(ran, 11U);
  EXPECT_EQ(attached.cleanups(), 0U);
}

TEST_F(AttachedTest, WhatACleanupIsCalledWithIsKept) {
  Hidden h;
  forgotten([&] {
    void* const arg = allocate_collected(50, false);
    h = Hidden(arg);
    root = allocate_collected(100, false);
    EXPECT_EQ(attached.add_cleanup(
                  root, [](void* p) { ran += usable_size(p); }, arg),
              0);
  });
  for (int i = 0; i < 3; ++i) ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  root = nullptr;
  ASSERT_EQ(collect_now(), 0);
  // It waits for its turn, and its argument with it.
  ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  forgotten([] { run_all(); });
  EXPECT_EQ(ran, 64U);
  ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(h));
}

TEST_F(AttachedTest, FreeingByHandForgetsThem) {
  void* const p = allocate_collected(100, false);
  Weak* const w = attached.new_weak(p);
  EXPECT_EQ(attached.add_cleanup(p, note, number(1)), 0);
  deallocate(p);
  EXPECT_EQ(attached.get(w), nullptr);
  EXPECT_EQ(attached.cleanups(), 0U);
  attached.free_weak(w);
  ASSERT_EQ(collect_now(), 0);
  run_all();
  EXPECT_EQ(ran, 0U);
}

TEST_F(AttachedTest, ManyOfThemEachGoWithTheirOwnBlock) {
  constexpr size_t kBlocks = 5000;
  static void* kept[kBlocks];
  static Weak* weak[kBlocks];
  for (int round = 0; round < 3; ++round) {
    ran = 0;
    forgotten([] {
      for (size_t i = 0; i < kBlocks; ++i) {
        void* const p = allocate_collected(16 + i % 200, false);
        weak[i] = attached.new_weak(p);
        ASSERT_EQ(attached.add_cleanup(p, note, number(1)), 0);
        kept[i] = i % 2 == 0 ? p : nullptr;
      }
    });
    ASSERT_EQ(collect_now(), 0);
    size_t empty = 0, wrong = 0;
    for (size_t i = 0; i < kBlocks; ++i) {
      if (kept[i] != nullptr) {
        wrong += attached.get(weak[i]) != kept[i];
      } else {
        empty += attached.get(weak[i]) == nullptr;
      }
    }
    run_all();
    EXPECT_EQ(wrong, 0U);
    EXPECT_GE(empty, kBlocks / 2 - 20);
    EXPECT_EQ(ran, empty);
    for (void*& p : kept) p = nullptr;
    for (Weak* const w : weak) attached.free_weak(w);
    ASSERT_EQ(collect_now(), 0);
    run_all();
    EXPECT_GE(ran, kBlocks - 40);
  }
}

TEST_F(AttachedTest, PinsKeepAndNest) {
  Hidden h;
  forgotten([&] {
    void* const p = allocate_collected(100, false);
    h = Hidden(p);
    EXPECT_EQ(attached.pin(p), 0);
    EXPECT_EQ(attached.pin(p), 0);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  forgotten([&] { EXPECT_EQ(attached.unpin(h.get()), 0); });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_TRUE(is_there(h));
  forgotten([&] {
    EXPECT_EQ(attached.unpin(h.get()), 0);
    EXPECT_EQ(attached.unpin(h.get()), -EINVAL);
  });
  ASSERT_EQ(collect_now(), 0);
  EXPECT_FALSE(is_there(h));
}

TEST_F(AttachedTest, WhatIsNoBlockIsRefused) {
  int local = 0;
  void* const ours = allocate(100);
  void* const p = allocate_collected(100, false);
  for (void* const bad : {static_cast<void*>(&local), ours, static_cast<void*>(static_cast<char*>(p) + 16)}) {
    EXPECT_EQ(attached.add_cleanup(bad, note, nullptr), -EINVAL);
    EXPECT_EQ(attached.new_weak(bad), nullptr);
    EXPECT_EQ(attached.pin(bad), -EINVAL);
  }
  EXPECT_EQ(attached.add_cleanup(p, nullptr, nullptr), -EINVAL);
  os::fail_after(0);
  EXPECT_EQ(attached.add_cleanup(p, note, nullptr), -ENOMEM);
  EXPECT_EQ(attached.pin(p), -ENOMEM);
  os::fail_after(-1);
  EXPECT_EQ(attached.pin(p), 0);
  EXPECT_EQ(attached.unpin(p), 0);
  deallocate(ours);
  deallocate(p);
}

TEST_F(AttachedTest, WeakReferencesOfOtherThreadsNeverGiveADeadBlock) {
  set_mode(Mode::kOn, 50);
  struct Block {
    uint64_t tag;
    uint64_t inverse;
    void* padding[8];
  };
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      tri::test::Random random(t);
      Weak* weak[200] = {};
      Block* volatile strong[100] = {};
      while (!stop.load()) {
        Weak*& w = weak[random.below(200)];
        if (w != nullptr) {
          if (const auto* const b = static_cast<const Block*>(attached.get(w))) wrong += b->tag != ~b->inverse;
          attached.free_weak(w);
        }
        auto* const b = static_cast<Block*>(allocate_collected(sizeof(Block), false));
        wrong += b->tag != 0;
        b->tag = random.next();
        b->inverse = ~b->tag;
        w = attached.new_weak(b);
        strong[random.below(100)] = b;
        if (const Block* const s = strong[random.below(100)]) wrong += s->tag != ~s->inverse;
      }
      for (Weak* const w : weak) {
        if (w != nullptr) attached.free_weak(w);
      }
    });
  }
  for (size_t i = 0; i < tri::test::rounds(50); ++i) EXPECT_EQ(collect(), 0);
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0U);
}

}  // namespace
}  // namespace tri::gc

#endif
