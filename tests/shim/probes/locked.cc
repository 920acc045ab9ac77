// locked.cc - A program that locks all its memory, present and future, and uses 5 MiB in two threads.
//
// Prints by how many KiB the resident size grew. Whatever an allocator maps, the kernel fills at once.
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/memory.h"
#include "support/require.h"

namespace {

using namespace tri_test;

void* allocate(void*) {
  for (size_t total = 0; total < (5u << 19);) {
    size_t size = 16 + total % 3000;
    memset(opaque(malloc(size)), 1, size);  // kept
    total += size;
  }
  return nullptr;
}

}  // namespace

int main() {
  // The base without the lock's own effect on the program and libc: everything mapped so far is filled by the lock.
  require(mlockall(MCL_CURRENT) == 0, "memory can be locked");
  long base = rss_kib();
  require(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "future memory can be locked");
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_t thread;
  require(pthread_create(&thread, &attributes, allocate, nullptr) == 0, "a thread");
  allocate(nullptr);
  pthread_join(thread, nullptr);
  printf("%ld\n", rss_kib() - base);
  return 0;
}
