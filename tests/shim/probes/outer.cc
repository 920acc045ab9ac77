// outer.cc - A library with a RUNPATH of its own that opens libinner.so by its bare name.
#include <dlfcn.h>

extern "C" int open_inner(int mode) {
  void* inner = dlopen("libinner.so", mode);
  if (inner == nullptr) return -1;
  auto answer = reinterpret_cast<int (*)()>(dlsym(inner, "inner_answer"));
  return answer == nullptr ? -2 : answer();
}
