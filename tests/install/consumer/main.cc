// main.cc - A C++ program linked with libtri.so: its containers live in our memory, and C++ linkage of the header is right.
#include <dlfcn.h>
#include <tri.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

static int fail(int line, const char* condition) {
  std::fprintf(stderr, "line %d: not true: %s\n", line, condition);
  return 1;
}
#define REQUIRE(condition) \
  if (!(condition)) return fail(__LINE__, #condition)

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  REQUIRE(std::strcmp(tri_version(), argv[1]) == 0);
  REQUIRE(tri_active());

  for (const char* name : {"malloc", "_Znwm", "_ZdlPvm"}) {
    Dl_info owner;
    REQUIRE(dladdr(dlsym(RTLD_DEFAULT, name), &owner) != 0);
    REQUIRE(std::strstr(owner.dli_fname, "libtri.so") != nullptr);
  }

  std::map<std::string, int> words;
  for (int i = 0; i < 10000; i++)
    words["a word too long for the small-string buffer " + std::to_string(i % 5000)]++;
  REQUIRE(words.size() == 5000);

  void* ours = tri_alloc(100, 0);
  REQUIRE(ours != nullptr);
  tri_free(ours);
  return 0;
}
