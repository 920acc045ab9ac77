// hello.c - The smallest program that allocates: the memory that a process has because of its allocator.
#include <stdlib.h>
#include <string.h>

int main(void) {
  char* words[2];
  for (int i = 0; i < 2; i++) {
    words[i] = malloc(100);
    if (words[i] == NULL) return 1;
    strcpy(words[i], "hello");
  }
  int differ = strcmp(words[0], words[1]);
  free(words[1]);
  free(words[0]);
  return differ;
}
