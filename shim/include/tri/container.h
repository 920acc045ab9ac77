/* container.h - Slices and maps, as the Go runtime has them.
 *
 * Nothing here blocks or waits for another thread. A slice or map is used by one thread (or goroutine) at a time, or by any
 * number that only read; the caller sees to it. Memory is the allocator's; errno is never touched; a call that fails
 * leaves what it was given as it was. */
#ifndef TRI_CONTAINER_H
#define TRI_CONTAINER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- slices --------------------------------------------------------------------------------------------------------- */

/** Elements side by side, and room for more. Start with TRI_SLICE(type), which allocates nothing; end with
 *  tri_slice_free(). The fields may be read; len may be lowered.
 *
 *  Capacity grows as in Go (runtime/slice.go since 1.18): double below 256 elements, then by a quarter plus 192, to what is
 *  needed if that is more, and up to what the allocator would give anyway. A large block grows where it is while the
 *  pages behind it are free. Pointers to elements are good until the slice grows. */
struct tri_slice {
  void *data;
  size_t len;       /**< elements in use */
  size_t cap;       /**< elements that there is room for */
  size_t elem_size; /**< bytes of one; 0 is allowed */
  bool borrowed;    /**< the memory belongs to another slice or to the caller: see tri_slice_view() */
};

/** An empty slice of elements of a type. */
#ifdef __cplusplus
#define TRI_SLICE(T) (tri_slice{nullptr, 0, 0, sizeof(T), false})
#else
#define TRI_SLICE(T) ((struct tri_slice){NULL, 0, 0, sizeof(T), false})
#endif

/** The element i of *s, to read, write or take the address of; T is its type. An index out of range ends the program with one
 *  line on fd 2, as in Go. */
#define TRI_AT(T, s, i) (((T *)(s)->data)[tri_slice_index((s), (i))])

/** Appends a value of type T: 0 or -ENOMEM. The value is evaluated after there is room for it; s is evaluated more than once. */
#define TRI_PUSH(T, s, ...) \
  ((s)->len < (s)->cap || tri_slice_reserve((s), 1) == 0 ? (((T *)(s)->data)[(s)->len++] = (__VA_ARGS__), 0) : -ENOMEM)

/** Makes room for `more` elements beyond len. @return 0; -ENOMEM: no memory, or more than PTRDIFF_MAX bytes. */
int tri_slice_reserve(struct tri_slice *s, size_t more);

/** Appends n elements, which may be some of the slice's own; NULL: zeroes. @return 0; -ENOMEM. */
int tri_slice_append(struct tri_slice *s, const void *elems, size_t n);

/** Puts n elements, which may be some of the slice's own, in front of element `at`; NULL: zeroes.
 *  @return 0; -ENOMEM; -ERANGE: at > len. */
int tri_slice_insert(struct tri_slice *s, size_t at, const void *elems, size_t n);

/** Removes the n elements from `at` on. @return 0; -ERANGE: there are not as many. */
int tri_slice_erase(struct tri_slice *s, size_t at, size_t n);

/** Makes len n; new elements are zero. @return 0; -ENOMEM. */
int tri_slice_resize(struct tri_slice *s, size_t n);

/** *out becomes s[low:high:max] of Go: a view of the same memory, with len high - low and cap max - low. Appending to a view
 *  writes to the memory it shares while its cap allows, and gives it memory of its own after that. A view must not be
 *  used after its lender grew or was freed; only one that has grown owns memory, and tri_slice_free() is right for both.
 *  @return 0; -ERANGE unless low <= high <= max <= cap. */
int tri_slice_view(const struct tri_slice *s, size_t low, size_t high, size_t max, struct tri_slice *out);

/** *out becomes a slice with copies of the elements of *s and no more room than the allocator rounds up to; what *out held
 *  is not freed. @return 0; -ENOMEM. */
int tri_slice_clone(const struct tri_slice *s, struct tri_slice *out);

/** Gives back the memory beyond len; of a view, the right to use it. @return 0; -ENOMEM. */
int tri_slice_clip(struct tri_slice *s);

/** Copies as many elements as both have, from the first on; they may overlap. Element sizes that differ end the program.
 *  @return how many. */
size_t tri_slice_copy(struct tri_slice *dst, const struct tri_slice *src);

/** Frees the memory if the slice owns it; the slice is empty then, and may be used again. */
void tri_slice_free(struct tri_slice *s);

/** For TRI_AT. */
#if defined(__GNUC__)
__attribute__((noreturn, cold))
#endif
void tri_slice_out_of_range(size_t index, size_t len);
static inline size_t tri_slice_index(const struct tri_slice *s, size_t i) {
  if (i >= s->len) tri_slice_out_of_range(i, s->len);
  return i;
}

/* ---- maps ----------------------------------------------------------------------------------------------------------- */

/** A hash map: Go's classic one (runtime/map.go up to 1.23), buckets of eight entries with a byte of each hash in front.
 *
 *  It grows by moving two buckets at each write, never all at once. It may be changed while it is iterated. Hashes are
 *  seeded for each map. Keys and values are copied in; above 128 bytes they stand outside of the buckets. They are aligned
 *  to 16 if their size is a multiple of 16, else to 8 or their size. Any number of threads may read and iterate at the same
 *  time; a write beside anything else is a mistake that ends in "tri: concurrent map writes" (or "concurrent map read and map
 *  write", "concurrent map iteration and map write") when it is noticed, which is not always. Pointers to values and keys
 *  are good until the next write to the map. */
typedef struct tri_map tri_map;

enum tri_key {
  TRI_KEY_BYTES,  /**< by the key's own bytes: integers, pointers, structs without padding */
  TRI_KEY_STRING, /**< const char *: by the string, which is not copied and must stay as it is */
  TRI_KEY_SLICE,  /**< struct tri_bytes: by what it points to, which is not copied and must stay as it is */
  TRI_KEY_CUSTOM  /**< by `hash` and `equal` */
};

struct tri_bytes {
  const void *data;
  size_t len;
};

struct tri_map_type {
  enum tri_key key;
  size_t key_size;   /**< up to 1 GiB, as value_size; both may be 0 */
  size_t value_size;
  /** Equal keys have equal hashes. Neither may use the map. Needed for TRI_KEY_CUSTOM, else NULL. */
  uint64_t (*hash)(const void *key, uint64_t seed);
  bool (*equal)(const void *a, const void *b);
};

/** Makes a map with room for `hint` entries. *type is copied.
 *  @return the map, for tri_map_free(); NULL: no memory, or a type that cannot be. */
tri_map *tri_map_new(const struct tri_map_type *type, size_t hint);

/** Frees the map, not what its keys and values point to; NULL is allowed. No iteration of it may go on. */
void tri_map_free(tri_map *m);

/** The number of entries; 0 for NULL. */
size_t tri_map_len(const tri_map *m);

/** The value of a key. @return NULL: there is none, or m is NULL. */
void *tri_map_get(const tri_map *m, const void *key);

/** As tri_map_get(), and sets *stored to the key as the map holds it (NULL if there is none). */
void *tri_map_entry(const tri_map *m, const void *key, const void **stored);

/** Stores a copy of *value under a copy of *key; if the key is there already, the stored one stays. @return 0; -ENOMEM. */
int tri_map_set(tri_map *m, const void *key, const void *value);

/** Where the value of the key stands, new and zero if there was none; *fresh (may be NULL) tells. @return NULL: no memory. */
void *tri_map_put(tri_map *m, const void *key, bool *fresh);

/** Removes an entry. @return 0; -ENOENT: there was none, or m is NULL. */
int tri_map_delete(tri_map *m, const void *key);

/** Removes an entry and copies its key and value out (either may be NULL), so that what they point to can be freed.
 *  @return 0; -ENOENT. */
int tri_map_take(tri_map *m, const void *key, void *key_out, void *value_out);

/** Removes all entries; the map keeps its buckets. NULL is allowed. */
void tri_map_clear(tri_map *m);

/** One iteration, on the caller's stack. */
struct tri_map_iter {
  const void *key; /**< of the current entry; NULL before the first and at the end */
  void *value;
  void *opaque[8];
};

/** Begins an iteration; NULL is allowed. Each entry that is there from here to the end comes once, in an order that is another
 *  each time; one that is deleted before its turn does not come; one that is added may come or not. */
struct tri_map_iter tri_map_iterate(const tri_map *m);

/** Goes to the next entry, it->key and it->value. @return false at the end. */
bool tri_map_next(struct tri_map_iter *it);

/** Ends an iteration before its end; harmless after it. While an iteration goes on, the map keeps memory that it would free. */
void tri_map_iter_end(struct tri_map_iter *it);

/** for each entry: TRI_MAP_EACH(it, m) { it.key, it.value }; break, return and goto end it properly, longjmp does not. */
#if defined(__GNUC__)
#define TRI_MAP_EACH(it, m) \
  for (struct tri_map_iter it __attribute__((cleanup(tri_map_iter_end))) = tri_map_iterate(m); tri_map_next(&it);)
#endif

/** A hash of n bytes, for a `hash` function: as good as the map's own. */
uint64_t tri_hash(const void *data, size_t n, uint64_t seed);

#ifdef __cplusplus
}
#endif

#endif
