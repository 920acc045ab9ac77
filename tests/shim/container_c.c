/* container_c.c - The macros and inline functions of tri/container.h in C11: what container_test.cc calls. */
#include <stdlib.h>
#include <string.h>
#include <tri.h>

struct point {
  int x, y;
};

/* A slice of structs, by the macros alone: the sum of x * y, or a negative errno. */
long c_sum_of_points(int n);
long c_sum_of_points(int n) {
  struct tri_slice points = TRI_SLICE(struct point);
  long sum = 0;
  int i;
  for (i = 0; i < n; ++i) {
    const int result = TRI_PUSH(struct point, &points, (struct point){i, 2});
    if (result < 0) return result;
  }
  for (i = 0; i < n; ++i) {
    TRI_AT(struct point, &points, (size_t)i).y += 1;
    sum += (long)TRI_AT(struct point, &points, (size_t)i).x * TRI_AT(struct point, &points, (size_t)i).y;
  }
  tri_slice_free(&points);
  return sum;
}

/* Counts the words of a text, each of them a key that the map's user owns; returns the count of one. */
int c_count_words(const char *text, const char *word);
int c_count_words(const char *text, const char *word) {
  const struct tri_map_type type = {TRI_KEY_STRING, sizeof(char *), sizeof(int), NULL, NULL};
  tri_map *counts = tri_map_new(&type, 0);
  char *copy = strdup(text);
  char *rest = copy;
  char *token;
  int found = 0;
  int *count;
  while ((token = strtok_r(rest, " ", &rest)) != NULL) {
    char *key = strdup(token);
    bool fresh;
    count = (int *)tri_map_put(counts, &key, &fresh);
    if (count == NULL) abort();
    ++*count;
    if (!fresh) free(key);
  }
  count = (int *)tri_map_get(counts, &word);
  if (count != NULL) found = *count;
  TRI_MAP_EACH(it, counts) {
    char *key;
    memcpy(&key, it.key, sizeof key);
    /* The entry goes first: its key must not be freed while the map may still compare it. */
    tri_map_delete(counts, &key);
    free(key);
  }
  if (tri_map_len(counts) != 0) abort();
  tri_map_free(counts);
  free(copy);
  return found;
}

/* Leaves an iteration in the middle: the macro ends it. */
int c_first_value(const tri_map *m);
int c_first_value(const tri_map *m) {
  TRI_MAP_EACH(it, m) { return *(const int *)it.value; }
  return -1;
}
