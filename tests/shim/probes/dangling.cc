// dangling.cc - Uses a block after it was freed. Usage: dangling HOW
//
// HOW is how the pointer is kept and used. The program does it, then allocates and fills as many blocks as would take the freed one again if it could be had. It ends with 0 if none did and
// the freed block is as the misuse left it; with 1 if something else was seen.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
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

// ---- what goes on while somebody looks

struct Block {
  unsigned char* bytes = nullptr;
  size_t size = 0;
};

/// Blocks that come and go, each with contents of its own. True if one has changed.
bool shuffle(std::vector<Block>* blocks, unsigned* random, int steps) {
  for (int i = 0; i < steps; ++i) {
    *random = *random * 1664525 + 1013904223;
    Block& b = (*blocks)[*random >> 8 & 255];
    for (size_t k = 0; k < b.size; ++k) {
      if (b.bytes[k] != static_cast<unsigned char>(b.size)) return true;
    }
    free(b.bytes);
    b.size = *random >> 16 & 1023;
    b.bytes = static_cast<unsigned char*>(malloc(b.size));
    memset(b.bytes, static_cast<int>(b.size), b.size);
  }
  return false;
}

/// Forks again and again, while threads allocate, free and so look; each child goes on for a while, and looks.
bool while_it_forks() {
  static std::atomic<bool> over{false};
  static std::atomic<bool> bad{false};
  pthread_t threads[2];
  static char seeds[2];
  for (pthread_t& t : threads) {
    pthread_create(
        &t, nullptr,
        [](void* seed) -> void* {
          std::vector<Block> blocks(256);
          auto random = static_cast<unsigned>(reinterpret_cast<uintptr_t>(seed)) + 1;
          while (!over) bad = shuffle(&blocks, &random, 100) || bad;
          return nullptr;
        },
        &seeds[&t - threads]);
  }
  const char* const wanted = getenv("FORKS");
  std::vector<Block> blocks(256);
  unsigned random = 1;
  for (int i = wanted == nullptr ? 150 : atoi(wanted); i > 0; --i) {
    bad = shuffle(&blocks, &random, 50) || bad;
    const pid_t child = fork();
    if (child == 0) _exit(shuffle(&blocks, &random, i % 16 == 0 ? 3000 : 100) ? 1 : 0);
    int status = -1;
    if (waitpid(child, &status, 0) != child || status != 0) bad = true;
  }
  over = true;
  for (pthread_t t : threads) pthread_join(t, nullptr);
  return bad;
}

void* volatile of_the_handler;
volatile sig_atomic_t handled;

/// A handler frees, and looks, wherever the program is.
bool in_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = [](int) {
    free(of_the_handler);
    of_the_handler = nullptr;
    handled = handled + 1;
  };
  sigaction(SIGALRM, &action, nullptr);
  const itimerval often = {{0, 300}, {0, 300}};
  setitimer(ITIMER_REAL, &often, nullptr);
  std::vector<Block> blocks(256);
  unsigned random = 7;
  bool bad = false;
  while (handled < 2000 && !bad) {
    bad = shuffle(&blocks, &random, 20);
    if (of_the_handler == nullptr) of_the_handler = malloc(40'000);
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  return bad;
}

/// Neither malloc_trim() nor who asks for its size gives it away.
bool by_calls() {
  global = make_and_free();
  malloc_trim(0);
  const bool same_size = malloc_usable_size(global) >= kBytes;
  return churn(&global) || !same_size || !is_all(global, 0);
}

bool again() {
  global = make_and_free();
  global = static_cast<char*>(realloc(global, 2 * kBytes));
  return true;
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
                         {"forks", while_it_forks},
                         {"signals", in_signal_handlers},
                         {"calls", by_calls},
                         {"realloc", again},
                         {"twice", twice}};

}  // namespace

int main(int argc, char** argv) {
  for (const Way& way : kWays) {
    if (argc == 2 && way.name == argv[1]) return way.is_harmed() ? 1 : 0;
  }
  return 2;
}
