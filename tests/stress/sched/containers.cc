// containers.cc - Activities of memory: pool, concurrent map, map, slice, and malloc itself, with content checks.
#include <map>

#include "work.h"

namespace stress {
namespace {

struct Object {
  std::atomic<int> users{0};
  uint64_t content[7] = {};
};
std::atomic<long> g_objects{0};

}  // namespace

// Whoever gets an object has it alone; none is lost.
void pools(Random& random) {
  tri_pool pool = {};
  std::atomic<long> alive{0};
  pool.arg = &alive;
  pool.make = [](void* n) -> void* {
    static_cast<std::atomic<long>*>(n)->fetch_add(1);
    return new Object;
  };
  pool.drop = [](void* p, void* n) {
    static_cast<std::atomic<long>*>(n)->fetch_sub(1);
    delete static_cast<Object*>(p);
  };
  {
    Crew crew(random);
    for (size_t i = 1 + random.below(6); i != 0; --i) {
      crew.go([&](Random& r) {
        for (int k = 0; k < 100; ++k) {
          auto* const object = static_cast<Object*>(tri_pool_get(&pool));
          STRESS_CHECK(object != nullptr);
          STRESS_EQ(object->users.fetch_add(1), 0);
          perhaps_pause(r);
          STRESS_EQ(object->users.fetch_sub(1), 1);
          tri_pool_put(&pool, object);
          if (r.one_in(50)) tri_pool_age(r.one_in(2) ? &pool : nullptr);
        }
      });
    }
  }
  tri_pool_purge(&pool);
  STRESS_EQ(alive.load(), 0);
}

// Values belong to their keys, whoever stores them.
void cmaps(Random& random) {
  static constexpr uint64_t kKeys = 64;
  tri_cmap map = TRI_CMAP_INIT(sizeof(uint64_t));
  static uint64_t values[kKeys][4];
  const auto belongs = [](uint64_t key, const void* value) {
    const auto* const v = static_cast<const uint64_t*>(value);
    return v == nullptr || (v >= values[key] && v < values[key] + 4);
  };
  {
    Crew crew(random);
    for (size_t i = 1 + random.below(6); i != 0; --i) {
      crew.go([&](Random& r) {
        for (int k = 0; k < 300; ++k) {
          const uint64_t key = r.below(kKeys);
          void* const value = &values[key][r.below(4)];
          void* other = nullptr;
          switch (r.below(7)) {
            case 0:
              STRESS_EQ(tri_cmap_store(&map, &key, value), 0);
              break;
            case 1:
              STRESS_CHECK(tri_cmap_load_or_store(&map, &key, value, &other) >= 0);
              STRESS_CHECK(other != nullptr && belongs(key, other));
              break;
            case 2:
              STRESS_CHECK(belongs(key, tri_cmap_delete(&map, &key)));
              break;
            case 3:
              STRESS_EQ(tri_cmap_swap(&map, &key, value, &other), 0);
              STRESS_CHECK(belongs(key, other));
              break;
            case 4:
              (void)tri_cmap_compare_and_swap(&map, &key, value, &values[key][0]);
              break;
            default:
              STRESS_CHECK(belongs(key, tri_cmap_load(&map, &key)));
          }
          if (r.one_in(100)) {
            tri_cmap_range(
                &map,
                [](const void* at, void* v, void*) {
                  uint64_t found;
                  memcpy(&found, at, sizeof found);
                  STRESS_CHECK(found < kKeys && v >= values[found] && v < values[found] + 4);
                  return true;
                },
                nullptr);
          }
          perhaps_pause(r);
        }
      });
    }
  }
  tri_cmap_free(&map);
}

void maps(Random& random) {
  tri_map_type type = {};
  type.key = TRI_KEY_BYTES;
  type.key_size = type.value_size = sizeof(uint64_t);
  tri_map* const map = tri_map_new(&type, 0);
  STRESS_CHECK(map != nullptr);
  std::map<uint64_t, uint64_t> model;
  for (int k = 0; k < 1000; ++k) {
    const uint64_t key = random.below(200);
    if (random.one_in(3)) {
      STRESS_EQ(tri_map_delete(map, &key), model.erase(key) != 0 ? 0 : -ENOENT);
    } else {
      const uint64_t value = random.next();
      STRESS_EQ(tri_map_set(map, &key, &value), 0);
      model[key] = value;
    }
    perhaps_pause(random);
  }
  STRESS_EQ(tri_map_len(map), model.size());
  size_t found = 0;
  TRI_MAP_EACH(it, map) {
    STRESS_CHECK(model.at(*static_cast<const uint64_t*>(it.key)) == *static_cast<uint64_t*>(it.value));
    ++found;
  }
  STRESS_EQ(found, model.size());
  tri_map_free(map);
}

void slices(Random& random) {
  tri_slice slice = TRI_SLICE(uint64_t);
  std::vector<uint64_t> model;
  for (int k = 0; k < 400; ++k) {
    const uint64_t value = random.next();
    const size_t at = random.below(model.size() + 1);
    if (random.one_in(4) && at < model.size()) {
      STRESS_EQ(tri_slice_erase(&slice, at, 1), 0);
      model.erase(model.begin() + static_cast<long>(at));
    } else if (random.one_in(2)) {
      STRESS_EQ(tri_slice_insert(&slice, at, &value, 1), 0);
      model.insert(model.begin() + static_cast<long>(at), value);
    } else {
      STRESS_EQ(TRI_PUSH(uint64_t, &slice, value), 0);
      model.push_back(value);
    }
    perhaps_pause(random);
  }
  STRESS_EQ(slice.len, model.size());
  STRESS_EQ(memcmp(slice.data, model.data(), model.size() * sizeof(uint64_t)), 0);
  tri_slice_free(&slice);
}

// Blocks that change hands between goroutines, threads and the processors that they run on.
void churn(Random& random) {
  static constexpr size_t kShared = 500;
  static Slot shared[kShared];
  const auto allocate = [](Random& r) -> Block {
    const size_t size = r.one_in(500) ? r.below(kMaxSlotSize) : r.one_in(20) ? r.below(20'000) : r.below(512);
    void* const p = r.one_in(4) ? calloc(1, size) : malloc(size);
    if (p == nullptr) fail("no memory", p, size);
    write_pattern(p, size);
    return {p, size};
  };
  const auto release = [](Block b) {
    if (b.p != nullptr) check_pattern(b.p, b.p, b.size, b.size, "content changed before free");
    free(b.p);
  };
  Crew crew(random);
  for (int i = 0; i < 3; ++i) {
    crew.go([&](Random& r) {
      std::vector<Block> own(20);
      for (int k = 0; k < 400; ++k) {
        Block& mine = own[r.below(own.size())];
        release(mine);
        mine = shared[r.below(kShared)].exchange(allocate(r));
        perhaps_pause(r);
      }
      for (const Block& b : own) release(b);
    });
  }
}

}  // namespace stress
