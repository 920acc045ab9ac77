// planted.cc - Blocks that are lost, or not, in many ways: `planted CASE [REPORT]`. Built twice, to run under the library and under LeakSanitizer.
//
// All sizes are those of size classes, so that both count the same bytes. What is lost is lost by functions plant_*, whose names both
// report. Pointers are forgotten on threads of their own, or far down the stack, which is overwritten then.
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Node {
  Node* next;
  char rest[56];
};

// What a case keeps, for good.
void* volatile kept[8];
thread_local void* volatile kept_here;

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[32 * 1024];
  for (volatile char& c : space) c = 0;
}
/// The frames of fn lie where those of overwrite_stack() do.
template <class Fn>
[[gnu::noinline]] void apart(Fn&& fn) {
  volatile char far[1024];
  far[0] = 0;
  fn();
  asm volatile("" : : "r"(far) : "memory");
}
template <class Fn>
void on_thread(Fn fn) {
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void* f) -> void* {
        apart(*static_cast<Fn*>(f));
        overwrite_stack();
        return nullptr;
      },
      &fn);
  pthread_join(t, nullptr);
}
/// A thread that holds what fn gives, and never ends.
template <class Fn>
void on_waiting_thread(Fn fn) {
  static pthread_barrier_t ready;
  pthread_barrier_init(&ready, nullptr, 2);
  pthread_t t;
  static Fn its = fn;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        void* volatile held = nullptr;
        apart([&] { held = its(); });
        overwrite_stack();
        pthread_barrier_wait(&ready);
        for (;;) pause();
        return held;
      },
      nullptr);
  pthread_barrier_wait(&ready);
}

[[gnu::noinline]] void* plant_one(size_t bytes) {
  void* const p = malloc(bytes);
  memset(p, 0, bytes);
  asm volatile("" ::: "memory");
  return p;
}
[[gnu::noinline]] Node* plant_list(int n) {
  Node* first = nullptr;
  for (int i = 0; i < n; ++i) {
    auto* const node = static_cast<Node*>(calloc(1, sizeof(Node)));
    node->next = first;
    first = node;
  }
  return first;
}
[[gnu::noinline]] Node* plant_circle(int n) {
  Node* const last = plant_list(n);
  Node* first = last;
  while (first->next != nullptr) first = first->next;
  first->next = last;
  return first;
}
// Nodes of 32 bytes, and of 80.
struct Owner {
  std::list<std::pair<long, long>> list;
  std::map<long, std::pair<std::string, long>> map;
  std::vector<std::unique_ptr<long[]>> arrays;
  long rest[2];
};
static_assert(sizeof(Owner) == 112);
[[gnu::noinline]] Owner* plant_owner() {
  auto* const o = new Owner();
  for (long i = 0; i < 20; ++i) {
    o->list.emplace_back(i, i);
    o->map[i].first = std::string(95, 'x');  // 96 bytes with the end
    if (i < 16) o->arrays.push_back(std::make_unique<long[]>(12));
  }
  return o;
}

void many(size_t bytes, int n) {
  for (int i = 0; i < n; ++i) (void)plant_one(bytes);
}

const struct {
  const char* name;
  void (*fn)();
} cases[] = {
    {"main", [] { apart([] { many(1024, 5); }); }},
    {"small_and_large",
     [] {
       apart([] {
         for (const size_t n : {16, 32, 48, 64, 128, 1024, 4096, 8192, 1 << 20}) many(n, 2);
       });
     }},
    {"thread", [] { on_thread([] { many(64, 7); }); }},
    {"threads",
     [] {
       for (int i = 0; i < 8; ++i) on_thread([] { many(128, 3); });
     }},
    {"beside_a_thread",
     [] {
       on_waiting_thread([]() -> void* { return nullptr; });
       on_thread([] { many(1024, 4); });
     }},
    {"lists",
     [] {
       on_thread([] {
         for (int i = 0; i < 10; ++i) (void)plant_list(10);
       });
     }},
    {"circles",
     [] {
       on_thread([] {
         for (int i = 0; i < 10; ++i) (void)plant_circle(10);
       });
     }},
    {"containers",
     [] {
       on_thread([] {
         for (int i = 0; i < 3; ++i) (void)plant_owner();
       });
     }},
    {"dead_thread_local", [] { on_thread([] { kept_here = plant_list(3); }); }},
    {"library",
     [] {
       static void (*lose)();
       void* const library = dlopen("libplanter.so", RTLD_NOW);
       if (library == nullptr) abort();
       *reinterpret_cast<void**>(&lose) = dlsym(library, "plant_in_library");
       on_thread([] { lose(); });
     }},
    {"half_of_it",
     [] {
       on_thread([] {
         Node* const n = plant_list(20);
         Node* middle = n;
         for (int i = 0; i < 10; ++i) middle = middle->next;
         kept[0] = middle;
       });
     }},
    // ---- none
    {"none_in_globals",
     [] {
       on_thread([] {
         kept[0] = plant_owner();
         kept[1] = plant_list(10);
         kept[2] = plant_circle(9);
       });
     }},
    {"none_in_thread_local", [] { apart([] { kept_here = plant_list(10); }); }},
    {"none_on_a_stack", [] { on_waiting_thread([] { return static_cast<void*>(plant_list(10)); }); }},
    {"none_in_another_thread_local",
     [] {
       on_waiting_thread([]() -> void* {
         kept_here = plant_owner();
         return nullptr;
       });
     }},
    {"none_inside_a_block", [] { on_thread([] { kept[0] = static_cast<char*>(plant_one(1024)) + 1000; }); }},
    {"none_by_specific",
     [] {
       pthread_key_t key;
       pthread_key_create(&key, nullptr);
       apart([key] { pthread_setspecific(key, plant_list(4)); });
     }},
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    for (const auto& c : cases) puts(c.name);
    return 0;
  }
  for (const auto& c : cases) {
    if (strcmp(c.name, argv[1]) != 0) continue;
    c.fn();
    overwrite_stack();
    // Only where the library is.
    using Report = int (*)(int, const char*);
    const auto report = reinterpret_cast<Report>(dlsym(RTLD_DEFAULT, "tri_report"));
    return report == nullptr || argc < 3 ? 0 : report(1, argv[2]);
  }
  return 2;
}
