// hash_test.cc - What a map relies on: all bits of the key reach all bits of the hash, and the seed cannot be got around.
#include "sched/hash.h"

#include <string>
#include <unordered_set>

#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

/// Flips each bit of random inputs; each bit of the output should flip about every other time.
template <class Hash>
void check_avalanche(size_t bits, Hash&& hash) {
  constexpr size_t kTrials = 2000;
  test::Random random(bits);
  std::vector<unsigned char> input((bits + 7) / 8);
  for (size_t bit = 0; bit<bits; bit += bits> 256 ? 13 : 1) {
    size_t flips[64] = {};
    for (size_t trial = 0; trial < kTrials; ++trial) {
      for (auto& byte : input) byte = static_cast<unsigned char>(random.next());
      const uint64_t before = hash(input.data());
      input[bit / 8] = static_cast<unsigned char>(input[bit / 8] ^ (1U << bit % 8));
      const uint64_t changed = before ^ hash(input.data());
      for (size_t i = 0; i < 64; ++i) flips[i] += changed >> i & 1;
    }
    // 10 standard deviations of a fair coin are 224 of 2000.
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_NEAR(static_cast<double>(flips[i]), kTrials / 2.0, 260) << "input bit " << bit << ", output bit " << i;
    }
  }
}

TEST(Hash, EachBitOfAWordReachesEachBit) {
  check_avalanche(64, [](const void* p) { return hash_word(read8(p), 0x1234567890abcdef); });
}

TEST(Hash, EachBitOfBytesReachesEachBit) {
  for (const size_t n : {2U, 3U, 4U, 7U, 8U, 9U, 15U, 16U, 17U, 31U, 33U, 48U, 49U, 100U, 200U}) {
    check_avalanche(n * 8, [n](const void* p) { return hash_bytes(p, n, 0x1234567890abcdef); });
  }
}

TEST(Hash, BytesDiffer) {
  std::unordered_set<uint64_t> seen;
  for (unsigned i = 0; i < 256; ++i) {
    const auto byte = static_cast<unsigned char>(i);
    EXPECT_TRUE(seen.insert(hash_bytes(&byte, 1, 7)).second);
  }
}

TEST(Hash, EachBitOfTheSeedReachesEachBit) {
  check_avalanche(64, [](const void* p) { return hash_word(42, read8(p)); });
  check_avalanche(64, [](const void* p) { return hash_bytes("a string", 8, read8(p)); });
}

TEST(Hash, LengthsOfZeroesDiffer) {
  const std::string zeroes(300, '\0');
  std::unordered_set<uint64_t> seen;
  for (size_t n = 0; n <= zeroes.size(); ++n) EXPECT_TRUE(seen.insert(hash_bytes(zeroes.data(), n, 7)).second) << n;
}

TEST(Hash, NoKeyMakesTheProductZeroForEverySeed) {
  // Words that cancel the published constants: with a constant alone in a factor they would give one hash for all.
  for (const uint64_t constant : {kHash1, kHash2, kHash3, uint64_t{0}}) {
    for (const size_t n : {16U, 32U, 64U, 96U}) {
      std::unordered_set<uint64_t> seen;
      for (uint64_t other = 0; other < 100; ++other) {
        std::vector<uint64_t> words(n / 8, constant);
        words[1] = other;
        seen.insert(hash_bytes(words.data(), n, 0x9876543210fedcba));
        words.assign(n / 8, constant);
        words[n / 8 - 2] = other + 1000;
        seen.insert(hash_bytes(words.data(), n, 0x9876543210fedcba));
      }
      EXPECT_EQ(seen.size(), 200U) << n;
    }
  }
}

TEST(Hash, CountersAndStridesSpreadOverTheLowAndTheTopBits) {
  for (const unsigned shift : {0U, 3U, 12U, 20U, 32U, 40U, 48U}) {
    std::vector<unsigned> low(256);
    std::vector<unsigned> top(256);
    for (uint64_t i = 0; i < 65536; ++i) {
      const uint64_t h = hash_word(i << shift, 0x5555aaaa5555aaaa);
      ++low[h & 255];
      ++top[h >> 56];
    }
    for (size_t i = 0; i < 256; ++i) {
      EXPECT_NEAR(low[i], 256, 160) << shift;  // ten standard deviations
      EXPECT_NEAR(top[i], 256, 160) << shift;
    }
  }
}

}  // namespace
}  // namespace tri::sched
