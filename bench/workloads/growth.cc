// growth.cc - Buffers that grow by realloc: strings by a few bytes, vectors by a half, files by doubling.
//
// Many buffers grow at once, so that none can simply extend at the end of the heap; a few become large, where moving pages
// instead of bytes pays.
#include "support/workload.h"

using namespace bench;

namespace {

constexpr size_t kBuffers = 200;
constexpr uint64_t kRounds = 16;  // at scale 1

struct Buffer {
  unsigned char* bytes = nullptr;
  size_t size = 0;

  // Grows, and proves that the old end moved along; then marks the new end.
  void grow(size_t new_size) {
    auto* moved = static_cast<unsigned char*>(std::realloc(bytes, new_size));
    if (!moved) fail("out of memory");
    if (size && (moved[size - 1] != mark(size) || moved[size / 2] != 7))
      fail("realloc lost content");
    std::memset(moved + size, 7, new_size - size);
    bytes = moved;
    size = new_size;
    bytes[size - 1] = mark(size);
  }
  void clear() {
    std::free(bytes);
    *this = {};
  }
  static unsigned char mark(size_t n) { return static_cast<unsigned char>(n * 31 | 1); }
};

// Interleaved growth of all buffers to `limit` by next(size), checked at each step.
template <typename Next>
uint64_t grow_all(std::vector<Buffer>& buffers, size_t limit, Next next) {
  uint64_t steps = 0;
  for (bool grown = true; grown;) {
    grown = false;
    for (Buffer& buffer : buffers) {
      if (buffer.size >= limit) continue;
      // The old mark becomes ordinary content.
      size_t old_size = buffer.size;
      buffer.grow(next(old_size));
      if (old_size) buffer.bytes[old_size - 1] = 7;
      steps++;
      grown = true;
    }
  }
  for (Buffer& buffer : buffers) buffer.clear();
  return steps;
}

}  // namespace

int main(int argc, char** argv) {
  Args args(argc, argv);
  Rng rng(1);
  uint64_t steps = 0;
  for (uint64_t round = 0; round < args.scaled(kRounds); round++) {
    std::vector<Buffer> strings(kBuffers), vectors(kBuffers), files(3);
    steps += grow_all(strings, 32768, [&](size_t n) { return n + rng.between(16, 64); });
    steps += grow_all(vectors, 256 << 10, [](size_t n) { return n + n / 2 + 16; });
    steps += grow_all(files, 12 << 20, [](size_t n) { return n ? n + n / 8 : 4096; });
  }
  return done(steps);
}
