// deep.cc - A library that its host opens, perhaps with RTLD_DEEPBIND: allocates and frees across the border.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>

extern "C" {

void* deep_malloc(size_t n) { return malloc(n); }
void deep_free(void* p) { free(p); }
void* deep_realloc(void* p, size_t n) { return realloc(p, n); }
char* deep_strdup(const char* s) { return strdup(s); }

// getline resizes its caller's buffer inside libc.
char* deep_getline(char* buffer, size_t* room) {
  FILE* stream = fopen("/proc/self/maps", "r");
  while (getline(&buffer, room, stream) > 0) {
  }
  fclose(stream);
  return buffer;
}

std::string* deep_string(size_t n) { return new std::string(n, 'd'); }
void deep_string_free(std::string* s) { delete s; }

// Everything within the library: what is allocated here is freed here.
int deep_alone() {
  for (size_t i = 1; i < 3000; ++i) {
    char* p = static_cast<char*>(malloc(i));
    memset(p, 1, i);
    p = static_cast<char*>(realloc(p, i * 2));
    char* q = strdup("text of the library");
    char* line = nullptr;
    size_t room = 0;
    if (i % 500 == 0) line = deep_getline(line, &room);
    free(line);
    free(q);
    free(p);
  }
  return 42;
}
}
