// word_filter_test.cc - Whatever the width, the words found are those of the range.
#include "word_filter.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/alloc/support.h"

namespace tri::gc {
namespace {

void compare(WordFilter filter) {
  test::Random random;
  for (int round = 0; round < 2000; ++round) {
    const uintptr_t begin = random.next() >> random.below(60);
    const size_t bytes = random.next() >> random.below(60);
    std::vector<uintptr_t> words(65);
    for (uintptr_t& w : words) {
      switch (random.below(4)) {
        case 0:
          w = random.next() >> random.below(64);
          break;
        case 1:
          w = begin + random.next() % (bytes + 1);
          break;
        case 2:
          w = begin + bytes - 1 + random.below(3);
          break;
        default:
          w = begin - 1 + random.below(3);
      }
    }
    const size_t at = random.below(2);  // aligned to a word alone
    uint64_t expected = 0;
    for (size_t i = 0; i < 64; ++i) expected |= uint64_t{words[at + i] - begin < bytes} << i;
    ASSERT_EQ(filter(&words[at], begin, bytes), expected);
  }
}

TEST(WordFilter, FindsTheWordsOfARange) {
  // The processor that runs this decides which of them there are; the narrower ones are there as well then.
  if (__builtin_cpu_supports("avx2")) compare(filter_by_256);
  if (__builtin_cpu_supports("avx512f")) compare(filter_by_512);
}

TEST(WordFilter, IsTheWidestThatThereIs) {
  const WordFilter chosen = choose_word_filter();
  const WordFilter widest = __builtin_cpu_supports("avx512f") ? filter_by_512
                            : __builtin_cpu_supports("avx2")  ? filter_by_256
                                                              : nullptr;
  EXPECT_EQ(chosen, widest);
}

}  // namespace
}  // namespace tri::gc
