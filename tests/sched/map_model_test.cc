// map_model_test.cc - Random operations on a map and on a std::unordered_map, with iterations under way meanwhile, and
// with and without memory.
#include <cerrno>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "sched/map.h"
#include "tests/alloc/support.h"

namespace tri::sched {
namespace {

struct Shape {
  const char* name;
  KeyKind kind;
  size_t key_size;
  size_t value_size;
  uint64_t (*hash)(const void*, uint64_t);
};

// Four buckets' worth of hashes for all keys: long chains.
uint64_t poor_hash(const void* key, uint64_t) {
  uint32_t n;
  memcpy(&n, key, sizeof n);
  return n % 4;
}
bool equal_4(const void* a, const void* b) { return memcmp(a, b, 4) == 0; }

constexpr Shape kShapes[] = {
    {"4 to 4", KeyKind::kBytes, 4, 4, nullptr},       {"8 to 8", KeyKind::kBytes, 8, 8, nullptr},
    {"8 to 0", KeyKind::kBytes, 8, 0, nullptr},       {"5 to 3", KeyKind::kBytes, 5, 3, nullptr},
    {"16 to 128", KeyKind::kBytes, 16, 128, nullptr}, {"129 to 8", KeyKind::kBytes, 129, 8, nullptr},
    {"8 to 500", KeyKind::kBytes, 8, 500, nullptr},   {"300 to 300", KeyKind::kBytes, 300, 300, nullptr},
    {"strings", KeyKind::kString, 8, 8, nullptr},     {"slices", KeyKind::kSlice, 16, 8, nullptr},
    {"poor hash", KeyKind::kCustom, 4, 8, poor_hash},
};

/// An iteration under way, and what the rules say about it.
struct Watch {
  MapIter it;
  std::unordered_set<uint32_t> seen;
  std::unordered_set<uint32_t> owed;  // there since the beginning, and still: must come
};

class Pair {
 public:
  Pair(const Shape& shape, uint64_t stream, uint32_t keys) : shape_(shape), random_(stream), keys_(keys) {
    map_ = map_create(MapType{shape.kind, shape.key_size, shape.value_size, shape.hash, equal_4}, 0);
    for (uint32_t i = 0; i < keys; ++i) texts_.push_back("key " + std::to_string(i) + std::string(i % 50, '.'));
  }
  ~Pair() {
    for (auto& watch : watches_) map_iter_end(&watch->it);
    map_destroy(map_);
    for (auto& [key, text] : owned_) free(text);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void step(bool may_fail) {
    const uint32_t key = static_cast<uint32_t>(random_.below(keys_));
    switch (random_.below(16)) {
      case 0 ... 5:
        return put(key, may_fail);
      case 6 ... 9:
        return take(key);
      case 10 ... 11:
        return find(key);
      case 12:
        return begin(may_fail);
      case 13 ... 14:
        return advance();
      default:
        if (random_.one_in(300)) return clear();
        if (random_.one_in(200)) return drain();
        if (random_.one_in(50)) map_verify(map_);
    }
  }

  /// Everything at once: same entries, by lookup and by iteration.
  void compare() {
    map_verify(map_);
    ASSERT_EQ(map_->count, model_.size());
    for (uint32_t key = 0; key < keys_; ++key) find(key);
    begin(false);
    if (watches_.empty()) return;
    while (watches_.back()->it.key != nullptr || watches_.back()->seen.empty()) {
      if (!advance(watches_.size() - 1)) break;
    }
  }

 private:
  std::string bytes(uint32_t key) const {
    if (shape_.kind == KeyKind::kString || shape_.kind == KeyKind::kSlice) {
      // Lookups by another copy of the text than the stored one.
      const std::string& text = texts_[key];
      std::string out(shape_.key_size, '\0');
      const char* const p = text.c_str();
      memcpy(out.data(), &p, sizeof p);
      const size_t n = text.size();
      if (shape_.kind == KeyKind::kSlice) memcpy(out.data() + 8, &n, sizeof n);
      return out;
    }
    std::string out(shape_.key_size, 'k');
    memcpy(out.data(), &key, sizeof key);
    return out;
  }
  bool points() const { return shape_.kind == KeyKind::kString || shape_.kind == KeyKind::kSlice; }
  /// What a new entry's key points to belongs to us, and is freed as soon as the entry has gone.
  void own(uint32_t key, std::string* bytes) {
    if (!points()) return;
    char* const text = strdup(texts_[key].c_str());
    memcpy(bytes->data(), &text, sizeof text);
    owned_[key] = text;
  }
  void disown(uint32_t key) {
    const auto found = owned_.find(key);
    if (found == owned_.end()) return;
    memset(found->second, 'x', 4);
    free(found->second);
    owned_.erase(found);
  }
  uint32_t number(const void* key) const {
    if (shape_.kind == KeyKind::kString || shape_.kind == KeyKind::kSlice) {
      const char* p;
      memcpy(&p, key, sizeof p);
      return static_cast<uint32_t>(strtoul(p + 4, nullptr, 10));
    }
    uint32_t n;
    memcpy(&n, key, sizeof n);
    return n;
  }
  std::string value(uint64_t tag) const {
    std::string out(shape_.value_size, '\0');
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(test::pattern_byte(tag, i));
    return out;
  }
  bool is(const void* p, uint64_t tag) const {
    const std::string expected = value(tag);
    return memcmp(p, expected.data(), expected.size()) == 0;
  }

  void put(uint32_t key, bool may_fail) {
    const uint64_t tag = random_.next();
    std::string k = bytes(key);
    const bool there = model_.count(key) != 0;
    if (!there) own(key, &k);
    if (random_.one_in(2)) {
      const int result = map_set(map_, k.data(), value(tag).data());
      if (result != 0) {
        ASSERT_TRUE(may_fail);
        ASSERT_EQ(result, -ENOMEM);
        ASSERT_FALSE(there) << "what is there can be changed without memory";
        disown(key);
        return find(key);
      }
    } else {
      bool fresh;
      void* const p = map_put(map_, k.data(), &fresh);
      if (p == nullptr) {
        ASSERT_TRUE(may_fail);
        ASSERT_FALSE(there);
        disown(key);
        return find(key);
      }
      ASSERT_EQ(fresh, !there);
      if (fresh) {
        ASSERT_TRUE(test::is_zero(p, shape_.value_size));
      } else {
        ASSERT_TRUE(is(p, model_[key]));
      }
      const std::string v = value(tag);
      memcpy(p, v.data(), v.size());
    }
    model_[key] = tag;
  }

  void take(uint32_t key) {
    std::string k(shape_.key_size, '\0');
    std::string v(shape_.value_size, '\0');
    const int result = map_take(map_, bytes(key).data(), k.data(), v.data());
    const auto found = model_.find(key);
    ASSERT_EQ(result, found == model_.end() ? -ENOENT : 0);
    if (result != 0) return;
    ASSERT_EQ(number(k.data()), key);
    ASSERT_TRUE(is(v.data(), found->second));
    model_.erase(found);
    disown(key);
    // Put in again, it is another entry, which may come.
    for (auto& watch : watches_) {
      watch->owed.erase(key);
      watch->seen.erase(key);
    }
  }

  void find(uint32_t key) {
    const void* stored;
    const void* const p = map_find_entry(map_, bytes(key).data(), &stored);
    const auto found = model_.find(key);
    ASSERT_EQ(p != nullptr, found != model_.end()) << shape_.name << ", key " << key;
    if (p == nullptr) return;
    ASSERT_TRUE(is(p, found->second));
    ASSERT_EQ(number(stored), key);
  }

  void clear() {
    map_clear(map_);
    for (const auto& [key, tag] : model_) disown(key);
    model_.clear();
    for (auto& watch : watches_) {
      watch->owed.clear();
      watch->seen.clear();
    }
    map_verify(map_);
  }

  /// All but a few keys: so the seed changes now and then, and holes are made.
  void drain() {
    for (uint32_t key = 0; key < keys_; ++key) ASSERT_NO_FATAL_FAILURE(take(key));
    ASSERT_EQ(map_->count, 0U);
    map_verify(map_);
  }

  void begin(bool) {
    if (watches_.size() == 4) return;
    watches_.push_back(std::make_unique<Watch>());
    Watch& watch = *watches_.back();
    map_iter_begin(&watch.it, map_);
    for (const auto& [key, tag] : model_) watch.owed.insert(key);
  }

  void advance() {
    if (watches_.empty()) return;
    const size_t i = random_.below(watches_.size());
    const size_t steps = random_.one_in(10) ? 1000 : random_.below(20);
    for (size_t n = 0; n < steps; ++n) {
      if (!advance(i)) return;
    }
    // Some are given up half-way.
    if (random_.one_in(10)) {
      map_iter_end(&watches_[i]->it);
      watches_.erase(watches_.begin() + static_cast<long>(i));
    }
  }

  bool advance(size_t i) {
    Watch& watch = *watches_[i];
    const bool more = map_iter_next(&watch.it);
    [&] {
      if (!more) {
        ASSERT_TRUE(watch.owed.empty()) << shape_.name << ": " << watch.owed.size() << " entries did not come";
        return;
      }
      const uint32_t key = number(watch.it.key);
      ASSERT_TRUE(watch.seen.insert(key).second) << shape_.name << ": key " << key << " came twice";
      const auto found = model_.find(key);
      ASSERT_TRUE(found != model_.end()) << shape_.name << ": key " << key << " was deleted";
      ASSERT_TRUE(is(watch.it.value, found->second));
      watch.owed.erase(key);
    }();
    if (!more) watches_.erase(watches_.begin() + static_cast<long>(i));
    return more && !testing::Test::HasFatalFailure();
  }

  const Shape shape_;
  test::Random random_;
  const uint32_t keys_;
  Map* map_;
  std::vector<std::string> texts_;
  std::unordered_map<uint32_t, uint64_t> model_;
  std::unordered_map<uint32_t, char*> owned_;
  std::vector<std::unique_ptr<Watch>> watches_;
};

TEST(MapModel, RandomOperationsAndIterationsGiveWhatTheModelSays) {
  for (const Shape& shape : kShapes) {
    for (const uint32_t keys : {10U, 200U, 3000U}) {
      Pair pair(shape, keys + shape.key_size * 1000 + shape.value_size, keys);
      for (size_t i = 0; i < test::rounds(40'000); ++i) {
        pair.step(false);
        ASSERT_FALSE(HasFatalFailure()) << shape.name << ", " << keys << " keys, step " << i;
      }
      ASSERT_NO_FATAL_FAILURE(pair.compare());
    }
  }
}

TEST(MapModel, WithoutMemoryNothingChanges) {
  test::warm_up();
  for (const Shape& shape : kShapes) {
    Pair pair(shape, 7 + shape.key_size * 1000 + shape.value_size, 5000);
    test::Random random(shape.key_size);
    for (size_t i = 0; i < test::rounds(100); ++i) {
      {
        const test::Faults faults(static_cast<long>(random.below(4)));
        for (size_t k = 0; k < 300; ++k) {
          pair.step(true);
          ASSERT_FALSE(HasFatalFailure()) << shape.name;
        }
      }
      for (size_t k = 0; k < 30; ++k) {
        pair.step(false);
        ASSERT_FALSE(HasFatalFailure()) << shape.name;
      }
    }
    ASSERT_NO_FATAL_FAILURE(pair.compare());
  }
}

}  // namespace
}  // namespace tri::sched
