// fp.c - Loops of malloc and free, for counting instructions.
//
//   fp ORDER SIZE PAIRS
//     lifo    malloc, free, malloc, free ...
//     batch   100 mallocs, then 100 frees in the same order
//     null    the loop of lifo around two empty functions
//     nulls   that of batch
//
// Two runs with different PAIRS cost the same at start and end, so their difference is the loop alone.
// Built with -fno-builtin: a compiler that knows malloc removes pairs that nobody looks at.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kBatch = 100 };

typedef void* (*Malloc)(size_t);
typedef void (*Free)(void*);

static void* null_malloc(size_t size) { return (void*)size; }
static void null_free(void* p) { (void)p; }

// Called through pointers, as through the PLT, so that the loops are the same for all functions.
__attribute__((noinline)) static void lifo(Malloc allocate, Free release, size_t size, long pairs) {
  for (long i = 0; i < pairs; i++) release(allocate(size));
}

__attribute__((noinline)) static void batch(Malloc allocate, Free release, size_t size,
                                            long pairs) {
  void* blocks[kBatch];
  for (long i = 0; i < pairs; i += kBatch) {
    for (int k = 0; k < kBatch; k++) blocks[k] = allocate(size);
    for (int k = 0; k < kBatch; k++) release(blocks[k]);
  }
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fputs("usage: fp lifo|batch|null|nulls SIZE PAIRS\n", stderr);
    return 2;
  }
  size_t size = strtoul(argv[2], NULL, 10);
  long pairs = strtol(argv[3], NULL, 10);
  if (!strcmp(argv[1], "lifo"))
    lifo(malloc, free, size, pairs);
  else if (!strcmp(argv[1], "batch"))
    batch(malloc, free, size, pairs);
  else if (!strcmp(argv[1], "null"))
    lifo(null_malloc, null_free, size, pairs);
  else if (!strcmp(argv[1], "nulls"))
    batch(null_malloc, null_free, size, pairs);
  else
    return 2;
  return 0;
}
