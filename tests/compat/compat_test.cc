// compat_test.cc - libgc's functions do on our collector what its headers say.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include "tests/compat/forget.h"
#include "tests/compat/gc_names.h"

namespace {

using tri::test::forgotten;
using tri::test::Hidden;

void* volatile root;

[[gnu::noinline]] void collect() {
  tri::test::overwrite_stack();
  GC_gcollect();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] bool is_there(const Hidden& h) { return GC_base(h.get()) == h.get() && h.get() != nullptr; }

/// How many of so many blocks are still there after a collection; each is made by fn(i) and forgotten, if fn does not keep it.
template <class Fn>
size_t left_of(size_t count, Fn&& fn) {
  static Hidden blocks[1000];
  EXPECT_LE(count, 1000U);
  forgotten([&] {
    for (size_t i = 0; i < count; ++i) blocks[i] = Hidden(fn(i));
  });
  collect();
  size_t n = 0;
  for (size_t i = 0; i < count; ++i) n += is_there(blocks[i]);
  return n;
}
// Of blocks that are lost, a stale word may keep one or the other.
constexpr size_t kFew = 5;

bool is_zero(const void* p, size_t n) {
  const auto* const bytes = static_cast<const unsigned char*>(p);
  for (size_t i = 0; i < n; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

// ---- blocks

TEST(Compat, BlocksAreZeroedAndLostOnesAreCollected) {
  GC_init();
  EXPECT_EQ(GC_get_version() >> 8, 0x0802U);
  void* const p = GC_malloc(1000);
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(is_zero(p, 1000));
  EXPECT_LE(left_of(500, [](size_t i) { return GC_malloc(16 + i); }), kFew);
  EXPECT_LE(left_of(500, [](size_t i) { return GC_malloc_atomic(16 + i); }), kFew);
  EXPECT_LE(left_of(50, [](size_t) { return GC_malloc_ignore_off_page(200'000); }), kFew);
}

TEST(Compat, PointerFreeBlocksKeepNothingAndOthersDo) {
  void** const words = static_cast<void**>(GC_malloc(100 * sizeof(void*)));
  EXPECT_EQ(left_of(100, [&](size_t i) { return words[i] = GC_malloc(32); }), 100U);
  void** const data = static_cast<void**>(GC_malloc_atomic(100 * sizeof(void*)));
  EXPECT_LE(left_of(100, [&](size_t i) { return data[i] = GC_malloc(32); }), kFew);
}

TEST(Compat, APointerToTheEndKeepsABlockUnlessInteriorPointersAreOff) {
  void** const words = static_cast<void**>(GC_malloc(100 * sizeof(void*)));
  EXPECT_EQ(left_of(100,
                    [&](size_t i) {
                      void* const p = GC_malloc(64);
                      words[i] = static_cast<char*>(p) + 64;
                      return p;
                    }),
            100U);
  EXPECT_GT(GC_size(GC_malloc(64)), 64U);
  GC_set_all_interior_pointers(0);
  EXPECT_EQ(GC_all_interior_pointers, 0);
  EXPECT_EQ(GC_size(GC_malloc(64)), 64U);
}

TEST(Compat, UncollectableBlocksStayUntilTheyAreFreedAndKeepWhatTheyLeadTo) {
  static Hidden inner[800];
  static Hidden outer[800];
  EXPECT_EQ(left_of(800,
                    [&](size_t i) {
                      auto** const p = static_cast<void**>(i % 2 == 0 ? GC_malloc_uncollectable(40)
                                                                      : GC_malloc_uncollectable(40'000));
                      *p = GC_malloc(24);
                      inner[i] = Hidden(*p);
                      outer[i] = Hidden(p);
                      return p;
                    }),
            800U);
  size_t n = 0;
  for (const Hidden& h : inner) n += is_there(h);
  EXPECT_EQ(n, 800U);
  forgotten([&] {
    // Grown, they stay.
    for (size_t i = 0; i < 100; ++i) outer[i] = Hidden(GC_realloc(outer[i].get(), 90'000));
    for (size_t i = 100; i < 800; ++i) GC_free(outer[i].get());
  });
  collect();
  n = 0;
  for (const Hidden& h : outer) n += is_there(h);
  EXPECT_EQ(n, 100U);
  n = 0;
  for (const Hidden& h : inner) n += is_there(h);
  EXPECT_GE(n, 100U);
  EXPECT_LE(n, 100U + kFew);
  EXPECT_EQ(left_of(100, [](size_t) { return GC_malloc_atomic_uncollectable(40); }), 100U);
}

TEST(Compat, ReallocKeepsTheContentsTheKindAndZeroesTheRest) {
  auto* p = static_cast<char*>(GC_malloc(100));
  memset(p, 'a', 100);
  p = static_cast<char*>(GC_realloc(p, 60));
  EXPECT_EQ(p[59], 'a');
  p = static_cast<char*>(GC_realloc(p, 5000));
  EXPECT_EQ(p[59], 'a');
  EXPECT_TRUE(is_zero(p + 60, 4940));
  p = static_cast<char*>(GC_realloc(p, 200'000));
  EXPECT_TRUE(is_zero(p + 60, 199'940));
  EXPECT_EQ(GC_realloc(p, 0), nullptr);
  EXPECT_NE(GC_realloc(nullptr, 10), nullptr);
  void** const data = static_cast<void**>(GC_realloc(GC_malloc_atomic(8), 100 * sizeof(void*)));
  EXPECT_LE(left_of(100, [&](size_t i) { return data[i] = GC_malloc(32); }), kFew);
}

TEST(Compat, StringsAndAlignedBlocks) {
  EXPECT_STREQ(GC_strdup("word"), "word");
  EXPECT_STREQ(GC_strndup("word", 2), "wo");
  EXPECT_STREQ(GC_strndup("word", 20), "word");
  EXPECT_EQ(GC_strdup(nullptr), nullptr);
  EXPECT_EQ(wcscmp(GC_wcsdup(L"wide"), L"wide"), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(GC_memalign(4096, 10)) % 4096, 0U);
  void* p = nullptr;
  EXPECT_EQ(GC_posix_memalign(&p, 256, 10), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 256, 0U);
  EXPECT_EQ(GC_posix_memalign(&p, 24, 10), EINVAL);
}

TEST(Compat, ABlockIsKnownByAnyPointerIntoItAndOthersAreNot) {
  auto* const p = static_cast<char*>(GC_malloc(100));
  EXPECT_EQ(GC_base(p + 50), p);
  EXPECT_TRUE(GC_is_heap_ptr(p + 99));
  EXPECT_GE(GC_size(p), 100U);
  int local = 0;
  EXPECT_EQ(GC_base(&local), nullptr);
  void* const plain = malloc(50);
  EXPECT_EQ(GC_base(plain), nullptr);
  EXPECT_FALSE(GC_is_heap_ptr(plain));
  free(plain);
}

TEST(Compat, WhenThereIsNoMemoryTheProgramsFunctionDecides) {
  EXPECT_EQ(GC_malloc(SIZE_MAX), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(GC_malloc_atomic(size_t{1} << 62), nullptr);
  void* const mine = GC_malloc(16);
  root = mine;
  GC_set_oom_fn([](size_t) -> void* { return root; });
  EXPECT_EQ(GC_malloc(SIZE_MAX), mine);
  EXPECT_EQ(GC_get_oom_fn()(1), mine);
}

// ---- collections

TEST(Compat, CollectionsAreCountedDisabledAndAskedFor) {
  static int starts = 0;
  GC_set_start_callback([] { ++starts; });
  const GC_word before = GC_get_gc_no();
  GC_gcollect();
  EXPECT_EQ(GC_get_gc_no(), before + 1);
  EXPECT_EQ(starts, 1);
  GC_disable();
  EXPECT_TRUE(GC_is_disabled());
  GC_gcollect();
  EXPECT_EQ(GC_get_gc_no(), before + 1);
  GC_enable();
  EXPECT_FALSE(GC_is_disabled());
  EXPECT_EQ(GC_try_to_collect([] { return 1; }), 0);
  EXPECT_EQ(GC_try_to_collect([] { return 0; }), 1);
  EXPECT_EQ(GC_get_gc_no(), before + 2);
  GC_gcollect_and_unmap();
  EXPECT_EQ(GC_get_gc_no(), before + 3);
  EXPECT_EQ(GC_collect_a_little(), 0);
}

TEST(Compat, TheHeapsFiguresAreThoseOfTheCollector) {
  GC_gcollect();
  const size_t total = GC_get_total_bytes();
  for (int i = 0; i < 1000; ++i) root = GC_malloc_atomic(1000);
  EXPECT_GE(GC_get_total_bytes(), total + 1'000'000);
  GC_word heap, free_bytes, unmapped, recent, all;
  GC_get_heap_usage_safe(&heap, &free_bytes, &unmapped, &recent, &all);
  EXPECT_GE(heap, 1'000'000U);
  EXPECT_GE(heap, free_bytes);
  EXPECT_GE(all, recent);
  GC_get_heap_usage_safe(nullptr, nullptr, nullptr, nullptr, nullptr);
  EXPECT_EQ(GC_expand_hp(1 << 20), 1);
  EXPECT_EQ(GC_expand_hp(size_t{1} << 60), 0);
  GC_set_free_space_divisor(1);
  EXPECT_EQ(GC_get_free_space_divisor(), 1U);
}

// ---- finalizers and links

std::atomic<int> finalized{0};
std::atomic<bool> on_other_thread{false};
pthread_t main_thread;

void count(void* p, void* arg) {
  if (*static_cast<int*>(p) != 7) abort();
  if (!pthread_equal(pthread_self(), main_thread)) on_other_thread = true;
  finalized += static_cast<int>(reinterpret_cast<intptr_t>(arg));
}
void make_finalizable(int n, void (*add)(void*, GC_finalization_proc, void*, GC_finalization_proc*, void**)) {
  for (int i = 0; i < n; ++i) {
    auto* const p = static_cast<int*>(GC_malloc(40));
    *p = 7;
    add(p, count, reinterpret_cast<void*>(1), nullptr, nullptr);
  }
}

TEST(Compat, FinalizersRunWhereTheProgramCollectsOrAllocates) {
  main_thread = pthread_self();
  forgotten([] { make_finalizable(300, GC_register_finalizer_no_order); });
  collect();
  EXPECT_GE(finalized, 300 - static_cast<int>(kFew));
  forgotten([] { make_finalizable(300, GC_register_finalizer); });
  // Nobody asks for a collection.
  for (int i = 0; i < 3'000'000 && finalized < 550; ++i) root = GC_malloc(64);
  EXPECT_GE(finalized, 550);
  EXPECT_FALSE(on_other_thread);
}

TEST(Compat, OnDemandFinalizersWaitAndTheProgramIsNotified) {
  static int notices = 0;
  GC_set_finalize_on_demand(1);
  GC_set_finalizer_notifier([] { ++notices; });
  main_thread = pthread_self();
  forgotten([] { make_finalizable(300, GC_register_finalizer_ignore_self); });
  collect();
  EXPECT_EQ(finalized, 0);
  EXPECT_EQ(notices, 1);
  EXPECT_TRUE(GC_should_invoke_finalizers());
  const int n = GC_invoke_finalizers();
  EXPECT_GE(n, 300 - static_cast<int>(kFew));
  EXPECT_EQ(finalized, n);
  EXPECT_FALSE(GC_should_invoke_finalizers());
}

TEST(Compat, ReplacingAFinalizerGivesTheOldOne) {
  void* const p = GC_malloc(40);
  int a = 0, b = 0;
  GC_finalization_proc old = nullptr;
  void* old_arg = nullptr;
  GC_register_finalizer(p, count, &a, &old, &old_arg);
  EXPECT_EQ(old, nullptr);
  GC_register_finalizer_no_order(p, count, &b, &old, &old_arg);
  EXPECT_EQ(old, count);
  EXPECT_EQ(old_arg, &a);
  GC_register_finalizer(p, nullptr, nullptr, &old, &old_arg);
  EXPECT_EQ(old_arg, &b);
}

TEST(Compat, LinksAreClearedWhenTheirBlockIsLost) {
  auto** const words = static_cast<void**>(GC_malloc_atomic(200 * sizeof(void*)));
  void** const kept = static_cast<void**>(GC_malloc(100 * sizeof(void*)));
  forgotten([&] {
    for (size_t i = 0; i < 200; ++i) {
      words[i] = GC_malloc(32);
      ASSERT_EQ(GC_general_register_disappearing_link(&words[i], words[i]), 0);
      if (i < 100) kept[i] = words[i];
    }
    EXPECT_EQ(GC_general_register_disappearing_link(&words[0], words[0]), 1);
  });
  collect();
  size_t there = 0;
  for (size_t i = 0; i < 200; ++i) there += words[i] != nullptr;
  EXPECT_GE(there, 100U);
  EXPECT_LE(there, 100U + kFew);
  EXPECT_EQ(words[5], kept[5]);
  EXPECT_EQ(GC_unregister_disappearing_link(&words[5]), 1);
  EXPECT_EQ(GC_unregister_disappearing_link(&words[5]), 0);
  EXPECT_EQ(GC_move_disappearing_link(&words[6], &words[5]), 0);
  EXPECT_EQ(GC_move_disappearing_link(&words[6], &words[7]), 4);
  EXPECT_EQ(GC_move_disappearing_link(&words[7], &words[8]), 1);
  EXPECT_EQ(GC_call_with_alloc_lock([](void* p) { return *static_cast<void**>(p); }, &words[9]), kept[9]);
}

// ---- kinds

TEST(Compat, KindsOfTheProgramsOwnAreSearchedUnlessTheyHoldNoPointers) {
  const unsigned proc = GC_new_proc([](GC_word*, void* stack, void*, GC_word) { return stack; });
  const int marked = static_cast<int>(GC_new_kind(GC_new_free_list(), proc << 2 | 2, 0, 1));
  const int plain = static_cast<int>(GC_new_kind(GC_new_free_list(), 0, 0, 1));
  void** const words = static_cast<void**>(GC_generic_malloc(100 * sizeof(void*), marked));
  EXPECT_EQ(left_of(100, [&](size_t i) { return words[i] = GC_generic_malloc(32, marked); }), 100U);
  void** const data = static_cast<void**>(GC_generic_malloc(100 * sizeof(void*), plain));
  EXPECT_LE(left_of(100, [&](size_t i) { return data[i] = GC_malloc(32); }), kFew);
  EXPECT_EQ(left_of(100, [](size_t) { return GC_generic_malloc(32, 2); }), 100U);
  EXPECT_TRUE(is_zero(GC_generic_malloc(32, marked), 32));
  EXPECT_LT(GC_least_plausible_heap_addr, words);
  EXPECT_GT(GC_greatest_plausible_heap_addr, words);
}

TEST(Compat, ListsOfBlocksAreLinkedByTheirFirstWords) {
  for (const size_t n : {size_t{8}, size_t{16}, size_t{100}, size_t{5000}}) {
    void* list = nullptr;
    GC_generic_malloc_many(n, 1, &list);
    for (void* const first : {list, GC_malloc_many(n)}) {
      size_t count = 0;
      for (void* p = first; p != nullptr; p = *static_cast<void**>(p), ++count) {
        ASSERT_EQ(GC_base(p), p);
        EXPECT_TRUE(is_zero(static_cast<char*>(p) + 8, n - 8));
      }
      EXPECT_EQ(count, n >= 4096 ? 1U : 4096 / (n < 16 ? 16 : n));
    }
  }
}

TEST(Compat, TypedBlocksKeepWhatTheirPointersLeadTo) {
  const GC_word bits = 1 << 1;
  const GC_word descriptor = GC_make_descriptor(&bits, 2);
  const GC_word none = 0;
  EXPECT_EQ(GC_make_descriptor(&none, 2), 0U);
  struct Pair {
    uintptr_t number;
    void* pointer;
  };
  Pair** const pairs = static_cast<Pair**>(GC_malloc(100 * sizeof(void*)));
  EXPECT_EQ(left_of(100,
                    [&](size_t i) {
                      pairs[i] = static_cast<Pair*>(GC_malloc_explicitly_typed(sizeof(Pair), descriptor));
                      return pairs[i]->pointer = GC_malloc(32);
                    }),
            100U);
  void** const data = static_cast<void**>(GC_malloc_explicitly_typed(100 * sizeof(void*), 0));
  EXPECT_LE(left_of(100, [&](size_t i) { return data[i] = GC_malloc(32); }), kFew);
  EXPECT_EQ(GC_calloc_explicitly_typed(SIZE_MAX / 2, 4, descriptor), nullptr);
}

// ---- threads and roots

TEST(Compat, ThreadsNeedNotRegisterAndAreAnsweredAsIfTheyDid) {
  GC_allow_register_threads();
  GC_stack_base base;
  EXPECT_EQ(GC_register_my_thread(&base), 1);
  std::thread([] {
    EXPECT_FALSE(GC_thread_is_registered());
    GC_stack_base mine;
    ASSERT_EQ(GC_get_stack_base(&mine), 0);
    EXPECT_GT(mine.mem_base, static_cast<void*>(&mine));
    EXPECT_EQ(GC_register_my_thread(&mine), 0);
    EXPECT_EQ(GC_register_my_thread(&mine), 1);
    EXPECT_EQ(GC_unregister_my_thread(), 0);
    EXPECT_FALSE(GC_thread_is_registered());
  }).join();
  pthread_t t;
  ASSERT_EQ(GC_pthread_create(
                &t, nullptr,
                [](void* arg) -> void* {
                  EXPECT_TRUE(GC_thread_is_registered());
                  // On this stack alone.
                  void* volatile words[50];
                  Hidden hidden[50];
                  for (size_t i = 0; i < 50; ++i) {
                    words[i] = GC_malloc(48);
                    hidden[i] = Hidden(words[i]);
                  }
                  GC_gcollect();
                  size_t n = 0;
                  for (const Hidden& h : hidden) n += is_there(h);
                  EXPECT_EQ(n, 50U);
                  return arg;
                },
                &base),
            0);
  void* result;
  EXPECT_EQ(GC_pthread_join(t, &result), 0);
  EXPECT_EQ(result, &base);
  EXPECT_NE(GC_stackbottom, nullptr);
  EXPECT_GT(GC_stackbottom, static_cast<void*>(&base));
}

TEST(Compat, ABlockedThreadsStackIsSearchedAndTheStopSignalStaysOpen) {
  int spot;
  EXPECT_EQ(GC_do_blocking([](void* p) { return GC_call_with_gc_active([](void* q) { return q; }, p); }, &spot),
            static_cast<void*>(&spot));
  EXPECT_EQ(
      GC_call_with_stack_base([](GC_stack_base* b, void* p) { return b->mem_base != nullptr ? p : nullptr; }, &spot),
      &spot);
  GC_gcollect();
  const int stop = GC_get_suspend_signal();
  ASSERT_GT(stop, 0);
  sigset_t all, now;
  sigfillset(&all);
  EXPECT_EQ(GC_pthread_sigmask(SIG_SETMASK, &all, nullptr), 0);
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_FALSE(sigismember(&now, stop));
  EXPECT_TRUE(sigismember(&now, SIGUSR1));
}

TEST(Compat, RootsMayBeAddedAndTakenBack) {
  static void* words[10];
  GC_add_roots(words, words + 10);
  GC_add_roots(words, words + 10);
  GC_add_roots(words + 5, words + 5);
  GC_gcollect();
  GC_remove_roots(words, words + 10);
  GC_add_roots(words, words + 10);
  GC_clear_roots();
  GC_gcollect();
}

TEST(Compat, ManyThreadsAllocateFinalizeAndLinkWhileCollectionsGoOn) {
  std::atomic<bool> stop{false};
  std::atomic<int> ran{0};
  static std::atomic<int>* counter;
  counter = &ran;
  auto work = [&stop](unsigned seed) {
    while (!stop) {
      void** list = nullptr;
      for (int i = 0; i < 200; ++i) {
        auto** const node = static_cast<void**>(GC_malloc(16 + seed % 7 * 16));
        seed = seed * 1664525 + 1013904223;
        node[0] = list;
        node[1] = reinterpret_cast<void*>(uintptr_t{0x5a5a5a5a});
        list = node;
        if (i % 50 == 0) {
          GC_register_finalizer_no_order(
              node,
              [](void* p, void*) {
                if (static_cast<void**>(p)[1] != reinterpret_cast<void*>(uintptr_t{0x5a5a5a5a})) abort();
                ++*counter;
              },
              nullptr, nullptr, nullptr);
          auto** const weak = static_cast<void**>(GC_malloc_atomic(sizeof(void*)));
          *weak = node;
          GC_general_register_disappearing_link(weak, node);
        }
        if (i % 40 == 0) GC_free(GC_malloc_uncollectable(100));
      }
      for (void** n = list; n != nullptr; n = static_cast<void**>(n[0])) {
        if (n[1] != reinterpret_cast<void*>(uintptr_t{0x5a5a5a5a})) abort();
      }
    }
  };
  std::thread threads[3] = {std::thread(work, 1), std::thread(work, 2), std::thread(work, 3)};
  const GC_word before = GC_get_gc_no();
  for (int i = 0; i < 40; ++i) {
    GC_gcollect();
    usleep(1000);
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_GE(GC_get_gc_no(), before + 40);
  GC_gcollect();
  EXPECT_GT(ran, 0);
}

TEST(Compat, AForkedChildCollectsAndFinalizes) {
  forgotten([] { make_finalizable(100, GC_register_finalizer_no_order); });
  main_thread = pthread_self();
  const pid_t child = fork();
  if (child == 0) {
    collect();
    _exit(finalized >= 90 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Compat, DebugNamesServeTheSameBlocks) {
  void* const p = GC_debug_malloc(100, "file.c", 1);
  EXPECT_EQ(GC_base(p), p);
  EXPECT_EQ(GC_get_debug_header_size(), 0U);
  GC_debug_free(p);
}

}  // namespace
