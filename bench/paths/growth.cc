// growth.cc - realloc: one buffer that grows step by step. The time is that of a whole growth.
#include <benchmark/benchmark.h>

#include <cstdlib>

namespace {

void append_64_bytes(benchmark::State& state) {
  auto limit = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = nullptr;
    for (size_t n = 64; n <= limit; n += 64) p = std::realloc(p, n);
    std::free(p);
  }
}

// Each new half is written, as a vector's user would do.
void grow_by_half(benchmark::State& state) {
  auto limit = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    size_t size = 64;
    auto* p = static_cast<char*>(std::malloc(size));
    while (size < limit) {
      size_t larger = size + size / 2;
      p = static_cast<char*>(std::realloc(p, larger));
      for (size_t i = size; i < larger; i += 64) *static_cast<volatile char*>(p + i) = 1;
      size = larger;
    }
    std::free(p);
  }
}

BENCHMARK(append_64_bytes)->Arg(4 << 10)->Arg(64 << 10)->Arg(1 << 20);
BENCHMARK(grow_by_half)->Arg(64 << 10)->Arg(4 << 20)->Arg(64 << 20);

}  // namespace
