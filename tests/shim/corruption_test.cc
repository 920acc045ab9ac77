// corruption_test.cc - Writing to freed memory never makes malloc return an address of the writer's choice.
#include <gtest/gtest.h>

#include <chrono>
#include <regex>
#include <string>

#include "support/process.h"

namespace tri_test {
namespace {

// A fresh seed each run, printed; the environment variable TRI_TEST_SEED repeats one.
std::string seed() {
  const char* given = getenv("TRI_TEST_SEED");
  std::string result =
      given != nullptr
          ? given
          : std::to_string(std::chrono::system_clock::now().time_since_epoch().count() % 1000000);
  printf("seed %s\n", result.c_str());
  return result;
}

void expect_block_or_abort(const char* kind) {
  Outcome child = run_probe("corruption", {kind, seed()});
  ASSERT_TRUE(child.exited(0)) << child.describe();
  int attempts = 0;
  int aborts = 0;
  ASSERT_EQ(sscanf(child.out.c_str(), "attempts %d aborts %d", &attempts, &aborts), 2) << child.out;
  EXPECT_GE(attempts, 1000);
  EXPECT_GT(aborts, 0) << "no corruption was ever noticed";
  // The block where it is known, else the list; a build that verifies itself may come upon the damage before malloc does.
  static const std::regex line(
      std::string("tri: (block 0x[0-9a-f]+ was written after it was freed \\(size class [0-9]+\\)"
                  "|free list at 0x[0-9a-f]+ was overwritten \\(size class [0-9]+\\)") +
      (TRI_TEST_VERIFY ? "|check failed: .* at .*" : "") + ") in corruption\\[[0-9]+\\]");
  auto messages = lines(child.err);
  EXPECT_EQ(messages.size(), static_cast<size_t>(aborts)) << "one line for each abort";
  for (const auto& m : messages) ASSERT_TRUE(std::regex_match(m, line)) << m;
}

TEST(Corruption, ChosenAddressesInEverySizeGiveAProperBlockOrTheMessage) {
  expect_block_or_abort("chosen");
}

TEST(Corruption, AThousandRandomWordsGiveAProperBlockOrTheMessage) {
  expect_block_or_abort("random");
}

}  // namespace
}  // namespace tri_test
