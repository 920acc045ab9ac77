// early.cc - A library to preload beside ours: it allocates in its constructor and until its destructor.
#include <cstdlib>

#include "support/memory.h"
#include "support/require.h"

namespace {

constexpr int kCount = 300;
void* g_blocks[kCount];

size_t size_of(int i) { return static_cast<size_t>(i * i); }

__attribute__((constructor(101))) void begin() {
  for (int i = 0; i < kCount; ++i) {
    g_blocks[i] = i % 3 == 0 ? calloc(1, size_of(i)) : malloc(size_of(i));
    tri_test::require(g_blocks[i] != nullptr, "memory in a preloaded library's constructor");
    tri_test::fill(g_blocks[i], size_of(i), static_cast<uint64_t>(i));
  }
}

__attribute__((destructor(101))) void end() {
  for (int i = 0; i < kCount; ++i) {
    tri_test::require(tri_test::holds(g_blocks[i], size_of(i), static_cast<uint64_t>(i)),
                      "blocks of the constructor are whole in the destructor");
    g_blocks[i] = realloc(g_blocks[i], size_of(i) + 1000);
    free(g_blocks[i]);
    free(tri_test::opaque(malloc(size_of(i))));
  }
  tri_test::say("early library ended\n");
}

}  // namespace
