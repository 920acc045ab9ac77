// misuse_pointers.cc - Pointers that are no block: inside one, on a stack, in a program, nowhere, another allocator's.
#include <alloca.h>
#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "probes/misuse.h"

namespace misuse {
namespace {

char g_data[256] = "initialised";
char g_zeroed[256];

// A block of the allocator behind ours: libc's own malloc, past the preloaded one.
void* foreign_block(size_t size) {
  void* libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  require(libc != nullptr, "a handle of libc");
  auto its_malloc = reinterpret_cast<void* (*)(size_t)>(dlsym(libc, "malloc"));
  void* p = its_malloc(size);
  memset(p, 0x66, size);
  return p;
}

// --- pointers that are not the start of a block ------------------------------------------------------------------

void interior_16() { free(inside(block(64), 16)); }
void interior_48() { free(inside(block(64), 48)); }
void interior_512() { free(inside(block(1024), 512)); }
void interior_large() { free(inside(block(100000), 4096)); }
void interior_large_page() { free(inside(block(100000), 65536)); }
void interior_huge() { free(inside(block(64u << 20), 10u << 20)); }
void interior_deleted() { ::operator delete(inside(block(64), 32)); }
void interior_from_another_thread() { on_another_thread(free_it, inside(block(64), 16)); }
void misaligned_3() { free(inside(block(64), 3)); }
void misaligned_1() { free(inside(block(1024), 1)); }
void misaligned_large() { free(inside(block(100000), 3)); }

void never_allocated() {
  void* p = opaque(malloc(128));
  char* later = inside(p, 128 * 96);  // pages ahead, and in the same span of 64 KiB
  tell(later, 128);
  free(later);
}

// --- pointers that are no heap at all ----------------------------------------------------------------------------

void stack_pointer() {
  alignas(16) char local[64] = {};
  void* p = opaque<void*>(local);
  tell(p);
  free(p);
}

void stack_alloca() {
  void* p = opaque(alloca(100));
  p = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(p) + 15) & ~uintptr_t{15});
  tell(p);
  free(p);
}

void stack_of_a_thread() {
  on_another_thread(
      [](void*) -> void* {
        stack_pointer();
        return nullptr;
      },
      nullptr);
}

void stack_misaligned() {
  char local[64] = {};
  void* p = opaque<void*>(local + 1 + (reinterpret_cast<uintptr_t>(local) & 1));
  tell(p);
  free(p);
}

void is_static(const void* address) {
  void* p = opaque(const_cast<void*>(address));
  tell(p);
  free(p);
}

void static_data() { is_static(g_data); }
void static_zeroed() { is_static(g_zeroed); }
void static_literal() { is_static("a string of the program"); }
void static_code() { is_static(reinterpret_cast<void*>(&static_data)); }
void static_of_libc() { is_static(stdout); }

void wild_at(uintptr_t address) {
  void* p = reinterpret_cast<void*>(opaque(address));
  tell(p);
  free(p);
}

void wild_low() { wild_at(0x10); }
void wild_middle() { wild_at(0x123456780); }
void wild_noncanonical() { wild_at(0x8000'0000'0000'1000); }
void wild_kernel() { wild_at(0xffff'8000'0000'0010); }
void wild_top() { wild_at(~uintptr_t{15}); }

void wild_unmapped() {
  void* p = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(p, 4096);
  wild_at(reinterpret_cast<uintptr_t>(p));
}

void foreign_libc() {
  for (int i = 0; i < 100; ++i) {
    void* p = foreign_block(100 + static_cast<size_t>(i));
    if (i == 0) tell(p);
    free(p);
  }
}

void foreign_libc_comes_back() {
  // Passed on means: libc has it again, and gives it to the next caller of its malloc.
  void* p = foreign_block(2000);
  tell(p);
  free(opaque(p));
  bool again = false;
  for (int i = 0; i < 64 && !again; ++i) again = foreign_block(2000) == p;
  require(again, "libc got its block back");
}

void foreign_other_namespace() {
  void* libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
  require(libc != nullptr, "a second libc");
  auto its_malloc = reinterpret_cast<void* (*)(size_t)>(dlsym(libc, "malloc"));
  void* p = its_malloc(100);
  tell(p);
  free(opaque(p));
}

void foreign_mapping() {
  auto* p = static_cast<char*>(
      mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  tell(p + 4096);
  free(opaque(p + 4096));
}

void foreign_realloc() {
  void* p = foreign_block(500);
  tell(p);
  auto* q = static_cast<char*>(realloc(opaque(p), 5000));
  require(q != nullptr, "realloc of a foreign block gives a block");
  for (int i = 0; i < 500; ++i)
    require(q[i] == 0x66, "realloc of a foreign block keeps its content");
  free(q);
}

}  // namespace

const std::vector<Case> kPointers = {
#define TRI_CASE(name) \
  { #name, name }
    TRI_CASE(interior_16),
    TRI_CASE(interior_48),
    TRI_CASE(interior_512),
    TRI_CASE(interior_large),
    TRI_CASE(interior_large_page),
    TRI_CASE(interior_huge),
    TRI_CASE(interior_deleted),
    TRI_CASE(interior_from_another_thread),
    TRI_CASE(misaligned_3),
    TRI_CASE(misaligned_1),
    TRI_CASE(misaligned_large),
    TRI_CASE(never_allocated),
    TRI_CASE(stack_pointer),
    TRI_CASE(stack_alloca),
    TRI_CASE(stack_of_a_thread),
    TRI_CASE(stack_misaligned),
    TRI_CASE(static_data),
    TRI_CASE(static_zeroed),
    TRI_CASE(static_literal),
    TRI_CASE(static_code),
    TRI_CASE(static_of_libc),
    TRI_CASE(wild_low),
    TRI_CASE(wild_middle),
    TRI_CASE(wild_noncanonical),
    TRI_CASE(wild_kernel),
    TRI_CASE(wild_top),
    TRI_CASE(wild_unmapped),
    TRI_CASE(foreign_libc),
    TRI_CASE(foreign_libc_comes_back),
    TRI_CASE(foreign_other_namespace),
    TRI_CASE(foreign_mapping),
    TRI_CASE(foreign_realloc),
#undef TRI_CASE
};

}  // namespace misuse
