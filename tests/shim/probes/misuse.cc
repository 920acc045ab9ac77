// misuse.cc - Breaks the rules of free and realloc in one named way.
//
//   misuse CASE    prints the pointer that it will misuse, and its usable size, then does it
//
// When the library lets it live (TRI=check:off, or a foreign pointer) it goes on to use the heap heavily and exits 0
// only if no block was given to two owners.
#include "probes/misuse.h"

namespace misuse {
namespace {

// Allocates much, of the misused sizes above all, and checks that nobody else writes into any of it.
void aftermath() {
  constexpr size_t kSizes[] = {16, 64, 64, 64, 128, 1024, 32768, 100000};
  constexpr size_t kCount = 2000;
  static void* blocks[kCount];
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < kCount; ++i) {
      size_t size = kSizes[i % 8];
      blocks[i] = malloc(size);
      require(blocks[i] != nullptr, "memory after the misuse");
      fill(blocks[i], size < 200 ? size : 200, i);
    }
    for (size_t i = 0; i < kCount; ++i) {
      size_t size = kSizes[i % 8];
      require(holds(blocks[i], size < 200 ? size : 200, i), "one owner for each block");
    }
    for (auto* p : blocks) free(p);
  }
}

}  // namespace
}  // namespace misuse

int main(int argc, char** argv) {
  using namespace misuse;
  for (const auto* cases : {&kDoubleFrees, &kPointers, &kContents}) {
    for (const auto& c : *cases) {
      if (argc != 2 || strcmp(argv[1], c.name) != 0) continue;
      c.run();
      aftermath();
      return 0;
    }
  }
  require(false, "the name of a case");
}
