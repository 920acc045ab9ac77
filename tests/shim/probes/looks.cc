// looks.cc - Looks for leaks again and again, while another thread loads and unloads libraries, which lose blocks: `looks LIBRARY SECONDS`.
//
// Prints how many of both there were.
#include <dlfcn.h>
#include <fcntl.h>
#include <tri.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<long>(1000 * atof(argv[2])));
  std::atomic<bool> stop{false};
  long loads = 0;
  std::thread loader([&] {
    while (!stop) {
      void* const library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) abort();
      auto* const lose = reinterpret_cast<void (*)()>(dlsym(library, "plant_in_library"));
      // All of the first are sampled; a hundred leaves room.
      if (loads < 100) lose();
      dlclose(library);
      ++loads;
    }
  });
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  long looks = 0;
  while (std::chrono::steady_clock::now() < end || loads < 100) {
    if (tri_report(nowhere, "leaks") < 0) return 3;
    ++looks;
  }
  stop = true;
  loader.join();
  printf("%ld looks, %ld loads\n", looks, loads);
  return 0;
}
