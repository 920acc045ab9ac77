/* collected.c - A program that was written for libgc. */
#include <stddef.h>

void GC_init(void);
void *GC_malloc(size_t n);
void GC_gcollect(void);
unsigned long GC_get_gc_no(void);

int main(void) {
  GC_init();
  void *volatile last = NULL;
  for (int i = 0; i < 1000; ++i) last = GC_malloc(100);
  GC_gcollect();
  return last == NULL || GC_get_gc_no() == 0;
}
