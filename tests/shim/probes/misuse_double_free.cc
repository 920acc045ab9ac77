// misuse_double_free.cc - Blocks freed twice: at once and later, small and huge, by one thread and by several.
#include <new>

#include "probes/misuse.h"

namespace misuse {
namespace {

void twice(size_t size) {
  void* p = block(size);
  free(p);
  free(opaque(p));
}

void double_free_16() { twice(16); }
void double_free_64() { twice(64); }
void double_free_1024() { twice(1024); }
void double_free_32768() { twice(32768); }
void double_free_large() { twice(100000); }
void double_free_megabytes() { twice(5u << 20); }
void double_free_huge() { twice(64u << 20); }

void double_free_later() {
  void* others[200];
  for (auto& o : others) o = malloc(64);
  void* p = block(64);
  free(p);
  for (auto* o : others) free(o);
  free(opaque(p));
}

void double_free_between_live_neighbours() {
  void* others[200];
  void* p = nullptr;
  for (int i = 0; i < 200; ++i) {
    others[i] = malloc(64);
    if (i == 100) p = block(64);
  }
  free(p);
  free(others[3]);
  free(others[150]);
  free(opaque(p));
}

void double_free_from_another_thread() {
  void* p = block(64);
  free(p);
  on_another_thread(free_it, opaque(p));
}

void double_free_after_another_thread() {
  void* p = block(64);
  on_another_thread(free_it, p);
  free(opaque(p));
}

void double_free_by_two_other_threads() {
  void* p = block(64);
  on_another_thread(free_it, p);
  on_another_thread(free_it, opaque(p));
}

void double_free_of_a_dead_threads_block() {
  void* p = on_another_thread(
      [](void*) -> void* {
        void* all[100];
        for (auto& a : all) a = malloc(64);
        return all[50];
      },
      nullptr);
  tell(p, 64);
  free(p);
  free(opaque(p));
}

void double_free_after_the_span_was_given_back() {
  constexpr int kCount = 20000;
  static void* all[kCount];
  for (auto& a : all) a = malloc(64);
  void* p = all[kCount / 2];
  tell(p, 64);
  for (auto* a : all) free(a);
  malloc_trim(0);
  free(opaque(p));
}

void double_free_large_after_trim() {
  void* p = block(200000);
  free(p);
  malloc_trim(0);
  free(opaque(p));
}

void double_free_after_realloc_to_zero() {
  void* p = block(64);
  require(realloc(p, opaque<size_t>(0)) == nullptr, "realloc(p, 0) is null");
  free(opaque(p));
}

void double_free_of_a_block_that_realloc_moved() {
  void* p = block(64);
  void* q = opaque(realloc(p, 5000));
  require(q != p, "the block moved");
  free(opaque(p));
}

void double_delete() {
  void* p = opaque(::operator new(64));
  tell(p, 64);
  ::operator delete(p);
  ::operator delete(opaque(p));
}

void double_free_aligned() {
  void* p = opaque(memalign(1024, 1024));
  tell(p, malloc_usable_size(p));
  free(p);
  free(opaque(p));
}

}  // namespace

const std::vector<Case> kDoubleFrees = {
#define TRI_CASE(name) \
  { #name, name }
    TRI_CASE(double_free_16),
    TRI_CASE(double_free_64),
    TRI_CASE(double_free_1024),
    TRI_CASE(double_free_32768),
    TRI_CASE(double_free_large),
    TRI_CASE(double_free_megabytes),
    TRI_CASE(double_free_huge),
    TRI_CASE(double_free_later),
    TRI_CASE(double_free_between_live_neighbours),
    TRI_CASE(double_free_from_another_thread),
    TRI_CASE(double_free_after_another_thread),
    TRI_CASE(double_free_by_two_other_threads),
    TRI_CASE(double_free_of_a_dead_threads_block),
    TRI_CASE(double_free_after_the_span_was_given_back),
    TRI_CASE(double_free_large_after_trim),
    TRI_CASE(double_free_after_realloc_to_zero),
    TRI_CASE(double_free_of_a_block_that_realloc_moved),
    TRI_CASE(double_delete),
    TRI_CASE(double_free_aligned),
#undef TRI_CASE
};

}  // namespace misuse
