// throwing.cc - A C++ library that a C program opens: its bad_alloc is raised by the runtime that came with it.
#include <new>
#include <stdexcept>

#include "support/memory.h"

namespace {
int g_calls;
}

extern "C" int throw_and_catch() {
  try {
    char* p = new char[tri_test::opaque(size_t{PTRDIFF_MAX} - 100)];
    delete[] p;
    return -1;
  } catch (const std::bad_alloc&) {
  }
  std::set_new_handler([] {
    ++g_calls;
    throw std::runtime_error("from the handler");
  });
  try {
    char* p = new char[tri_test::opaque(size_t{PTRDIFF_MAX} - 100)];
    delete[] p;
    return -2;
  } catch (const std::runtime_error&) {
  }
  std::set_new_handler(nullptr);
  return g_calls == 1 ? 42 : -3;
}
