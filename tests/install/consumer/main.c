/* main.c - A C program linked with libtri.so: the library is there, and malloc is its malloc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tri.h>

static int fail(int line, const char* condition) {
  fprintf(stderr, "line %d: not true: %s\n", line, condition);
  return 1;
}
#define REQUIRE(condition) \
  if (!(condition)) return fail(__LINE__, #condition)

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  REQUIRE(strcmp(tri_version(), argv[1]) == 0);
  REQUIRE(tri_active());

  /* dlsym, since the address of malloc in the source may be that of a stub in the program. */
  Dl_info owner;
  REQUIRE(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &owner) != 0);
  REQUIRE(strstr(owner.dli_fname, "libtri.so") != NULL);

  char* text = malloc(100);
  REQUIRE(text != NULL);
  memset(text, 'x', 100);
  free(text);

  char* ours = tri_alloc(100, 0);
  REQUIRE(ours != NULL);
  memset(ours, 'y', 100);
  tri_free(ours);
  return 0;
}
