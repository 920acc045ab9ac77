// cmap_test.cc - Tests of sched/cmap.h.
#include "sched/cmap.h"

#include <map>
#include <set>
#include <string>

#include "tests/sched/crew.h"

namespace tri::sched {
namespace {

struct Map {
  explicit Map(uint32_t key_size = 8) : room{} { get().key_size = key_size; }
  ~Map() { get().destroy(); }
  ConcurrentMap& get() { return *reinterpret_cast<ConcurrentMap*>(room); }
  ConcurrentMap* operator->() { return &get(); }
  alignas(ConcurrentMap) char room[sizeof(ConcurrentMap)];
};

void* value_of(uint64_t n) { return reinterpret_cast<void*>(n + 1); }

int store(Map& m, uint64_t key, void* value) {
  void* before;
  return m->swap(&key, value, &before);
}

TEST(ConcurrentMap, IsEmptyWhenZero) {
  Map m;
  const uint64_t key = 1;
  EXPECT_EQ(m->load(&key), nullptr);
  EXPECT_EQ(m->remove(&key), nullptr);
  EXPECT_FALSE(m->compare_and_swap(&key, value_of(1), value_of(2)));
  m->each([](const void*, void*) { return true; });
  m->clear();
}

TEST(ConcurrentMap, AgreesWithAModel) {
  for (uint64_t run = 0; run < 20; ++run) {
    Map m;
    std::map<uint64_t, void*> model;
    test::Random random(run);
    for (size_t i = 0; i < test::rounds(4000); ++i) {
      const uint64_t key = random.below(60);
      void* const there = model.count(key) != 0 ? model[key] : nullptr;
      void* const value = value_of(random.below(1000));
      void* out = nullptr;
      switch (random.below(8)) {
        case 0:
          ASSERT_EQ(m->swap(&key, value, &out), 0);
          ASSERT_EQ(out, there);
          model[key] = value;
          break;
        case 1:
          ASSERT_EQ(m->load_or_store(&key, value, &out), there != nullptr ? 1 : 0);
          ASSERT_EQ(out, there != nullptr ? there : value);
          model[key] = out;
          break;
        case 2:
        case 3:
          ASSERT_EQ(m->remove(&key), there);
          model.erase(key);
          break;
        case 4: {
          void* const expected = there != nullptr && random.one_in(2) ? there : value_of(5000);
          void* const next = random.one_in(3) ? nullptr : value;
          ASSERT_EQ(m->compare_and_swap(&key, expected, next), expected == there);
          if (expected == there) {
            if (next == nullptr) {
              model.erase(key);
            } else {
              model[key] = next;
            }
          }
          break;
        }
        case 5:
          if (random.one_in(200)) {
            m->clear();
            model.clear();
          }
          break;
        case 6:
          if (random.one_in(30)) {
            std::map<uint64_t, void*> seen;
            m->each([&](const void* k, void* v) {
              uint64_t copy;
              memcpy(&copy, k, sizeof copy);
              EXPECT_TRUE(seen.emplace(copy, v).second) << "each key once";
              return true;
            });
            ASSERT_EQ(seen, model);
          }
          break;
        default:
          ASSERT_EQ(m->load(&key), there);
      }
    }
    EXPECT_EQ(m->retired(), 0U) << "nobody reads";
  }
}

TEST(ConcurrentMap, HasKeysOfAnySizeAndStrings) {
  Map strings(0);
  Map small(3);
  Map large(40);
  for (unsigned i = 0; i < 500; ++i) {
    const std::string s = "key number " + std::to_string(i) + std::string(i % 20, 'x');
    void* before;
    ASSERT_EQ(strings->swap(s.c_str(), value_of(i), &before), 0);
    const char three[3] = {static_cast<char>(i), static_cast<char>(i >> 8), 7};
    ASSERT_EQ(small->swap(three, value_of(i), &before), 0);
    char forty[40] = {};
    memcpy(forty + 33, &i, 4);
    ASSERT_EQ(large->swap(forty, value_of(i), &before), 0);
    ASSERT_EQ(before, nullptr);
  }
  for (unsigned i = 0; i < 500; ++i) {
    const std::string s = "key number " + std::to_string(i) + std::string(i % 20, 'x');
    ASSERT_EQ(strings->load(s.c_str()), value_of(i));
    const char three[3] = {static_cast<char>(i), static_cast<char>(i >> 8), 7};
    ASSERT_EQ(small->load(three), value_of(i));
    char forty[40] = {};
    memcpy(forty + 33, &i, 4);
    ASSERT_EQ(large->load(forty), value_of(i));
  }
  EXPECT_EQ(strings->load("no such key"), nullptr);
}

TEST(ConcurrentMap, StopsWhenToldAndMayBeChangedMeanwhile) {
  Map m;
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(store(m, i, value_of(i)), 0);
  int seen = 0;
  m->each([&](const void* key, void*) {
    m->remove(key);
    EXPECT_EQ(store(m, 1000 + static_cast<uint64_t>(seen), value_of(1)), 0);
    return ++seen < 50;
  });
  EXPECT_EQ(seen, 50);
}

TRI_WITH_CREW(ConcurrentMapOf);

TEST_P(ConcurrentMapOf, KeepsWhatEachStoredAndNeverShowsAnothersValue) {
  Map m;
  const uint64_t keys = 200;
  for (uint64_t me = 0; me < 4; ++me) {
    crew.go([&, me] {
      test::Random random(me);
      std::map<uint64_t, void*> mine;
      for (size_t i = 0; i < test::rounds(20'000); ++i) {
        const uint64_t key = random.below(keys) * 4 + me;
        if (random.one_in(3)) {
          ASSERT_EQ(store(m, key, value_of(key * 16 + random.below(16))), 0);
          mine[key] = m->load(&key);
        } else if (random.one_in(3)) {
          void* const before = m->remove(&key);
          ASSERT_EQ(before, mine.count(key) != 0 ? mine[key] : nullptr);
          mine.erase(key);
        } else {
          const uint64_t any = random.below(keys * 4);
          void* const v = m->load(&any);
          if (v != nullptr) {
            ASSERT_EQ((reinterpret_cast<uint64_t>(v) - 1) / 16, any);
          }
        }
      }
      for (const auto& [key, value] : mine) ASSERT_EQ(m->load(&key), value);
    });
  }
  crew.join();
  EXPECT_EQ(m->retired(), 0U);
}

TEST_P(ConcurrentMapOf, OneOfManyStoresFirst) {
  for (uint64_t round = 0; round < test::rounds(500); ++round) {
    Map m;
    std::atomic<int> first{0};
    for (uint64_t me = 0; me < 4; ++me) {
      crew.go([&, me] {
        const uint64_t key = 7;
        void* actual = nullptr;
        const int r = m->load_or_store(&key, value_of(me), &actual);
        ASSERT_GE(r, 0);
        if (r == 0) first.fetch_add(1);
        ASSERT_EQ(m->load(&key), actual);
      });
    }
    crew.join();
    EXPECT_EQ(first.load(), 1);
  }
}

}  // namespace
}  // namespace tri::sched
