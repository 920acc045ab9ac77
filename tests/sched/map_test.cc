// map_test.cc - Maps one rule at a time.
#include "sched/map.h"

#include <cerrno>
#include <limits>
#include <set>
#include <string>
#include <unordered_map>

#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

MapType words(size_t value_size = 8) { return MapType{KeyKind::kBytes, 8, value_size, nullptr, nullptr}; }

void set(Map* m, uint64_t key, uint64_t value) { ASSERT_EQ(map_set(m, &key, &value), 0); }
uint64_t get(Map* m, uint64_t key) {
  const void* const p = map_find(m, &key);
  return p == nullptr ? UINT64_MAX : *static_cast<const uint64_t*>(p);
}
int erase(Map* m, uint64_t key) { return map_take(m, &key, nullptr, nullptr); }

/// The keys that an iteration shows; fails when one comes twice.
std::set<uint64_t> keys_of(Map* m) {
  std::set<uint64_t> keys;
  MapIter it;
  map_iter_begin(&it, m);
  while (map_iter_next(&it)) {
    EXPECT_TRUE(keys.insert(*static_cast<const uint64_t*>(it.key)).second);
  }
  return keys;
}

/// Puts keys in until the map is in the middle of a growth; the number of keys.
uint64_t fill_until_growing(Map* m, size_t old_buckets) {
  uint64_t n = 0;
  while (map_shape(m).old_buckets != old_buckets) {
    set(m, n, n);
    ++n;
  }
  return n;
}

TEST(Map, NullIsAnEmptyMapThatCannotBeWritten) {
  const uint64_t key = 1;
  const void* stored = &key;
  EXPECT_EQ(map_find(nullptr, &key), nullptr);
  EXPECT_EQ(map_find_entry(nullptr, &key, &stored), nullptr);
  EXPECT_EQ(stored, nullptr);
  EXPECT_EQ(erase(nullptr, 1), -ENOENT);
  map_clear(nullptr);
  map_destroy(nullptr);
  EXPECT_TRUE(keys_of(nullptr).empty());
}

TEST(Map, FindsWhatWasStoredAndNothingElse) {
  Map* const m = map_create(words(), 0);
  for (uint64_t i = 0; i < 10'000; ++i) {
    ASSERT_EQ(get(m, i), UINT64_MAX);
    set(m, i, i * i);
    if (i % 97 == 0) map_verify(m);
  }
  for (uint64_t i = 0; i < 10'000; ++i) ASSERT_EQ(get(m, i), i * i);
  EXPECT_EQ(m->count, 10'000U);
  EXPECT_EQ(get(m, 10'000), UINT64_MAX);
  set(m, 7, 1);
  EXPECT_EQ(get(m, 7), 1U);
  EXPECT_EQ(m->count, 10'000U);
  map_destroy(m);
}

TEST(Map, PutGivesZeroOnceAndTheSamePlaceAfter) {
  Map* const m = map_create(words(40), 0);
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t i = 0; i < 500; ++i) {
      bool fresh;
      auto* const value = static_cast<unsigned char*>(map_put(m, &i, &fresh));
      ASSERT_NE(value, nullptr);
      ASSERT_EQ(fresh, round != 1);
      ASSERT_TRUE(round == 1 || test::is_zero(value, 40));
      memset(value, 0xee, 40);
    }
    // What a slot held must not show through when it is used again.
    if (round == 1) {
      for (uint64_t i = 0; i < 500; ++i) ASSERT_EQ(erase(m, i), 0);
    }
  }
  map_destroy(m);
}

TEST(Map, EightEntriesNeedOneBucketAndTheNinthDoubles) {
  Map* const m = map_create(words(), 0);
  EXPECT_EQ(map_shape(m).buckets, 0U);
  for (uint64_t i = 0; i < 8; ++i) set(m, i, i);
  EXPECT_EQ(map_shape(m).buckets, 1U);
  set(m, 8, 8);
  EXPECT_EQ(map_shape(m).buckets, 2U);
  map_destroy(m);
}

TEST(Map, DoublesAboveSixAndAHalfEntriesABucket) {
  Map* const m = map_create(words(), 0);
  size_t buckets = 1;
  for (uint64_t i = 0; i < 50'000; ++i) {
    set(m, i, i);
    const size_t count = i + 1;
    while (count > 8 && count * 2 > buckets * 13) buckets *= 2;
    ASSERT_EQ(map_shape(m).buckets, buckets) << count;
  }
  map_destroy(m);
}

TEST(Map, AHintMakesRoomAtOnce) {
  Map* const m = map_create(words(), 10'000);
  const size_t buckets = map_shape(m).buckets;
  EXPECT_GE(buckets * 13 / 2, 10'000U);
  for (uint64_t i = 0; i < 10'000; ++i) set(m, i, i);
  EXPECT_EQ(map_shape(m).buckets, buckets);
  map_verify(m);
  map_destroy(m);
  EXPECT_EQ(map_create(words(), SIZE_MAX), nullptr);
  EXPECT_EQ(map_create(words(), SIZE_MAX / 64), nullptr);
}

TEST(Map, AWriteMovesTwoBucketsAtMost) {
  Map* const m = map_create(words(), 0);
  uint64_t n = fill_until_growing(m, 1024);
  const size_t at_start = m->moved;
  EXPECT_LE(at_start, 2U);
  size_t writes = 0;
  while (map_shape(m).old_buckets != 0) {
    set(m, n++, 0);
    ++writes;
  }
  // Two a write, some of them moved before; and long before the next growth is due.
  EXPECT_GE(writes, 1024U / 2 - 2);
  EXPECT_LE(writes, 1024U);
  map_verify(m);
  map_destroy(m);
}

TEST(Map, ALargeOldTableGoesPieceByPieceBeforeTheNextGrowth) {
  Map* const m = map_create(words(), 0);
  uint64_t n = fill_until_growing(m, 32'768);
  while (m->dying == nullptr) {
    set(m, n, n);
    ++n;
  }
  const size_t at_first = usable_size(m->dying);
  EXPECT_GE(at_first, 32'768U * 144);
  size_t writes = 0;
  size_t last = at_first;
  for (; m->dying != nullptr; ++writes) {
    const size_t size = usable_size(m->dying);
    EXPECT_LE(last - size, 600'000U);
    last = size;
    set(m, n, n);
    ++n;
  }
  EXPECT_GT(writes, 300U);
  EXPECT_LT(writes, 20'000U);
  map_verify(m);
  EXPECT_EQ(keys_of(m).size(), n);
  map_destroy(m);
}

TEST(Map, DeletingAndAddingPacksTheBucketsInsteadOfDoublingThem) {
  Map* const m = map_create(words(), 0);
  test::Random random(1);
  constexpr uint64_t kLive = 3000;
  std::vector<uint64_t> live;
  for (uint64_t i = 0; i < kLive; ++i) {
    live.push_back(random.next());
    set(m, live.back(), 0);
  }
  const size_t buckets = map_shape(m).buckets;
  bool packed = false;
  // First in, first out leaves holes all over the chains.
  for (uint64_t i = 0; i < 200'000; ++i) {
    uint64_t& slot = live[random.below(kLive)];
    ASSERT_EQ(erase(m, slot), 0);
    slot = random.next();
    set(m, slot, 0);
    const MapShape shape = map_shape(m);
    packed = packed || shape.old_buckets == shape.buckets;
    ASSERT_LE(shape.overflow, shape.buckets);
  }
  EXPECT_EQ(map_shape(m).buckets, buckets);
  map_verify(m);
  map_destroy(m);
}

uint64_t same_hash(const void*, uint64_t) { return 42; }
uint64_t own_hash(const void* key, uint64_t) { return *static_cast<const uint64_t*>(key); }
bool equal_words(const void* a, const void* b) { return memcmp(a, b, 8) == 0; }

TEST(Map, AHashThatIsAlwaysTheSameStillGivesAMap) {
  Map* const m = map_create(MapType{KeyKind::kCustom, 8, 8, same_hash, equal_words}, 0);
  for (uint64_t i = 0; i < 1000; ++i) set(m, i, i + 1);
  map_verify(m);
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(get(m, i), i + 1);
  EXPECT_EQ(keys_of(m).size(), 1000U);
  for (uint64_t i = 0; i < 1000; i += 2) ASSERT_EQ(erase(m, i), 0);
  map_verify(m);
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(get(m, i), i % 2 == 0 ? UINT64_MAX : i + 1);
  map_destroy(m);
}

TEST(Map, EmptyingALongChainOverAndOverEndsInTheSamePacking) {
  Map* const m = map_create(MapType{KeyKind::kCustom, 8, 8, same_hash, equal_words}, 0);
  // One bucket: the overflow of a chain of many buckets exceeds the number of buckets, so it is packed at the same size.
  for (int round = 0; round < 50; ++round) {
    for (uint64_t i = 0; i < 100; ++i) set(m, i, i);
    map_verify(m);
    for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(erase(m, i), 0);
    map_verify(m);
  }
  EXPECT_LE(map_shape(m).overflow, 32U);
  map_destroy(m);
}

TEST(Map, AHashThatReturnsItsKeyIsMixed) {
  Map* const m = map_create(MapType{KeyKind::kCustom, 8, 8, own_hash, equal_words}, 0);
  for (uint64_t i = 0; i < 20'000; ++i) set(m, i << 40, i);
  map_verify(m);
  EXPECT_LE(map_shape(m).overflow, map_shape(m).buckets / 2);
  map_destroy(m);
}

TEST(Map, StringsAreComparedByWhatTheyPointTo) {
  Map* const m = map_create(MapType{KeyKind::kString, sizeof(char*), 4, nullptr, nullptr}, 0);
  std::vector<std::string> names;
  for (int i = 0; i < 2000; ++i) names.push_back(std::string(static_cast<size_t>(i % 70), 'x') + std::to_string(i));
  for (int i = 0; i < 2000; ++i) {
    const char* const key = names[static_cast<size_t>(i)].c_str();
    ASSERT_EQ(map_set(m, &key, &i), 0);
  }
  for (int i = 0; i < 2000; ++i) {
    const std::string copy = names[static_cast<size_t>(i)];
    const char* const key = copy.c_str();
    const void* stored;
    const void* const value = map_find_entry(m, &key, &stored);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*static_cast<const int*>(value), i);
    EXPECT_EQ(*static_cast<const char* const*>(stored), names[static_cast<size_t>(i)].c_str());
    // Storing again keeps the first key, which its owner will free.
    ASSERT_EQ(map_set(m, &key, &i), 0);
    map_find_entry(m, &key, &stored);
    EXPECT_EQ(*static_cast<const char* const*>(stored), names[static_cast<size_t>(i)].c_str());
  }
  map_verify(m);
  map_destroy(m);
}

TEST(Map, SlicesOfBytesMayHoldZeroes) {
  Map* const m = map_create(MapType{KeyKind::kSlice, sizeof(KeySlice), 4, nullptr, nullptr}, 0);
  const char zeroes[100] = {};
  for (int i = 0; i < 100; ++i) {
    const KeySlice key{zeroes, static_cast<size_t>(i)};
    ASSERT_EQ(map_set(m, &key, &i), 0);
  }
  const char others[100] = {};
  for (int i = 0; i < 100; ++i) {
    const KeySlice key{others, static_cast<size_t>(i)};
    const void* const value = map_find(m, &key);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*static_cast<const int*>(value), i);
  }
  const KeySlice nothing{nullptr, 0};
  EXPECT_NE(map_find(m, &nothing), nullptr);
  map_destroy(m);
}

TEST(Map, SizesThatCannotBeAreRefused) {
  EXPECT_EQ(map_create(MapType{KeyKind::kBytes, SIZE_MAX, 8, nullptr, nullptr}, 0), nullptr);
  EXPECT_EQ(map_create(MapType{KeyKind::kBytes, 8, SIZE_MAX, nullptr, nullptr}, 0), nullptr);
  EXPECT_EQ(map_create(MapType{KeyKind::kString, 3, 8, nullptr, nullptr}, 0), nullptr);
  EXPECT_EQ(map_create(MapType{KeyKind::kSlice, 8, 8, nullptr, nullptr}, 0), nullptr);
  EXPECT_EQ(map_create(MapType{KeyKind::kCustom, 8, 8, nullptr, equal_words}, 0), nullptr);
  EXPECT_EQ(map_create(MapType{KeyKind::kCustom, 8, 8, own_hash, nullptr}, 0), nullptr);
}

TEST(Map, PartsOf16AreAlignedTo16) {
  for (const size_t key : {1U, 3U, 8U, 16U, 48U, 128U, 144U, 4096U}) {
    for (const size_t value : {0U, 1U, 8U, 16U, 64U, 128U, 160U}) {
      Map* const m = map_create(MapType{KeyKind::kBytes, key, value, nullptr, nullptr}, 0);
      std::vector<unsigned char> k(key);
      for (unsigned i = 0; i < 100; ++i) {
        k[0] = static_cast<unsigned char>(i);
        bool fresh;
        void* const v = map_put(m, k.data(), &fresh);
        ASSERT_NE(v, nullptr);
        const void* stored;
        ASSERT_EQ(map_find_entry(m, k.data(), &stored), v);
        ASSERT_TRUE(value % 16 != 0 || value == 0 || test::aligned_to(v, 16)) << key << " " << value;
        ASSERT_TRUE(value % 8 != 0 || value == 0 || test::aligned_to(v, 8)) << key << " " << value;
        ASSERT_TRUE(key % 16 != 0 || test::aligned_to(stored, 16)) << key << " " << value;
        memset(v, 0xee, value);
      }
      map_verify(m);
      map_destroy(m);
    }
  }
}

TEST(Map, AKeyWithoutBytesHasOneEntry) {
  Map* const m = map_create(MapType{KeyKind::kBytes, 0, 8, nullptr, nullptr}, 0);
  set(m, 0, 17);
  set(m, 0, 18);
  EXPECT_EQ(m->count, 1U);
  EXPECT_EQ(get(m, 0), 18U);
  EXPECT_EQ(erase(m, 0), 0);
  EXPECT_EQ(erase(m, 0), -ENOENT);
  map_destroy(m);
}

TEST(Map, TakeGivesKeyAndValueBack) {
  for (const size_t size : {8U, 200U}) {
    Map* const m = map_create(MapType{KeyKind::kBytes, size, size, nullptr, nullptr}, 0);
    std::vector<char> key(size, 'k');
    std::vector<char> value(size, 'v');
    ASSERT_EQ(map_set(m, key.data(), value.data()), 0);
    std::vector<char> got_key(size);
    std::vector<char> got_value(size);
    EXPECT_EQ(map_take(m, key.data(), got_key.data(), got_value.data()), 0);
    EXPECT_EQ(got_key, key);
    EXPECT_EQ(got_value, value);
    EXPECT_EQ(map_take(m, key.data(), nullptr, nullptr), -ENOENT);
    map_destroy(m);
  }
}

TEST(Map, AnEmptiedMapChangesItsSeed) {
  Map* const m = map_create(words(), 0);
  const uint64_t before = m->seed;
  set(m, 1, 1);
  EXPECT_EQ(m->seed, before);
  EXPECT_EQ(erase(m, 1), 0);
  EXPECT_NE(m->seed, before);
  set(m, 1, 2);
  EXPECT_EQ(get(m, 1), 2U);
  map_destroy(m);
}

TEST(Map, TwoMapsHaveTwoSeeds) {
  Map* const a = map_create(words(), 0);
  Map* const b = map_create(words(), 0);
  EXPECT_NE(a->seed, b->seed);
  map_destroy(a);
  map_destroy(b);
}

TEST(Map, ClearKeepsTheBucketsAlsoInTheMiddleOfGrowth) {
  Map* const m = map_create(words(), 0);
  const uint64_t n = fill_until_growing(m, 256);
  map_clear(m);
  map_verify(m);
  EXPECT_EQ(m->count, 0U);
  EXPECT_EQ(map_shape(m).buckets, 512U);
  EXPECT_EQ(map_shape(m).old_buckets, 0U);
  for (uint64_t i = 0; i < n; ++i) ASSERT_EQ(get(m, i), UINT64_MAX);
  for (uint64_t i = 0; i < n; ++i) set(m, i, i);
  map_verify(m);
  EXPECT_EQ(keys_of(m).size(), n);
  map_destroy(m);
}

// ---- iteration --------------------------------------------------------------------------------

TEST(MapIter, ShowsEachEntryOnceAtAnySize) {
  for (uint64_t n = 0; n < 300; ++n) {
    Map* const m = map_create(words(), 0);
    for (uint64_t i = 0; i < n; ++i) set(m, i, i);
    const std::set<uint64_t> keys = keys_of(m);
    ASSERT_EQ(keys.size(), n);
    ASSERT_TRUE(n == 0 || *keys.rbegin() == n - 1);
    map_destroy(m);
  }
}

TEST(MapIter, StartsAnywhere) {
  Map* const m = map_create(words(), 0);
  for (uint64_t i = 0; i < 4; ++i) set(m, i, i);
  std::set<uint64_t> firsts;
  // A thousand draws miss one of four with a chance of 10^-125. Slots beyond the four lead to the first one.
  for (int i = 0; i < 1000; ++i) {
    MapIter it;
    map_iter_begin(&it, m);
    ASSERT_TRUE(map_iter_next(&it));
    firsts.insert(*static_cast<const uint64_t*>(it.key));
    map_iter_end(&it);
  }
  EXPECT_EQ(firsts.size(), 4U);
  map_destroy(m);
}

TEST(MapIter, DeletedEntriesDoNotCome) {
  Map* const m = map_create(words(), 0);
  for (uint64_t i = 0; i < 1000; ++i) set(m, i, i);
  std::set<uint64_t> seen;
  MapIter it;
  map_iter_begin(&it, m);
  while (map_iter_next(&it)) {
    const uint64_t key = *static_cast<const uint64_t*>(it.key);
    ASSERT_TRUE(seen.insert(key).second);
    // Itself, which is allowed, and its partner, which must not come any more.
    ASSERT_EQ(erase(m, key), 0);
    if (seen.count(key ^ 1) == 0) {
      ASSERT_EQ(erase(m, key ^ 1), 0);
    }
  }
  EXPECT_EQ(seen.size(), 500U);
  EXPECT_EQ(m->count, 0U);
  map_destroy(m);
}

TEST(MapIter, SeesTheValueAsItIsNow) {
  Map* const m = map_create(words(), 0);
  for (uint64_t i = 0; i < 2000; ++i) set(m, i, 0);
  MapIter it;
  map_iter_begin(&it, m);
  uint64_t fresh = 1'000'000;
  uint64_t round = 0;
  while (map_iter_next(&it)) {
    const uint64_t key = *static_cast<const uint64_t*>(it.key);
    ASSERT_TRUE(key >= 2000 || *static_cast<const uint64_t*>(it.value) == round) << key;
    ++round;
    // Growth goes on meanwhile, so the iteration stands in a table that is no longer used.
    if (round < 1500) {
      for (uint64_t i = 0; i < 2000; i += 1) set(m, i, round);
      for (int i = 0; i < 10; ++i) set(m, fresh++, 0);
    } else {
      break;
    }
  }
  map_iter_end(&it);
  map_verify(m);
  map_destroy(m);
}

TEST(MapIter, BegunDuringGrowthItShowsBothHalves) {
  // Begun at each stage of one growth.
  for (size_t stage = 0; stage < 64; ++stage) {
    Map* const m = map_create(words(), 0);
    uint64_t n = fill_until_growing(m, 64);
    for (size_t i = 0; i < stage && map_shape(m).old_buckets != 0; ++i) {
      set(m, n, n);
      ++n;
    }
    ASSERT_EQ(keys_of(m).size(), n) << stage;
    map_destroy(m);
  }
}

TEST(MapIter, WhatItNeedsIsFreedWhenItEnds) {
  Map* const m = map_create(MapType{KeyKind::kBytes, 200, 200, nullptr, nullptr}, 0);
  std::vector<char> part(200);
  const auto put_key = [&](unsigned i) {
    memcpy(part.data(), &i, sizeof i);
    ASSERT_EQ(map_set(m, part.data(), part.data()), 0);
  };
  for (unsigned i = 0; i < 100; ++i) put_key(i);
  MapIter it;
  map_iter_begin(&it, m);
  ASSERT_TRUE(map_iter_next(&it));
  for (unsigned i = 100; i < 2000; ++i) put_key(i);
  for (unsigned i = 0; i < 1000; ++i) {
    memcpy(part.data(), &i, sizeof i);
    ASSERT_EQ(map_take(m, part.data(), nullptr, nullptr), 0);
  }
  EXPECT_NE(m->retired_tables.load(), nullptr);
  EXPECT_NE(m->retired_blocks.load(), nullptr);
  map_iter_end(&it);
  EXPECT_EQ(m->retired_tables.load(), nullptr);
  EXPECT_EQ(m->retired_blocks.load(), nullptr);
  map_iter_end(&it);
  EXPECT_EQ(m->pins.load(), 0U);
  map_destroy(m);
}

TEST(MapIter, ClearEndsItAtAnyStageOfGrowth) {
  for (size_t stage = 0; stage < 40; ++stage) {
    Map* const m = map_create(MapType{KeyKind::kBytes, 8, 160, nullptr, nullptr}, 0);
    std::vector<char> value(160);
    uint64_t n = 0;
    for (; map_shape(m).old_buckets != 64; ++n) ASSERT_EQ(map_set(m, &n, value.data()), 0);
    for (size_t i = 0; i < stage; ++i, ++n) ASSERT_EQ(map_set(m, &n, value.data()), 0);
    MapIter it;
    map_iter_begin(&it, m);
    for (size_t i = 0; i < stage; ++i) ASSERT_TRUE(map_iter_next(&it));
    map_clear(m);
    map_verify(m);
    if (stage % 2 == 0) {
      for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ(map_set(m, &i, value.data()), 0);
    }
    size_t more = 0;
    while (map_iter_next(&it)) ++more;
    EXPECT_LE(more, 1000U);
    map_verify(m);
    map_destroy(m);
  }
}

uint64_t hash_double(const void* key, uint64_t) {
  double d;
  memcpy(&d, key, sizeof d);
  uint64_t bits;
  d = d == 0 ? 0 : d;
  memcpy(&bits, &d, sizeof bits);
  return bits;
}
bool equal_doubles(const void* a, const void* b) {
  double x;
  double y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return x == y;
}

TEST(MapIter, KeysThatDoNotEqualThemselvesComeOnceEachAndStay) {
  Map* const m = map_create(MapType{KeyKind::kCustom, 8, 8, hash_double, equal_doubles}, 0);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  uint64_t n = 0;
  for (; n < 100; ++n) ASSERT_EQ(map_set(m, &nan, &n), 0);
  EXPECT_EQ(m->count, 100U);
  EXPECT_EQ(map_find(m, &nan), nullptr);
  EXPECT_EQ(map_take(m, &nan, nullptr, nullptr), -ENOENT);
  MapIter it;
  map_iter_begin(&it, m);
  std::set<uint64_t> seen;
  while (map_iter_next(&it)) {
    EXPECT_TRUE(seen.insert(*static_cast<const uint64_t*>(it.value)).second);
    // Growth moves them meanwhile.
    const double other = static_cast<double>(n);
    const uint64_t value = 1000 + n++;
    ASSERT_TRUE(n >= 2000 || map_set(m, &other, &value) == 0);
  }
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(seen.count(i), 1U) << i;
  map_clear(m);
  EXPECT_EQ(m->count, 0U);
  map_destroy(m);
}

// ---- several threads --------------------------------------------------------------------------

TEST(MapThreads, ReadsAndIterationsRunInParallel) {
  Map* const m = map_create(words(), 0);
  const uint64_t n = fill_until_growing(m, 512) + 10;
  for (uint64_t i = n - 10; i < n; ++i) set(m, i, i);
  ASSERT_NE(map_shape(m).old_buckets, 0U);
  test::in_threads(4, [&](size_t) {
    for (int round = 0; round < 3; ++round) {
      for (uint64_t i = 0; i < 2 * n; ++i) ASSERT_EQ(get(m, i), i < n ? i : UINT64_MAX);
      ASSERT_EQ(keys_of(m).size(), n);
    }
  });
  EXPECT_EQ(m->pins.load(), 0U);
  map_destroy(m);
}

/// A hash function from which the map is used again: what another thread would do at the wrong moment.
Map* the_map = nullptr;
int what_to_do = -1;
uint64_t meddling_hash(const void* key, uint64_t seed) {
  const int what = what_to_do;
  what_to_do = -1;
  const uint64_t other = 77;
  MapIter it;
  switch (what) {
    case 0:
      static_cast<void>(map_set(the_map, &other, &other));
      break;
    case 1:
      static_cast<void>(map_find(the_map, &other));
      break;
    case 2:
      map_iter_begin(&it, the_map);
      break;
    case 3:
      static_cast<void>(map_take(the_map, &other, nullptr, nullptr));
      break;
    case 4:
      map_clear(the_map);
      break;
    case 5:
      map_destroy(the_map);
      break;
    default:
      break;
  }
  return own_hash(key, seed);
}
void meddle(int what) {
  the_map = map_create(MapType{KeyKind::kCustom, 8, 8, meddling_hash, equal_words}, 0);
  what_to_do = -1;
  set(the_map, 1, 1);
  what_to_do = what;
  set(the_map, 2, 2);
}

TEST(MapDeath, ConcurrentUseEndsInOneLine) {
  EXPECT_DEATH(meddle(0), test::in_one_line("concurrent map writes"));
  EXPECT_DEATH(meddle(1), test::in_one_line("concurrent map read and map write"));
  EXPECT_DEATH(meddle(2), test::in_one_line("concurrent map iteration and map write"));
  EXPECT_DEATH(meddle(3), test::in_one_line("concurrent map writes"));
  EXPECT_DEATH(meddle(4), test::in_one_line("concurrent map writes"));
  EXPECT_DEATH(meddle(5), test::in_one_line("concurrent map writes"));
}

}  // namespace
}  // namespace tri::sched
