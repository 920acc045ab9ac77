// map_table.cc - See map_table.h.
#include "sched/map_table.h"

#include "alloc/malloc.h"
#include "alloc/os/os.h"

namespace tri::sched::map_detail {
namespace {

constinit std::atomic<uint64_t> secret{0};
constinit std::atomic<uint64_t> drawn{0};

}  // namespace

uint64_t draw() {
  uint64_t s = secret.load(std::memory_order_relaxed);
  if (TRI_UNLIKELY(s == 0)) {
    // Two threads may both ask for one: the first stays.
    const uint64_t fresh = os::random64() | 1;
    s = secret.compare_exchange_strong(s, fresh, std::memory_order_relaxed) ? fresh : s;
  }
  const uint64_t n = drawn.fetch_add(1, std::memory_order_relaxed);
  return fold(mix(s + n), std::rotl(s, 32) | 1) ^ mix(n ^ s);
}

Table* make_table(const Map* m, size_t buckets, size_t spares, bool zeroed) {
  size_t bytes;
  if (__builtin_mul_overflow(buckets + spares, size_t{m->bucket_size}, &bytes)) return nullptr;
  if (bytes > PTRDIFF_MAX - sizeof(Table)) return nullptr;
  bytes += sizeof(Table);
  // Large memory that is new from the kernel is zero, and costs nothing until it is touched.
  auto* const t = static_cast<Table*>(zeroed ? allocate_zeroed(bytes) : allocate(bytes));
  if (t == nullptr) return nullptr;
  char* const first = reinterpret_cast<char*>(t + 1);
  char* const spare = first + buckets * m->bucket_size;
  *t = Table{nullptr, nullptr, first, spare, spare + spares * m->bucket_size, buckets - 1, 0, 0};
  return t;
}

void free_blocks(Retired* block) {
  while (block != nullptr) {
    Retired* const next = block->next;
    deallocate(block);
    block = next;
  }
}

void free_table(Table* t) {
  free_blocks(t->loose);
  deallocate(t);
}

void free_retired(Map* m) {
  // acquire: pairs with the release of the writer that pushed; the last pin was dropped after that.
  Table* t = m->retired_tables.exchange(nullptr, std::memory_order_acquire);
  while (t != nullptr) {
    Table* const next = t->next_retired;
    free_table(t);
    t = next;
  }
  free_blocks(m->retired_blocks.exchange(nullptr, std::memory_order_acquire));
}

void retire_table(Map* m, Table* t) {
  if (!is_pinned(m)) return free_table(t);
  t->next_retired = m->retired_tables.load(std::memory_order_relaxed);
  m->retired_tables.store(t, std::memory_order_release);  // pairs with free_retired()
}

char* make_part(size_t bytes) {
  auto* const block = static_cast<Retired*>(allocate(sizeof(Retired) + bytes));
  return block == nullptr ? nullptr : reinterpret_cast<char*>(block + 1);
}
void retire_part(Map* m, char* part) {
  Retired* const block = reinterpret_cast<Retired*>(part) - 1;
  if (!is_pinned(m)) return deallocate(block);
  block->next = m->retired_blocks.load(std::memory_order_relaxed);
  m->retired_blocks.store(block, std::memory_order_release);  // pairs with free_retired()
}

char* make_overflow(Map* m, Table* t, bool is_moving) {
  char* bucket;
  if (t->spare != t->end && (is_moving || m->old_table == nullptr)) {
    bucket = t->spare;
    t->spare += m->bucket_size;
  } else {
    TRI_ASSERT(!is_moving);
    bucket = make_part(m->bucket_size);
    if (bucket == nullptr) return nullptr;
    Retired* const block = reinterpret_cast<Retired*>(bucket) - 1;
    block->next = t->loose;
    t->loose = block;
  }
  ++t->overflow;
  init_bucket(m, bucket);
  return bucket;
}

}  // namespace tri::sched::map_detail
