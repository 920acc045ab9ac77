// work.c - A hash table, and 256 small functions for the optimiser and the debugger to chew on.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Entry {
  struct Entry *next;
  char key[16];
  uint32_t value;
} Entry;

#define TIMES4(M, n) M(n##0) M(n##1) M(n##2) M(n##3)
#define TIMES16(M, n) TIMES4(M, n##0) TIMES4(M, n##1) TIMES4(M, n##2) TIMES4(M, n##3)
#define TIMES64(M, n) TIMES16(M, n##0) TIMES16(M, n##1) TIMES16(M, n##2) TIMES16(M, n##3)
#define TIMES256(M) TIMES64(M, 0) TIMES64(M, 1) TIMES64(M, 2) TIMES64(M, 3)

#define FUNCTION(n)                                                       \
  static uint32_t f_##n(const uint32_t *data, uint32_t count) {           \
    uint32_t sum = 0x##n;                                                 \
    for (uint32_t i = 0; i < count; i++) {                                \
      switch ((data[i] + 0x##n) % 5) {                                    \
        case 0: sum += data[i] * 0x##n; break;                            \
        case 1: sum ^= data[i] << (0x##n % 31); break;                    \
        case 2: sum = sum << 7 | sum >> 25; break;                        \
        case 3: sum -= data[(i * 0x##n) % count]; break;                  \
        default: sum *= 2654435761u;                                      \
      }                                                                   \
    }                                                                     \
    return sum;                                                           \
  }
TIMES256(FUNCTION)

#define POINTER(n) f_##n,
static uint32_t (*const functions[])(const uint32_t *, uint32_t) = {TIMES256(POINTER)};

static Entry *insert(Entry **table, uint32_t value) {
  Entry *entry = malloc(sizeof(Entry));
  snprintf(entry->key, sizeof entry->key, "key-%u", value % 5000);
  uint32_t hash = 5381;
  for (const char *c = entry->key; *c; c++) hash = hash * 33 + (unsigned char)*c;
  entry->value = value;
  entry->next = table[hash % 512];
  return table[hash % 512] = entry;
}

int main(void) {
  Entry *table[512] = {0};
  uint32_t data[64], sum = 1;
  for (uint32_t i = 0; i < 64; i++) data[i] = i * 40503u;
  for (uint32_t i = 0; i < 20000; i++) {
    sum += functions[i % 256](data, 64);
    sum = sum * 31 + insert(table, sum)->value % 7 + (uint32_t)strlen(table[i % 512] ? table[i % 512]->key : "");
  }
  uint32_t length = 0;
  for (uint32_t i = 0; i < 512; i++) {
    while (table[i]) {
      Entry *next = table[i]->next;
      free(table[i]);
      table[i] = next;
      length++;
    }
  }
  printf("%u entries, sum %u\n", length, sum);
  return 0;
}
