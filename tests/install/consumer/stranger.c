/* stranger.c - Exits with 0 when libtri.so is in the process, although nothing here mentions it at link time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>

int main(void) {
  bool (*active)(void);
  *(void**)&active = dlsym(RTLD_DEFAULT, "tri_active");
  free(malloc(100));
  return active && active() ? 0 : 1;
}
