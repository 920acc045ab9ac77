// containers.cc - Slices and maps through tri.h, beside what C++ brings. containers.go holds the same for Go.
//
// Names are CONTENDER_WORKLOAD/ARGUMENTS, so that the harness can put contenders side by side. Keys are drawn
// beforehand and met in random order; the time is that of one operation. Both use the malloc of libtri.so, which the program
// links: the difference is the container's.
#include <benchmark/benchmark.h>
#include <tri.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

std::vector<uint64_t> random_keys(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> keys(n);
  for (uint64_t& key : keys) key = random();
  return keys;
}

std::vector<uint64_t> shuffled(std::vector<uint64_t> keys) {
  std::shuffle(keys.begin(), keys.end(), std::mt19937_64(7));
  return keys;
}

// ---- one interface over both ----------------------------------------------------------------------------------

class TriMap {
 public:
  explicit TriMap(size_t hint = 0) {
    const tri_map_type type = {TRI_KEY_BYTES, 8, 8, nullptr, nullptr};
    map_ = tri_map_new(&type, hint);
  }
  ~TriMap() { tri_map_free(map_); }
  TriMap(const TriMap&) = delete;
  TriMap& operator=(const TriMap&) = delete;

  void set(uint64_t key, uint64_t value) { tri_map_set(map_, &key, &value); }
  const uint64_t* get(uint64_t key) const { return static_cast<const uint64_t*>(tri_map_get(map_, &key)); }
  void erase(uint64_t key) { tri_map_delete(map_, &key); }
  uint64_t sum() const {
    uint64_t total = 0;
    TRI_MAP_EACH(it, map_) total += *static_cast<const uint64_t*>(it.value);
    return total;
  }

 private:
  tri_map* map_;
};

class StdMap {
 public:
  explicit StdMap(size_t hint = 0) { map_.reserve(hint); }
  void set(uint64_t key, uint64_t value) { map_[key] = value; }
  const uint64_t* get(uint64_t key) const {
    const auto it = map_.find(key);
    return it == map_.end() ? nullptr : &it->second;
  }
  void erase(uint64_t key) { map_.erase(key); }
  uint64_t sum() const {
    uint64_t total = 0;
    for (const auto& [key, value] : map_) total += value;
    return total;
  }

 private:
  std::unordered_map<uint64_t, uint64_t> map_;
};

// ---- workloads ------------------------------------------------------------------------------------------------

template <class M>
void fill(M& map, const std::vector<uint64_t>& keys) {
  for (const uint64_t key : keys) map.set(key, key);
}

template <class M>
void map_hit(benchmark::State& state) {
  const std::vector<uint64_t> keys = random_keys(static_cast<size_t>(state.range(0)), 1);
  M map;
  fill(map, keys);
  const std::vector<uint64_t> order = shuffled(keys);
  size_t i = 0;
  uint64_t total = 0;
  for (auto _ : state) {
    total += *map.get(order[i]);
    if (++i == order.size()) i = 0;
  }
  benchmark::DoNotOptimize(total);
}

template <class M>
void map_miss(benchmark::State& state) {
  const std::vector<uint64_t> keys = random_keys(static_cast<size_t>(state.range(0)), 1);
  const std::vector<uint64_t> others = random_keys(keys.size(), 2);
  M map;
  fill(map, keys);
  size_t i = 0;
  uint64_t found = 0;
  for (auto _ : state) {
    found += map.get(others[i]) != nullptr;
    if (++i == others.size()) i = 0;
  }
  benchmark::DoNotOptimize(found);
}

template <class M>
void map_insert(benchmark::State& state) {
  const std::vector<uint64_t> keys = random_keys(static_cast<size_t>(state.range(0)), 1);
  while (state.KeepRunningBatch(static_cast<int64_t>(keys.size()))) {
    M map;
    fill(map, keys);
    benchmark::ClobberMemory();
  }
}

template <class M>
void map_insert_hint(benchmark::State& state) {
  const std::vector<uint64_t> keys = random_keys(static_cast<size_t>(state.range(0)), 1);
  while (state.KeepRunningBatch(static_cast<int64_t>(keys.size()))) {
    M map(keys.size());
    fill(map, keys);
    benchmark::ClobberMemory();
  }
}

// One entry goes, another comes: the size stays.
template <class M>
void map_churn(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(0));
  const std::vector<uint64_t> keys = random_keys(2 * n, 1);
  M map;
  fill(map, std::vector<uint64_t>(keys.begin(), keys.begin() + static_cast<long>(n)));
  size_t out = 0;
  size_t in = n;
  for (auto _ : state) {
    map.erase(keys[out]);
    map.set(keys[in], 1);
    if (++out == keys.size()) out = 0;
    if (++in == keys.size()) in = 0;
  }
}

template <class M>
void map_iterate(benchmark::State& state) {
  const std::vector<uint64_t> keys = random_keys(static_cast<size_t>(state.range(0)), 1);
  M map;
  fill(map, keys);
  while (state.KeepRunningBatch(static_cast<int64_t>(keys.size()))) benchmark::DoNotOptimize(map.sum());
}

std::vector<std::string> names(size_t n) {
  std::vector<std::string> result;
  for (const uint64_t key : random_keys(n, 3)) result.push_back("user/" + std::to_string(key));
  return result;
}

void tri_string_hit(benchmark::State& state) {
  const std::vector<std::string> keys = names(static_cast<size_t>(state.range(0)));
  const std::vector<std::string> copies = keys;
  const tri_map_type type = {TRI_KEY_SLICE, sizeof(tri_bytes), 8, nullptr, nullptr};
  tri_map* const map = tri_map_new(&type, 0);
  for (const std::string& key : keys) {
    const tri_bytes bytes = {key.data(), key.size()};
    const uint64_t value = key.size();
    tri_map_set(map, &bytes, &value);
  }
  size_t i = 0;
  uint64_t total = 0;
  for (auto _ : state) {
    const tri_bytes bytes = {copies[i].data(), copies[i].size()};
    total += *static_cast<const uint64_t*>(tri_map_get(map, &bytes));
    if (++i == copies.size()) i = 0;
  }
  benchmark::DoNotOptimize(total);
  tri_map_free(map);
}

void std_string_hit(benchmark::State& state) {
  const std::vector<std::string> keys = names(static_cast<size_t>(state.range(0)));
  const std::vector<std::string> copies = keys;
  std::unordered_map<std::string_view, uint64_t> map;
  for (const std::string& key : keys) map[key] = key.size();
  size_t i = 0;
  uint64_t total = 0;
  for (auto _ : state) {
    total += map.find(copies[i])->second;
    if (++i == copies.size()) i = 0;
  }
  benchmark::DoNotOptimize(total);
}

void tri_append(benchmark::State& state) {
  const auto n = static_cast<uint64_t>(state.range(0));
  while (state.KeepRunningBatch(state.range(0))) {
    tri_slice s = TRI_SLICE(uint64_t);
    for (uint64_t i = 0; i < n; ++i) TRI_PUSH(uint64_t, &s, i);
    benchmark::DoNotOptimize(s.data);
    benchmark::ClobberMemory();
    tri_slice_free(&s);
  }
}

void std_append(benchmark::State& state) {
  const auto n = static_cast<uint64_t>(state.range(0));
  while (state.KeepRunningBatch(state.range(0))) {
    std::vector<uint64_t> s;
    for (uint64_t i = 0; i < n; ++i) s.push_back(i);
    benchmark::DoNotOptimize(s.data());
    benchmark::ClobberMemory();
  }
}

// Chunks of 100 bytes, as a buffer is filled.
void tri_append_100(benchmark::State& state) {
  const char chunk[100] = {};
  while (state.KeepRunningBatch(state.range(0))) {
    tri_slice s = TRI_SLICE(char);
    for (int64_t i = 0; i < state.range(0); ++i) tri_slice_append(&s, chunk, sizeof chunk);
    benchmark::DoNotOptimize(s.data);
    tri_slice_free(&s);
  }
}

void std_append_100(benchmark::State& state) {
  const char chunk[100] = {};
  while (state.KeepRunningBatch(state.range(0))) {
    std::vector<char> s;
    for (int64_t i = 0; i < state.range(0); ++i) s.insert(s.end(), chunk, chunk + sizeof chunk);
    benchmark::DoNotOptimize(s.data());
  }
}

void sizes(benchmark::internal::Benchmark* it) {
  for (const int n : {8, 100, 10'000, 1'000'000}) it->Arg(n);
}

#define BOTH(workload)                                               \
  BENCHMARK(workload<TriMap>)->Name("tri_" #workload)->Apply(sizes); \
  BENCHMARK(workload<StdMap>)->Name("std_" #workload)->Apply(sizes)
BOTH(map_hit);
BOTH(map_miss);
BOTH(map_insert);
BOTH(map_insert_hint);
BOTH(map_churn);
BOTH(map_iterate);
BENCHMARK(tri_string_hit)->Arg(100)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(std_string_hit)->Arg(100)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(tri_append)->Arg(10)->Arg(1000)->Arg(1'000'000);
BENCHMARK(std_append)->Arg(10)->Arg(1000)->Arg(1'000'000);
BENCHMARK(tri_append_100)->Arg(1000)->Arg(1'000'000);
BENCHMARK(std_append_100)->Arg(1000)->Arg(1'000'000);

}  // namespace
