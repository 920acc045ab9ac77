// container_api.cc - The functions of tri/container.h.
#include <cerrno>
#include <cstddef>

#include "sched/hash.h"
#include "sched/map.h"
#include "sched/slice.h"
#include "shim/export.h"
#include "shim/include/tri.h"

namespace tri::sched {
namespace {

static_assert(sizeof(tri_slice) == sizeof(Slice));
static_assert(offsetof(tri_slice, data) == offsetof(Slice, data));
static_assert(offsetof(tri_slice, len) == offsetof(Slice, len));
static_assert(offsetof(tri_slice, cap) == offsetof(Slice, cap));
static_assert(offsetof(tri_slice, elem_size) == offsetof(Slice, elem_size));
static_assert(offsetof(tri_slice, borrowed) == offsetof(Slice, borrowed));

static_assert(sizeof(tri_map_iter) >= sizeof(MapIter));
static_assert(offsetof(tri_map_iter, key) == offsetof(MapIter, key));
static_assert(offsetof(tri_map_iter, value) == offsetof(MapIter, value));
static_assert(sizeof(tri_bytes) == sizeof(KeySlice));
static_assert(TRI_KEY_CUSTOM == static_cast<int>(KeyKind::kCustom));
static_assert(TRI_KEY_STRING == static_cast<int>(KeyKind::kString));
static_assert(TRI_KEY_SLICE == static_cast<int>(KeyKind::kSlice));

Slice* of(tri_slice* s) { return reinterpret_cast<Slice*>(s); }
const Slice* of(const tri_slice* s) { return reinterpret_cast<const Slice*>(s); }
Map* of(tri_map* m) { return reinterpret_cast<Map*>(m); }
// Lookups and iterations change nothing that another reader sees.
Map* of(const tri_map* m) { return reinterpret_cast<Map*>(const_cast<tri_map*>(m)); }
MapIter* of(tri_map_iter* it) { return reinterpret_cast<MapIter*>(it); }

}  // namespace
}  // namespace tri::sched

using namespace tri::sched;

TRI_EXPORT_BEGIN

int tri_slice_reserve(tri_slice* s, size_t more) { return slice_reserve(of(s), more); }
int tri_slice_append(tri_slice* s, const void* elems, size_t n) { return slice_append(of(s), elems, n); }
int tri_slice_insert(tri_slice* s, size_t at, const void* elems, size_t n) { return slice_insert(of(s), at, elems, n); }
int tri_slice_erase(tri_slice* s, size_t at, size_t n) { return slice_erase(of(s), at, n); }
int tri_slice_resize(tri_slice* s, size_t n) { return slice_resize(of(s), n); }
int tri_slice_view(const tri_slice* s, size_t low, size_t high, size_t max, tri_slice* out) {
  return slice_view(of(s), low, high, max, of(out));
}
int tri_slice_clone(const tri_slice* s, tri_slice* out) { return slice_clone(of(s), of(out)); }
int tri_slice_clip(tri_slice* s) { return slice_clip(of(s)); }
size_t tri_slice_copy(tri_slice* dst, const tri_slice* src) { return slice_copy(of(dst), of(src)); }
void tri_slice_free(tri_slice* s) { slice_free(of(s)); }
void tri_slice_out_of_range(size_t index, size_t len) { slice_out_of_range(index, len); }

tri_map* tri_map_new(const tri_map_type* type, size_t hint) {
  if (type == nullptr || static_cast<unsigned>(type->key) > TRI_KEY_CUSTOM) return nullptr;
  const MapType t{static_cast<KeyKind>(type->key), type->key_size, type->value_size, type->hash, type->equal};
  return reinterpret_cast<tri_map*>(map_create(t, hint));
}
void tri_map_free(tri_map* m) { map_destroy(of(m)); }
size_t tri_map_len(const tri_map* m) { return m == nullptr ? 0 : of(m)->count; }
void* tri_map_get(const tri_map* m, const void* key) { return map_find(of(m), key); }
void* tri_map_entry(const tri_map* m, const void* key, const void** stored) {
  return map_find_entry(of(m), key, stored);
}
int tri_map_set(tri_map* m, const void* key, const void* value) { return map_set(of(m), key, value); }
void* tri_map_put(tri_map* m, const void* key, bool* fresh) {
  bool ignored;
  return map_put(of(m), key, fresh == nullptr ? &ignored : fresh);
}
int tri_map_delete(tri_map* m, const void* key) { return map_take(of(m), key, nullptr, nullptr); }
int tri_map_take(tri_map* m, const void* key, void* key_out, void* value_out) {
  return map_take(of(m), key, key_out, value_out);
}
void tri_map_clear(tri_map* m) { map_clear(of(m)); }

tri_map_iter tri_map_iterate(const tri_map* m) {
  tri_map_iter it;
  map_iter_begin(of(&it), of(m));
  return it;
}
bool tri_map_next(tri_map_iter* it) { return map_iter_next(of(it)); }
void tri_map_iter_end(tri_map_iter* it) { map_iter_end(of(it)); }

uint64_t tri_hash(const void* data, size_t n, uint64_t seed) { return hash_bytes(data, n, seed); }

TRI_EXPORT_END
