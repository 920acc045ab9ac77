// scavenger_test.cc - Tests of alloc/scavenger.h, by a clock of our own.
#include "alloc/scavenger.h"

#include <dirent.h>

#include <cmath>

#include "tests/alloc/support.h"

namespace tri {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr size_t kMiB = 1024 * 1024;

TEST(Decay, HalvesWhatIsUnusedInEachHalfLife) {
  EXPECT_NEAR(static_cast<double>(decayed_pages(100'000, kSecond, kSecond)), 50'000, 1000);
  EXPECT_NEAR(static_cast<double>(decayed_pages(100'000, 2 * kSecond, kSecond)), 75'000, 1000);
  EXPECT_NEAR(static_cast<double>(decayed_pages(100'000, 5 * kSecond, kSecond)), 96'875, 1000);
  EXPECT_NEAR(static_cast<double>(decayed_pages(100'000, kSecond, 10 * kSecond)), 100'000 * (1 - std::pow(2, -0.1)),
              1000);
}

TEST(Decay, FollowsTheCurveToAHundredth) {
  for (double x = 0; x < 12; x += 0.01) {
    const auto elapsed = static_cast<int64_t>(x * kSecond);
    const auto given = static_cast<double>(decayed_pages(1'000'000, elapsed, kSecond));
    ASSERT_NEAR(given, 1e6 * (1 - std::pow(2, -x)), 1e4) << x;
  }
}

TEST(Decay, GivesNoMoreThanIsUnused) {
  test::Random random;
  for (int i = 0; i < 100'000; ++i) {
    const size_t unused = random.size_up_to(size_t{1} << 30);
    const auto elapsed = static_cast<int64_t>(random.below(100) * random.below(kSecond));
    const auto half_life = static_cast<int64_t>(random.size_up_to(100 * kSecond));
    ASSERT_LE(decayed_pages(unused, elapsed, half_life), unused);
  }
  EXPECT_EQ(decayed_pages(0, kSecond, kSecond), 0U);
}

TEST(Decay, EndsWithNothingLeft) {
  // In tenths of a half-life: all is gone after 30 of them, as few pages go at once.
  size_t left = 1'000'000;
  int steps = 0;
  while (left != 0) {
    left -= decayed_pages(left, kSecond / 10, kSecond);
    ASSERT_LT(++steps, 300);
  }
  EXPECT_GT(steps, 50);
}

TEST(Decay, SmallStepsGiveWhatOneLargeStepDoes) {
  size_t left = 1'000'000;
  for (int i = 0; i < 20; ++i) left -= decayed_pages(left, kSecond / 10, kSecond);
  EXPECT_NEAR(static_cast<double>(left), 250'000, 15'000);
}

TEST(Decay, GivesFewPagesAtOnce) { EXPECT_EQ(decayed_pages(10, 1, kSecond), 10U); }

TEST(Decay, TakesATimeFarAwayForEver) {
  EXPECT_EQ(decayed_pages(100'000, INT64_MAX, 1), 100'000U);
  EXPECT_EQ(decayed_pages(100'000, INT64_MAX, kSecond), 100'000U);
}

// ---- with the heap ----------------------------------------------------------------------------

std::atomic<int64_t> time_now{1000 * kSecond};

class ScavengerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    test::warm_up();
    scavenger::set_half_life(scavenger::kPurgeNever);
    scavenger::purge_all();
    time_now.fetch_add(1000 * kSecond);
    os::set_clock([] { return time_now.load(); });
  }
  void TearDown() override {
    os::set_clock(nullptr);
    scavenger::set_half_life(scavenger::kPurgeNever);
    scavenger::purge_all();
  }

  /// Uses this much memory, where it fits first, and leaves it free.
  static void make_dirty(size_t bytes) {
    std::vector<Span*> spans;
    for (size_t n = 0; n < bytes; n += kMiB) {
      spans.push_back(heap.alloc_large(kMiB, 16));
      ASSERT_NE(spans.back(), nullptr);
      memset(spans.back()->start, 1, kMiB);
    }
    for (Span* s : spans) heap.free(s);
    ASSERT_GE(heap.dirty_pages(), bytes / kPageSize);
  }
  static size_t dirty() { return heap.dirty_pages() * kPageSize; }
  /// As a program that frees spans now and then.
  static void poll_often() {
    for (int i = 0; i < 64; ++i) scavenger::poll();
  }
};

TEST_F(ScavengerTest, NeverMeansNever) {
  make_dirty(16 * kMiB);
  time_now.fetch_add(100 * kSecond);
  poll_often();
  EXPECT_GE(dirty(), 16 * kMiB);
}

TEST_F(ScavengerTest, NowMeansAtOnce) {
  scavenger::set_half_life(scavenger::kPurgeNow);
  EXPECT_EQ(scavenger::half_life(), scavenger::kPurgeNow);
  make_dirty(16 * kMiB);
  scavenger::poll();
  EXPECT_EQ(dirty(), 0U);
  // Down to what is not worth a system call.
  make_dirty(kMiB);
  scavenger::poll();
  EXPECT_LE(dirty(), 2 * kMiB);
}

TEST_F(ScavengerTest, UnusedMemoryGoesWithTime) {
  scavenger::set_half_life(kSecond);
  make_dirty(32 * kMiB);
  poll_often();  // the first look
  time_now.fetch_add(kSecond);
  poll_often();
  const size_t once = dirty();
  time_now.fetch_add(kSecond);
  poll_often();
  const size_t twice = dirty();
  EXPECT_LT(twice, 20 * kMiB);
  EXPECT_LE(twice, once);
  for (int i = 0; i < 20; ++i) {
    time_now.fetch_add(kSecond);
    poll_often();
  }
  EXPECT_LE(dirty(), 2 * kMiB);
}

TEST_F(ScavengerTest, NothingGoesWhileTimeStandsStill) {
  scavenger::set_half_life(kSecond);
  make_dirty(32 * kMiB);
  poll_often();
  time_now.fetch_add(kSecond);
  poll_often();
  const size_t before = dirty();
  for (int i = 0; i < 100; ++i) poll_often();
  EXPECT_EQ(dirty(), before);
}

TEST_F(ScavengerTest, MemoryThatIsUsedAllTheTimeStays) {
  scavenger::set_half_life(kSecond);
  make_dirty(32 * kMiB);
  poll_often();
  time_now.fetch_add(kSecond);
  poll_often();
  const uint64_t returned = counters->returned_bytes.load();
  const size_t kept = dirty();
  for (int i = 0; i < 20; ++i) {
    // Between any two looks all of it is in use for a moment.
    make_dirty(32 * kMiB);
    time_now.fetch_add(kSecond);
    poll_often();
  }
  EXPECT_LE(counters->returned_bytes.load() - returned, kept / 4);
}

TEST_F(ScavengerTest, PurgeAllGivesEverythingBack) {
  make_dirty(16 * kMiB);
  const size_t before = dirty();
  EXPECT_EQ(scavenger::purge_all(), before);
  EXPECT_EQ(dirty(), 0U);
  EXPECT_EQ(scavenger::purge_all(), 0U);
}

#if !TRI_TEST_SANITIZED  // The thread is unknown to the sanitizer's runtime.
/// Threads of this process, as the kernel sees them.
size_t kernel_threads() {
  size_t n = 0;
  DIR* const dir = opendir("/proc/self/task");
  if (dir == nullptr) return 0;
  while (const dirent* entry = readdir(dir)) n += entry->d_name[0] != '.' ? 1U : 0U;
  closedir(dir);
  return n;
}

TEST_F(ScavengerTest, ABackgroundThreadGivesMemoryBackAndEnds) {
  const size_t before = kernel_threads();
  scavenger::set_half_life(kSecond);
  make_dirty(16 * kMiB);
  // Two threads: then there is a background thread.
  test::Barrier ready(2);
  test::Barrier done(2);
  std::thread other([&] {
    deallocate(allocate(10));
    ready.wait();
    done.wait();
  });
  ready.wait();
  scavenger::poll();
  EXPECT_EQ(kernel_threads(), before + 2);
  // The clock runs fast; the ticks are real.
  for (int i = 0; i < 600'000 && heap.dirty_pages() > 256; ++i) {
    time_now.fetch_add(kSecond / 100);
    usleep(100);
  }
  EXPECT_LE(heap.dirty_pages(), 256U);
  for (int i = 0; i < 100'000 && kernel_threads() > before + 1; ++i) {
    time_now.fetch_add(kSecond / 100);
    usleep(100);
  }
  EXPECT_EQ(kernel_threads(), before + 1);
  done.wait();
  other.join();
}
#endif

}  // namespace
}  // namespace tri
