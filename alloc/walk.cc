// walk.cc - See walk.h.
#include "alloc/walk.h"

#include <bit>
#include <cerrno>

#include "alloc/collected.h"
#include "alloc/held.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"

namespace tri {
namespace {

constexpr size_t kMaxCapacity = class_capacity(0);
using BlockBits = PageBits<(kMaxCapacity + 63) / 64 * 64>;

/// Marks the blocks of a list; stops at what is no link, and after as many blocks as there are.
void mark_list(const Span* s, uint64_t head, BlockBits* bits) {
  uint32_t n = 0;
  for (uint64_t offset = head; s->is_block(offset) && n < s->carved; ++n) {
    bits->set(offset / s->size - 1, 1);
    offset = s->load_link(s->block_at(offset));
  }
}

int walk_collected(const Span* s, int (*fn)(void*, size_t, void*), void* arg) {
  BlockBits free_blocks;
  s->collected->each_unused([&](size_t i, uint64_t free) {
    for (; free != 0; free &= free - 1) free_blocks.set(i * 64 + static_cast<size_t>(std::countr_zero(free)), 1);
  });
  for (uint32_t i = 0; i < s->capacity(); ++i) {
    if (free_blocks.test(i)) continue;
    if (const int result = fn(s->collected->block(i), s->size, arg)) return result;
  }
  return 0;
}

int walk_span(const Span* s, int (*fn)(void*, size_t, void*), void* arg) {
  if (s->kind == SpanKind::kLarge || s->kind == SpanKind::kHuge) {
    return s->place == SpanPlace::kCached || held::is_held(s->start) ? 0 : fn(s->start, s->bytes, arg);
  }
  if (s->kind == SpanKind::kCollected) return walk_collected(s, fn, arg);
  if (s->kind != SpanKind::kSmall) return 0;
  BlockBits free_blocks;
  mark_list(s, s->free, &free_blocks);
  mark_list(s, s->remote.load(std::memory_order_acquire).head(), &free_blocks);
  const uint32_t carved = s->carved;
  for (uint32_t i = 0; i < carved; ++i) {
    if (free_blocks.test(i)) continue;
    char* const block = s->block_at(uint64_t{i + 1} * s->size);
    // A block on its way to its owner, in some thread's batch, carries a link.
    const uint64_t link = s->load_link(block);
    if (s->is_link(link) || held::is_held(block)) continue;
    if (const int result = fn(block, s->size, arg)) return result;
  }
  return 0;
}

}  // namespace

int walk_blocks(int (*fn)(void* p, size_t n, void* arg), void* arg) {
  // The spans are noted first, with the lock held; records are type-stable, so one that has gone since can be read.
  size_t count = 0;
  heap.each_span([&](Span*) { ++count; });
  const size_t room = count + count / 8 + 64;
  const size_t bytes = align_up(room * sizeof(Span*), os::page_size());
  auto** spans = static_cast<Span**>(os::map(bytes, os::page_size()));
  if (spans == nullptr) return -ENOMEM;
  count = 0;
  heap.each_span([&](Span* s) {
    if (count < room) spans[count++] = s;
  });
  int result = 0;
  for (size_t i = 0; i < count && result == 0; ++i) result = walk_span(spans[i], fn, arg);
  os::unmap(spans, bytes);
  return result;
}

}  // namespace tri
