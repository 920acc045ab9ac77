// planted_test.cc - The same program under leaks:on and under LeakSanitizer; and looks while libraries come and go.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "support/process.h"

namespace {

using tri_test::Outcome;
using tri_test::run_probe;

struct Lost {
  size_t blocks = 0;
  size_t bytes = 0;
  std::map<std::string, size_t> by_function;  // blocks, by what allocated them, or what they hang on
};

const std::string kLibraries = "LD_LIBRARY_PATH=" TRI_TEST_PROBES;

std::string planter(const std::string& stack) {
  std::smatch m;
  return std::regex_search(stack, m, std::regex("plant_[a-z_]+")) ? m.str() : "?";
}

template <class Fn>
void each_match(const std::string& text, const char* pattern, Fn&& fn) {
  const std::regex regex(pattern);
  for (std::sregex_iterator i(text.begin(), text.end(), regex), end; i != end; ++i) fn(*i);
}

Lost of_tri(const std::string& name) {
  const Outcome o = run_probe("planted", {name, "leaks-json"}, {"TRI=leaks:on", kLibraries});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  Lost lost;
  each_match(o.out, R"re("(?:direct|indirect)":\{"blocks":(\d+),"bytes":(\d+)\})re", [&](const std::smatch& m) {
    lost.blocks += std::stoul(m[1]);
    lost.bytes += std::stoul(m[2]);
  });
  std::map<std::string, std::string> sites;
  each_match(o.out, R"re(\{"site":(\d+),"frames":\[(.*)\]\})re",
             [&](const std::smatch& m) { sites[m[1]] = planter(m[2]); });
  each_match(o.out, R"re("indirect_blocks":(\d+),"indirect_bytes":\d+(?:,"site":(\d+))?)re",
             [&](const std::smatch& m) { lost.by_function[sites[m[2]]] += 1 + std::stoul(m[1]); });
  return lost;
}

Lost of_sanitizer(const std::string& name) {
  tri_test::Command command;
  command.preload = false;
  command.argv = {TRI_TEST_PROBES "/planted_lsan", name};
  command.env = {kLibraries, "LSAN_OPTIONS=exitcode=0:fast_unwind_on_malloc=0"};
  const Outcome o = tri_test::run(command);
  EXPECT_TRUE(o.exited(0)) << o.describe();
  Lost lost;
  each_match(o.err, R"re((\d+) byte\(s\) in (\d+) object\(s\) allocated from:\n((?:    [^\n]*\n)*))re",
             [&](const std::smatch& m) {
               lost.bytes += std::stoul(m[1]);
               lost.blocks += std::stoul(m[2]);
               lost.by_function[planter(m[3])] += std::stoul(m[2]);
             });
  return lost;
}

class Planted : public testing::TestWithParam<std::pair<const char*, size_t>> {};

TEST_P(Planted, IsFoundAsLeakSanitizerFindsIt) {
  const auto [name, blocks] = GetParam();
  const Lost ours = of_tri(name);
  EXPECT_EQ(ours.blocks, blocks);
  const Lost theirs = of_sanitizer(name);
  EXPECT_EQ(ours.blocks, theirs.blocks);
  EXPECT_EQ(ours.bytes, theirs.bytes);
  EXPECT_EQ(ours.by_function, theirs.by_function);
}

INSTANTIATE_TEST_SUITE_P(Cases, Planted,
                         testing::Values(std::pair{"main", 5}, std::pair{"small_and_large", 18}, std::pair{"thread", 7},
                                         std::pair{"threads", 24}, std::pair{"beside_a_thread", 4},
                                         std::pair{"lists", 100}, std::pair{"circles", 100},
                                         std::pair{"containers", 234}, std::pair{"dead_thread_local", 3},
                                         std::pair{"library", 6}, std::pair{"half_of_it", 10},
                                         std::pair{"none_in_globals", 0}, std::pair{"none_in_thread_local", 0},
                                         std::pair{"none_on_a_stack", 0}, std::pair{"none_in_another_thread_local", 0},
                                         std::pair{"none_inside_a_block", 0}, std::pair{"none_by_specific", 0}),
                         [](const auto& p) { return std::string(p.param.first); });

TEST(LooksBesideTheLoader, ThousandsOfTimesAndWhatIsGoneIsNamed) {
  const Outcome o = run_probe("looks", {TRI_TEST_PROBES "/libplanter.so", "4"}, {"TRI=leaks:on"});
  EXPECT_TRUE(o.exited(0)) << o.describe();
  std::smatch m;
  ASSERT_TRUE(std::regex_search(o.out, m, std::regex("(\\d+) looks, (\\d+) loads\n"))) << o.describe();
  RecordProperty("looks", m[1]);
  RecordProperty("loads", m[2]);
  EXPECT_GE(std::stoul(m[1]), 20U);
  // The library is gone by now.
  EXPECT_TRUE(std::regex_search(
      o.err,
      std::regex(R"re(: (59\d|600) blocks of 256 B; .*\n    plant_in_library\+0x\S+ \(/\S*/libplanter\.so\+)re")))
      << o.err;
}

}  // namespace
