// misuse_contents.cc - Blocks given back with a wrong size, written after they were freed, resized though they are none.
#include <cstdint>
#include <new>

#include "probes/misuse.h"

namespace misuse {
namespace {

char g_data[256] = "initialised";

// --- sizes that do not belong ------------------------------------------------------------------------------------

void wrong_size_free_sized() { exported<FreeSized>("free_sized")(block(64), 200); }
void wrong_size_small() { exported<FreeSized>("free_sized")(block(64), 10); }
void wrong_size_delete() { ::operator delete(block(64), opaque<size_t>(200)); }
void wrong_size_delete_array() { ::operator delete[](block(64), opaque<size_t>(200)); }
void wrong_size_of_large() { exported<FreeSized>("free_sized")(block(100000), 200); }
void wrong_size_large_of_small() { exported<FreeSized>("free_sized")(block(64), 100000); }
void wrong_size_aligned() { exported<FreeAlignedSized>("free_aligned_sized")(block(64), 16, 200); }
void wrong_size_delete_aligned() {
  ::operator delete (block(64), opaque<size_t>(200), std::align_val_t{16});
}

// --- writing to what was freed -----------------------------------------------------------------------------------

void written(size_t from, size_t length, bool at_free) {
  void* others[64];
  for (auto& o : others) o = malloc(64);
  void* p = block(64);
  free(p);
  memset(inside(p, from), 0x41, length);
  if (at_free)
    for (auto* o : others) free(o);
  for (int i = 0; i < 5000; ++i) opaque(malloc(64));
}

void written_link() { written(0, 8, false); }
void written_whole() { written(0, 64, false); }
void written_link_then_frees() { written(0, 8, true); }

void written_one_byte() {
  void* others[64];
  for (auto& o : others) o = malloc(64);
  void* p = block(64);
  free(others[10]);
  free(p);
  *inside(p, 2) ^= 0x40;
  for (int i = 0; i < 5000; ++i) opaque(malloc(64));
}

// What a freed object's counter does: its lowest byte changes a little.
void written_counter() {
  void* others[64];
  for (auto& o : others) o = malloc(64);
  void* p = block(64);
  free(others[10]);
  free(p);
  int counter;
  memcpy(&counter, opaque(p), sizeof counter);
  --counter;
  memcpy(opaque(p), &counter, sizeof counter);
  for (int i = 0; i < 5000; ++i) opaque(malloc(64));
}

// --- realloc -----------------------------------------------------------------------------------------------------

void realloc_freed() {
  void* p = block(64);
  free(p);
  opaque(realloc(opaque(p), 100));
}

void realloc_freed_large() {
  void* p = block(100000);
  free(p);
  opaque(realloc(opaque(p), 300000));
}

void realloc_of(void* p) { opaque(realloc(p, opaque<size_t>(100))); }
void realloc_interior() { realloc_of(inside(block(64), 16)); }
void realloc_interior_large() { realloc_of(inside(block(100000), 4096)); }
void realloc_misaligned() { realloc_of(inside(block(64), 3)); }
void realloc_static() {
  tell(g_data);
  realloc_of(opaque<void*>(g_data));
}
void realloc_wild() {
  void* p = reinterpret_cast<void*>(opaque<uintptr_t>(0x123456780));
  tell(p);
  realloc_of(p);
}
void realloc_stack() {
  alignas(16) char local[64] = {};
  void* p = opaque<void*>(local);
  tell(p);
  realloc_of(p);
}

}  // namespace

const std::vector<Case> kContents = {
#define TRI_CASE(name) \
  { #name, name }
    TRI_CASE(wrong_size_free_sized),
    TRI_CASE(wrong_size_small),
    TRI_CASE(wrong_size_delete),
    TRI_CASE(wrong_size_delete_array),
    TRI_CASE(wrong_size_of_large),
    TRI_CASE(wrong_size_large_of_small),
    TRI_CASE(wrong_size_aligned),
    TRI_CASE(wrong_size_delete_aligned),
    TRI_CASE(written_link),
    TRI_CASE(written_whole),
    TRI_CASE(written_link_then_frees),
    TRI_CASE(written_one_byte),
    TRI_CASE(written_counter),
    TRI_CASE(realloc_freed),
    TRI_CASE(realloc_freed_large),
    TRI_CASE(realloc_interior),
    TRI_CASE(realloc_interior_large),
    TRI_CASE(realloc_misaligned),
    TRI_CASE(realloc_static),
    TRI_CASE(realloc_wild),
    TRI_CASE(realloc_stack),
#undef TRI_CASE
};

}  // namespace misuse
