// stats_test.cc - Tests of alloc/stats.h: what it says is what a model of the heap holds.
#include "alloc/stats.h"

#include <algorithm>
#include <string>

#include "alloc/persistent.h"
#include "tests/alloc/support.h"

namespace tri {
namespace {

/// What take_stats() should have counted since `before`.
class Model {
 public:
  explicit Model(const Stats& before) : before_(before) {}

  void add(void* p, int64_t sign = 1) {
    const size_t bytes = usable_size(p);
    blocks_ += sign;
    bytes_ += sign * static_cast<int64_t>(bytes);
    if (bytes <= kMaxSmallSize) {
      class_blocks_[size_class(bytes)] += sign;
      return;
    }
    large_ += sign;
    large_bytes_ += sign * static_cast<int64_t>(bytes);
    if (pagemap::lookup(p)->kind != SpanKind::kHuge) return;
    huge_ += sign;
    huge_bytes_ += sign * static_cast<int64_t>(bytes);
  }
  void remove(void* p) { add(p, -1); }

  void check(const Stats& now) const {
    ASSERT_EQ(since(now.live_blocks, before_.live_blocks), blocks_);
    ASSERT_EQ(since(now.live_bytes, before_.live_bytes), bytes_);
    ASSERT_EQ(since(now.large_blocks, before_.large_blocks), large_);
    ASSERT_EQ(since(now.large_bytes, before_.large_bytes), large_bytes_);
    ASSERT_EQ(since(now.huge_blocks, before_.huge_blocks), huge_);
    ASSERT_EQ(since(now.huge_bytes, before_.huge_bytes), huge_bytes_);
    for (unsigned c = 0; c < kSizeClasses; ++c) {
      ASSERT_EQ(since(now.class_blocks[c], before_.class_blocks[c]), class_blocks_[c]) << class_size(c);
    }
  }

 private:
  static int64_t since(uint64_t now, uint64_t before) { return static_cast<int64_t>(now - before); }

  Stats before_;
  int64_t blocks_ = 0, bytes_ = 0, large_ = 0, large_bytes_ = 0, huge_ = 0, huge_bytes_ = 0;
  int64_t class_blocks_[kSizeClasses] = {};
};

class StatsTest : public ::testing::Test {
 protected:
  void SetUp() override { test::warm_up(); }
};

TEST_F(StatsTest, CountsOneBlockOfEachClass) {
  Model model(take_stats());
  std::vector<void*> blocks;
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    blocks.push_back(allocate(class_size(c)));
    model.add(blocks.back());
    model.check(take_stats());
  }
  for (void* p : blocks) {
    model.remove(p);
    deallocate(p);
    model.check(take_stats());
  }
}

TEST_F(StatsTest, EqualsAModelDuringRandomWork) {
  test::Random random;
  Model model(take_stats());
  std::vector<void*> blocks;
  for (size_t step = 0; step < test::rounds(40'000); ++step) {
    if (blocks.size() > 2000 || (!blocks.empty() && random.one_in(2))) {
      const size_t i = random.below(blocks.size());
      model.remove(blocks[i]);
      deallocate(blocks[i]);
      blocks[i] = blocks.back();
      blocks.pop_back();
    } else {
      const size_t n = random.one_in(100) ? random.size_up_to(size_t{64} << 20) : random.size_up_to(100'000);
      blocks.push_back(allocate(n));
      ASSERT_NE(blocks.back(), nullptr);
      model.add(blocks.back());
    }
    if (step % 500 == 0) model.check(take_stats());
    if (step % 5000 == 0) test::drop_caches();
  }
  for (void* p : blocks) {
    model.remove(p);
    deallocate(p);
  }
  model.check(take_stats());
}

TEST_F(StatsTest, CachedBlocksAreNotLive) {
  const Stats before = take_stats();
  void* const p = allocate(300'000);
  void* const q = allocate(100);
  deallocate(p);
  deallocate(q);
  const Stats after = take_stats();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.large_blocks, before.large_blocks);
  EXPECT_GE(after.cached_bytes, before.cached_bytes + 300'000);
  test::drop_caches();
  EXPECT_LT(take_stats().cached_bytes, after.cached_bytes);
}

TEST_F(StatsTest, WhatOthersFreedIsNotLive) {
  Model model(take_stats());
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(allocate(200));
  std::vector<void*> rest;
  test::in_thread([&] {
    for (void* p : blocks) deallocate(p);
  });
  // Posted to our spans, and not looked at by us yet.
  model.check(take_stats());
}

TEST_F(StatsTest, BlocksOfEndedThreadsAreLive) {
  Model model(take_stats());
  std::vector<void*> blocks;
  test::in_thread([&] {
    for (size_t i = 0; i < 1000; ++i) {
      blocks.push_back(allocate(300));
      if (i % 3 == 0) deallocate(allocate(700));
    }
  });
  for (void* p : blocks) model.add(p);
  model.check(take_stats());
  for (size_t i = 0; i < blocks.size(); ++i) {
    model.remove(blocks[i]);
    deallocate(blocks[i]);
    if (i % 100 == 0) {
      test::drop_caches();
      model.check(take_stats());
    }
  }
}

TEST_F(StatsTest, KnowsFreePagesAndMetadata) {
  void* const p = allocate(5'000'000);
  memset(p, 1, 5'000'000);
  deallocate(p);
  test::drop_caches();
  const Stats s = take_stats();
  EXPECT_EQ(s.free_bytes, heap.dirty_pages() * kPageSize);
  EXPECT_GE(s.free_bytes, 5'000'000U);
  EXPECT_EQ(s.metadata_bytes, persistent::mapped_bytes());
  scavenger::purge_all();
  EXPECT_EQ(take_stats().free_bytes, 0U);
}

// ---- texts ------------------------------------------------------------------------------------

std::string xml(const Stats& stats) {
  std::string out;
  write_xml(
      stats, [](void* to, const char* data, size_t n) { static_cast<std::string*>(to)->append(data, n); }, &out);
  return out;
}

/// Each element is closed in turn; -1 otherwise, else how many there are.
int well_formed_elements(const std::string& text) {
  std::vector<std::string> open;
  int count = 0;
  for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    const size_t end = text.find('>', at);
    if (end == std::string::npos) return -1;
    const std::string tag = text.substr(at + 1, end - at - 1);
    if (tag.front() == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return -1;
      open.pop_back();
      continue;
    }
    ++count;
    if (tag.back() != '/') open.push_back(tag.substr(0, tag.find(' ')));
  }
  return open.empty() ? count : -1;
}

TEST_F(StatsTest, XmlIsWellFormedAndHasEachClassInUse) {
  Stats stats;
  EXPECT_GT(well_formed_elements(xml(stats)), 5);
  stats.class_blocks[0] = 3;
  stats.class_blocks[kSizeClasses - 1] = 2;
  stats.live_blocks = 5;
  stats.live_bytes = 3 * 16 + 2 * 32768;
  const std::string text = xml(stats);
  EXPECT_GT(well_formed_elements(text), 7);
  EXPECT_EQ(text.rfind("<malloc version=\"1\">\n", 0), 0U);
  EXPECT_NE(text.find("<size class=\"16\" count=\"3\" total=\"48\"/>"), std::string::npos);
  EXPECT_NE(text.find("<size class=\"32768\" count=\"2\" total=\"65536\"/>"), std::string::npos);
  EXPECT_EQ(text.find("<size class=\"32\""), std::string::npos);
  EXPECT_NE(text.find("<total type=\"live\" count=\"5\" size=\"65584\"/>"), std::string::npos);
  for (uint64_t& n : stats.class_blocks) n = 1'000'000'000'000;
  EXPECT_EQ(well_formed_elements(xml(stats)), well_formed_elements(text) + static_cast<int>(kSizeClasses) - 2);
}

TEST_F(StatsTest, ReportHasNineLines) {
  Counters c;
  c.add_used(20 << 20, 0);
  c.add_used(0, 10 << 20);
  c.set_threads(2);
  c.committed_bytes.store(30 << 20);
  c.arena_bytes.store(64 << 20);
  Report report;
  report.version = "1.2";
  report.program = "prog";
  report.pid = 42;
  report.elapsed_ms = 2340;
  report.peak_rss_bytes = 40 << 20;
  report.rss_bytes = 35 << 20;
  report.has_live = true;
  report.stats.live_bytes = 12 << 20;
  report.stats.live_blocks = 41'000;
  report.stats.free_bytes = 5 << 20;
  Line out;
  print_report(report, c, out);
  const std::string text(out.data(), out.size());
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 9) << text;
  EXPECT_EQ(text.rfind("tri 1.2  prog[42]  exit 0  2.3 s  2 threads\n", 0), 0U) << text;
  EXPECT_NE(text.find("12 MiB in 41 k blocks"), std::string::npos) << text;
  EXPECT_NE(text.find("10 MiB in use, peak 20 MiB"), std::string::npos) << text;
  EXPECT_NE(text.find("none under tri"), std::string::npos) << text;
}

TEST_F(StatsTest, ReportFitsItsLineAtTheLargestValues) {
  Counters c;
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(&c);
  for (size_t i = 0; i < sizeof c / sizeof *words; ++i) words[i].store(uint64_t{1} << 62);
  Report report;
  report.program = "a-program-with-a-rather-long-name-that-nobody-would-type";
  report.pid = 4'194'304;
  report.elapsed_ms = report.cpu_user_ms = report.cpu_system_ms = uint64_t{1} << 40;
  report.minor_faults = report.major_faults = uint64_t{1} << 40;
  report.peak_rss_bytes = report.rss_bytes = uint64_t{1} << 47;
  report.has_live = true;
  report.stats.live_bytes = report.stats.large_bytes = uint64_t{1} << 47;
  report.stats.live_blocks = report.stats.large_blocks = uint64_t{1} << 40;
  report.stats.cached_bytes = report.stats.free_bytes = report.stats.metadata_bytes = uint64_t{1} << 45;
  report.children = 1'000'000;
  report.children_peak_bytes = uint64_t{1} << 47;
  Line out;
  print_report(report, c, out);
  EXPECT_EQ(std::count(out.data(), out.data() + out.size(), '\n'), 9);
  EXPECT_EQ(out.data()[out.size() - 1], '\n');
}

}  // namespace
}  // namespace tri
