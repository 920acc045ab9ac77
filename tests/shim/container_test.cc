// container_test.cc - tri/container.h, called by a program that links the library, in C++ and (container_c.c) in C. What slices
// and maps do is tested in tests/sched; here: that each function is there, and that the header's own code is right.
#include <gtest/gtest.h>
#include <tri.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

extern "C" {
long c_sum_of_points(int n);
int c_count_words(const char* text, const char* word);
int c_first_value(const tri_map* m);
}

namespace tri_test {
namespace {

TEST(Container, SlicesByMacroInC) { EXPECT_EQ(c_sum_of_points(1000), 3L * 999 * 1000 / 2); }

TEST(Container, AMapOfOwnedStringsInC) {
  EXPECT_EQ(c_count_words("the quick fox and the slow fox and the end", "the"), 3);
  EXPECT_EQ(c_count_words("the quick fox and the slow fox and the end", "dog"), 0);
}

TEST(Container, SlicesInCpp) {
  tri_slice s = TRI_SLICE(int);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(TRI_PUSH(int, &s, i), 0);
  const int more[] = {1, 2, 3};
  EXPECT_EQ(tri_slice_append(&s, more, 3), 0);
  EXPECT_EQ(tri_slice_insert(&s, 0, more, 3), 0);
  EXPECT_EQ(tri_slice_insert(&s, 1000, more, 3), -ERANGE);
  EXPECT_EQ(tri_slice_erase(&s, 3, 100), 0);
  EXPECT_EQ(s.len, 6U);
  EXPECT_EQ(TRI_AT(int, &s, 5), 3);
  tri_slice view;
  EXPECT_EQ(tri_slice_view(&s, 1, 3, 3, &view), 0);
  EXPECT_EQ(TRI_AT(int, &view, 0), 2);
  tri_slice copy;
  EXPECT_EQ(tri_slice_clone(&s, &copy), 0);
  EXPECT_EQ(tri_slice_resize(&copy, 1000), 0);
  EXPECT_EQ(TRI_AT(int, &copy, 999), 0);
  EXPECT_EQ(tri_slice_copy(&copy, &view), 2U);
  EXPECT_EQ(tri_slice_clip(&copy), 0);
  EXPECT_EQ(tri_slice_reserve(&copy, SIZE_MAX / 2), -ENOMEM);
  tri_slice_free(&copy);
  tri_slice_free(&s);
}

TEST(ContainerDeath, AnIndexOutOfRangeEndsInOneLine) {
  tri_slice s = TRI_SLICE(int);
  ASSERT_EQ(TRI_PUSH(int, &s, 1), 0);
  EXPECT_DEATH(TRI_AT(int, &s, 1) = 2, "tri: index 1 out of range of a slice of length 1");
  tri_slice_free(&s);
}

uint64_t hash_ignoring_case(const void* key, uint64_t seed) {
  const char* text;
  memcpy(&text, key, sizeof text);
  std::string lower;
  for (; *text != 0; ++text) lower += static_cast<char>(tolower(*text));
  return tri_hash(lower.data(), lower.size(), seed);
}
bool equal_ignoring_case(const void* a, const void* b) {
  const char* x;
  const char* y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return strcasecmp(x, y) == 0;
}

TEST(Container, AMapWithFunctionsOfItsOwn) {
  const tri_map_type type = {TRI_KEY_CUSTOM, sizeof(char*), sizeof(int), hash_ignoring_case, equal_ignoring_case};
  tri_map* const m = tri_map_new(&type, 0);
  const char* key = "Hello";
  int value = 1;
  EXPECT_EQ(tri_map_set(m, &key, &value), 0);
  key = "HELLO";
  const void* stored;
  auto* const found = static_cast<int*>(tri_map_entry(m, &key, &stored));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(*found, 1);
  EXPECT_STREQ(*static_cast<const char* const*>(stored), "Hello");
  EXPECT_EQ(tri_map_take(m, &key, nullptr, &value), 0);
  EXPECT_EQ(tri_map_delete(m, &key), -ENOENT);
  tri_map_free(m);
}

TEST(Container, IterationsInCpp) {
  const tri_map_type type = {TRI_KEY_BYTES, sizeof(int), sizeof(int), nullptr, nullptr};
  tri_map* const m = tri_map_new(&type, 100);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(tri_map_set(m, &i, &i), 0);
  EXPECT_EQ(tri_map_len(m), 1000U);
  std::set<int> seen;
  TRI_MAP_EACH(it, m) seen.insert(*static_cast<const int*>(it.key));
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_NE(c_first_value(m), -1);
  tri_map_iter it = tri_map_iterate(m);
  EXPECT_TRUE(tri_map_next(&it));
  tri_map_iter_end(&it);
  tri_map_clear(m);
  EXPECT_EQ(tri_map_len(m), 0U);
  EXPECT_EQ(c_first_value(m), -1);
  EXPECT_EQ(c_first_value(nullptr), -1);
  EXPECT_EQ(tri_map_len(nullptr), 0U);
  tri_map_free(m);
}

TEST(Container, TypesThatCannotBeAreRefused) {
  EXPECT_EQ(tri_map_new(nullptr, 0), nullptr);
  const tri_map_type type = {TRI_KEY_STRING, 4, 4, nullptr, nullptr};
  EXPECT_EQ(tri_map_new(&type, 0), nullptr);
}

}  // namespace
}  // namespace tri_test
