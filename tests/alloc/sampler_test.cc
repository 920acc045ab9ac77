// sampler_test.cc - Sampled blocks are blocks like all others, and have their site for as long as they are in use.
#include "alloc/sampler.h"
#include "alloc/thread.h"

#include <dlfcn.h>

#include <set>

#include "alloc/modules.h"
#include "alloc/symbols.h"
#include "alloc/walk.h"
#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

using sampler::site_of;

[[gnu::noinline]] void* from_here(size_t n) {
  void* const p = allocate(n);
  asm volatile("" : : : "memory");  // no tail call
  return p;
}
[[gnu::noinline]] void* from_there(size_t n) {
  void* const p = allocate(n);
  asm volatile("# not the same code: GCC would make one function of the two" : : : "memory");
  return p;
}

/// Whether a frame of the site is in this function of the program's.
bool leads_through(sites::Site site, const char* function) {
  sites::Frame frames[sites::kMostFrames];
  const size_t n = sites::frames(site, frames);
  for (size_t i = 0; i < n; ++i) {
    const Origin* const file = Modules::origin(frames[i].origin);
    Symbol symbol;
    if (file != nullptr && find_symbol(*file, frames[i].offset, &symbol) && strstr(symbol.name, function) != nullptr) {
      return true;
    }
  }
  return false;
}

TEST(Sampler, OffItKnowsNothing) {
  void* const p = from_here(40);
  EXPECT_FALSE(sampler::is_on());
  EXPECT_EQ(site_of(p), 0U);
  EXPECT_FALSE(pagemap::lookup(p)->is_sampled);
  deallocate(p);
}

TEST(Sampler, OfTheFirstAllocationsEachHasItsSite) {
  deallocate(from_here(40));  // there is a span already
  ASSERT_TRUE(sampler::switch_on());
  std::vector<void*> here;
  std::vector<void*> there;
  for (size_t i = 0; i < 500; ++i) {
    here.push_back(from_here(1 + i * 37 % 1000));  // all by one way through the allocator
    there.push_back(from_there(1 + i * 37 % 300'000));
  }
  std::set<sites::Site> seen;
  for (void* const p : here) {
    seen.insert(site_of(p));
    ASSERT_NE(site_of(p), 0U);
  }
  EXPECT_EQ(seen.size(), 1U);
  EXPECT_TRUE(leads_through(*seen.begin(), "from_here"));
  EXPECT_FALSE(leads_through(*seen.begin(), "from_there"));
  for (void* const p : there) {
    EXPECT_NE(site_of(p), 0U);
    EXPECT_NE(site_of(p), *seen.begin());
  }
  EXPECT_TRUE(leads_through(site_of(there[0]), "from_there"));
  for (void* const p : here) deallocate(p);
  for (void* const p : there) deallocate(p);
}

TEST(Sampler, WhatIsAllocatedInThePlaceOfASampledBlockHasItsOwnSite) {
  ASSERT_TRUE(sampler::switch_on());
  for (int i = 0; i < 1000; ++i) {
    void* const p = from_here(100);
    const sites::Site site = site_of(p);
    deallocate(p);
    EXPECT_EQ(site_of(p), 0U);
    void* const q = from_there(100);
    EXPECT_NE(site_of(q), site);
    deallocate(q);
  }
}

TEST(Sampler, LaterASampleOfThem) {
  ASSERT_TRUE(sampler::switch_on());
  std::vector<void*> all;
  for (size_t i = 0; i < 2 * sampler::kFirst; ++i) all.push_back(from_here(64));
  size_t known = 0;
  for (int i = 0; i < 400'000; ++i) {
    void* const p = from_there(64);
    known += site_of(p) != 0;
    all.push_back(p);
  }
  EXPECT_GT(known, 0U);
  EXPECT_LT(known, 100'000U);
  // Large ones always.
  for (int i = 0; i < 100; ++i) {
    void* const p = from_here(sampler::kAlwaysBytes);
    EXPECT_TRUE(leads_through(site_of(p), "from_here"));
    deallocate(p);
  }
  for (void* const p : all) deallocate(p);
}

TEST(Sampler, OfTwoThatTakeTurnsBothAreSeen) {
  ASSERT_TRUE(sampler::switch_on());
  std::vector<void*> first;
  for (uint32_t i = 0; i < sampler::kFirst; ++i) first.push_back(from_here(64));
  size_t here = 0;
  size_t there = 0;
  // As many in a span as there are in a page: an even number.
  for (int i = 0; (here < 5 || there < 5) && i < 20'000'000; ++i) {
    first.push_back(i % 2 == 0 ? from_here(128) : from_there(128));
    (i % 2 == 0 ? here : there) += site_of(first.back()) != 0;
    if (first.size() == 100'000) {
      for (void* const p : first) deallocate(p);
      first.clear();
    }
  }
  EXPECT_GE(here, 5U);
  EXPECT_GE(there, 5U);
  for (void* const p : first) deallocate(p);
}

TEST(Sampler, ThreadsKeepTheContentsOfEachOthersBlocks) {
  ASSERT_TRUE(sampler::switch_on());
  std::vector<std::atomic<unsigned char*>> shared(512);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(test::seed()) + static_cast<unsigned>(t));
      for (size_t i = 0; i < test::rounds(60'000); ++i) {
        const size_t n = 32 + random() % (i % 100 == 0 ? 400'000 : 600);
        auto* const p = static_cast<unsigned char*>(i % 3 == 0 ? allocate_aligned(n, 64) : allocate(n));
        p[0] = p[n - 1] = static_cast<unsigned char>(n);
        memcpy(p + 1, &n, sizeof n);
        unsigned char* const old = shared[random() % shared.size()].exchange(p);
        if (old == nullptr) continue;
        size_t old_n = 0;
        memcpy(&old_n, old + 1, sizeof old_n);
        const auto byte = static_cast<unsigned char>(old_n);
        if (old_n < 32 || old_n > usable_size(old) || old[0] != byte || old[old_n - 1] != byte) {
          ++wrong;
          continue;
        }
        if (i % 7 == 0) {
          auto* const moved = static_cast<unsigned char*>(reallocate(old, old_n * 2));
          wrong += moved[old_n - 1] != byte;
          deallocate(moved);
        } else {
          deallocate(old);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  for (auto& p : shared) deallocate(p);
  heap.verify();
}

TEST(Sampler, WalkAndStatsCountThem) {
  ASSERT_TRUE(sampler::switch_on());
  std::set<void*> mine;
  for (int i = 0; i < 300; ++i) mine.insert(from_here(48));
  size_t found = 0;
  struct Arg {
    std::set<void*>* mine;
    size_t* found;
  } arg{&mine, &found};
  EXPECT_EQ(walk_blocks(
                [](void* p, size_t, void* a) {
                  *static_cast<Arg*>(a)->found += static_cast<Arg*>(a)->mine->count(p);
                  return 0;
                },
                &arg),
            0);
  EXPECT_EQ(found, mine.size());
  for (void* const p : mine) deallocate(p);
}

#if !defined __SANITIZE_THREAD__  // It ends children of processes with threads.
TEST(Sampler, AForkedChildGoesOn) {
  ASSERT_TRUE(sampler::switch_on());
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) deallocate(from_there(64));
  });
  for (int i = 0; i < 200; ++i) {
    void* const p = from_here(64);
    const sites::Site site = site_of(p);
    fork_prepare();
    const pid_t child = fork();
    if (child == 0) {
      fork_child();
      alarm(30);
      bool good = site_of(p) == site;
      deallocate(p);
      for (int k = 0; k < 100; ++k) {
        void* const q = from_there(64);
        memset(q, 1, 64);
        deallocate(q);
      }
      _exit(good ? 0 : 1);
    }
    fork_parent();
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << i;
    deallocate(p);
  }
  stop = true;
  other.join();
}
#endif

TEST(SamplerDeathTest, ASecondFreeIsFoundOut) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        (void)sampler::switch_on();
        void* const p = from_here(64);
        deallocate(p);
        deallocate(p);
      },
      "tri: .*free");
}

TEST(Sampler, WithoutMemoryItIsNotSwitchedOn) {
  test::warm_up();
  os::fail_after(0);
  const bool on = sampler::switch_on();
  os::fail_after(-1);
  EXPECT_FALSE(on);
  EXPECT_FALSE(sampler::is_on());
  EXPECT_TRUE(sampler::switch_on());
}

// ---- symbols

TEST(Symbols, OfThisProgramAndOfLibc) {
  ASSERT_TRUE(sampler::switch_on());
  Dl_info info{};
  Modules modules;
  ASSERT_EQ(modules.refresh(), 0);
  const auto look = [&](const void* code, Symbol* out) {
    const auto address = reinterpret_cast<uintptr_t>(code);
    const Module* const m = modules.find(address);
    return m != nullptr && find_symbol(*Modules::origin(m->origin), address - m->bias, out);
  };
  Symbol symbol;
  ASSERT_TRUE(look(reinterpret_cast<const char*>(&from_here) + 5, &symbol));
  EXPECT_NE(strstr(symbol.name, "from_here"), nullptr);
  EXPECT_EQ(symbol.offset, 5U);
  const void* const in_libc = dlsym(RTLD_DEFAULT, "qsort_r");
  ASSERT_NE(in_libc, nullptr);
  ASSERT_TRUE(look(in_libc, &symbol));
  EXPECT_NE(strstr(symbol.name, "qsort_r"), nullptr);
  dladdr(in_libc, &info);
}

TEST(Symbols, OfAFileThatIsGoneOrAnotherThereAreNone) {
  Symbol symbol;
  Origin file{"/nowhere/lib.so", {}, 0};
  EXPECT_FALSE(find_symbol(file, 100, &symbol));
  EXPECT_EQ(symbol.name[0], 0);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  file = {self.c_str(), {1, 2, 3}, 20};
  EXPECT_FALSE(find_symbol(file, 100, &symbol));
  file = {"/proc/self/maps", {}, 0};
  EXPECT_FALSE(find_symbol(file, 100, &symbol));
}

}  // namespace
}  // namespace tri
