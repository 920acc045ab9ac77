// dangling.cc - Uses a block after it was freed. Usage: dangling HOW
//
// HOW is how the pointer is kept and used. The program does it, then allocates and fills as many blocks as would take the freed one again if it could be had. It ends with 0 if none did and
// the freed block is as the misuse left it; with 1 if something else was seen.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <list>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kBytes = 200;

char* volatile global;
thread_local char* volatile in_tls;

[[gnu::noinline]] char* make_and_free() {
  auto* const p = static_cast<char*>(malloc(kBytes));
  memset(p, 'x', kBytes);
  asm volatile("" : : "r"(p) : "memory");
  free(p);
  return p;
}

/// 32 MiB of other blocks come and go. None may be that one: *p keeps what it has.
[[gnu::noinline]] bool others_get_it(const char* volatile* p) {
  bool same = false;
  for (int round = 0; round < 100; ++round) {
    std::vector<char*> others;
    for (int i = 0; i < 1600; ++i) {
      others.push_back(static_cast<char*>(malloc(kBytes)));
      memset(others.back(), 'o', kBytes);
      same = same || others.back() == *p;
    }
    for (char* o : others) free(o);
  }
  return same;
}
bool churn(char* volatile* p) { return others_get_it(const_cast<const char* volatile*>(p)); }

bool is_all(const char* p, char c) {
  for (size_t i = 0; i < kBytes; ++i) {
    if (p[i] != c) return false;
  }
  return true;
}

bool read() {
  global = make_and_free();
  return churn(&global) || !is_all(global, 0);
}

bool write() {
  global = make_and_free();
  memset(global, 'w', kBytes);
  return churn(&global) || !is_all(global, 'w');
}

bool on_the_stack() {
  char* volatile p = make_and_free();
  return churn(&p) || !is_all(p, 0);
}

bool in_thread_local() {
  in_tls = make_and_free();
  return churn(&in_tls) || !is_all(in_tls, 0);
}

bool in_a_container() {
  std::list<char*> kept;
  for (int i = 0; i < 100; ++i) kept.push_back(make_and_free());
  bool bad = false;
  char* volatile p = nullptr;
  for (int i = 0; i < 3; ++i) bad = churn(&p) || bad;
  for (const char* k : kept) bad = bad || !is_all(k, 0);
  return bad;
}

bool in_a_mapping() {
  void* const m = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* const place = static_cast<char* volatile*>(m);
  place[77] = make_and_free();
  return churn(&place[77]) || !is_all(place[77], 0);
}

bool in_a_register() {
  // The compiler has no reason to store it, and no other copy exists.
  char* p = make_and_free();
  asm volatile("" : "+r"(p));
  bool bad = false;
  for (int i = 0; i < 100'000; ++i) {
    char* const o = static_cast<char*>(malloc(kBytes));
    bad = bad || o == p;
    memset(o, 'o', kBytes);
    free(o);
    asm volatile("" : "+r"(p));
  }
  return bad || !is_all(p, 0);
}

bool in_another_thread() {
  static std::atomic<int> step{0};
  pthread_t t;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        char* volatile p = make_and_free();
        step = 1;
        while (step != 2) usleep(100);
        return reinterpret_cast<void*>(static_cast<uintptr_t>(!is_all(p, 0)));
      },
      nullptr);
  while (step != 1) usleep(100);
  char* volatile none = nullptr;
  churn(&none);
  step = 2;
  void* bad;
  pthread_join(t, &bad);
  return bad != nullptr;
}

struct Node {
  Node* next;
  char text[192];
};

/// A dangling pointer to a block that pointed to another freed one: there must be nothing to follow.
bool by_way_of_another() {
  auto* const first = static_cast<Node*>(malloc(sizeof(Node)));
  first->next = static_cast<Node*>(malloc(sizeof(Node)));
  global = reinterpret_cast<char*>(first);
  free(first->next);
  free(first);
  return churn(&global) || reinterpret_cast<Node*>(global)->next != nullptr;
}

bool twice() {
  global = make_and_free();
  memset(global, 'w', kBytes);
  free(global);
  return true;
}

struct Way {
  std::string_view name;
  bool (*is_harmed)();
};
constexpr Way kWays[] = {{"read", read},
                         {"write", write},
                         {"stack", on_the_stack},
                         {"tls", in_thread_local},
                         {"container", in_a_container},
                         {"mapping", in_a_mapping},
                         {"register", in_a_register},
                         {"thread", in_another_thread},
                         {"chain", by_way_of_another},
                         {"twice", twice}};

}  // namespace

int main(int argc, char** argv) {
  for (const Way& way : kWays) {
    if (argc == 2 && way.name == argv[1]) return way.is_harmed() ? 1 : 0;
  }
  return 2;
}
