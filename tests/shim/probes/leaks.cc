// leaks.cc - Loses blocks, or none, and ends. Usage: leaks none|list|circle|large|sizes|many|unloaded|signal|small_stack|closed [STATUS]
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>

namespace {

struct Node {
  Node* next;
  char rest[56];
};
char* volatile kept;

[[gnu::noinline]] Node* make_node(Node* next) {
  auto* const n = static_cast<Node*>(malloc(sizeof(Node)));
  n->next = next;
  asm volatile("" : : "r"(n) : "memory");
  return n;
}

[[gnu::noinline]] void lose_one(size_t n) {
  void* const p = malloc(n);
  asm volatile("" : : "r"(p) : "memory");
}

[[gnu::noinline]] void lose(const char* what) {
  if (strcmp(what, "circle") == 0) {
    Node* const first = make_node(nullptr);
    first->next = make_node(make_node(first));
  } else if (strcmp(what, "sizes") == 0) {
    for (size_t i = 0; i < 400; ++i) lose_one(50'000 + i * 8192);
  } else if (strcmp(what, "large") == 0) {
    lose_one(50'000'000);
  } else if (strcmp(what, "many") == 0) {
    for (size_t i = 0; i < 100'000; ++i) lose_one(64);
  } else {
    Node* list = nullptr;
    for (int i = 0; i < 5; ++i) list = make_node(list);
#pragma GCC unroll 1  // one call, not three
    for (int i = 0; i < 3; ++i) lose_one(1000);
  }
}

[[gnu::noinline]] void overwrite_stack() {
  volatile char space[16 * 1024];
  for (volatile char& c : space) c = 0;
}

/// Has another file lose blocks, and unloads it. In main's own frame nothing of it is left.
[[gnu::always_inline]] inline bool lose_elsewhere(const char* self) {
  char path[4096];
  const char* const slash = strrchr(self, '/');
  const auto length = slash == nullptr ? size_t{0} : static_cast<size_t>(slash - self) + 1;
  memcpy(path, self, length);
  strcpy(path + length, "libloser.so");
  void* const library = dlopen(path, RTLD_NOW);
  if (library == nullptr) return false;
  auto* const fn = reinterpret_cast<void (*)(size_t)>(dlsym(library, "probe_lose"));
#pragma GCC unroll 1
  for (int i = 0; i < 3; ++i) fn(1000);
  return dlclose(library) == 0 && dlopen(path, RTLD_NOW | RTLD_NOLOAD) == nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  kept = static_cast<char*>(malloc(100)) + 50;
  printf("buffered, and written at the end");
  if (strcmp(argv[1], "unloaded") == 0) {
    if (!lose_elsewhere(argv[0])) return 3;
  } else if (strcmp(argv[1], "none") != 0) {
    lose(argv[1]);
  }
  overwrite_stack();
  if (strcmp(argv[1], "small_stack") == 0) {
    static char space[16 * 1024];
    stack_t s = {};
    s.ss_sp = space;
    s.ss_size = sizeof space;
    sigaltstack(&s, nullptr);
    raise(SIGUSR2);
  }
  if (strcmp(argv[1], "signal") == 0) raise(SIGUSR2);
  if (strcmp(argv[1], "closed") == 0) {
    fflush(stdout);
    for (int fd = 0; fd < 3; ++fd) close(fd);
  }
  return argc > 2 ? atoi(argv[2]) : 0;
}
