// span.cc - See span.h.
#include "alloc/span.h"

#include "alloc/arena.h"

namespace tri {

constinit Span empty_span;
constinit Span null_span;

namespace {

/// Of an odd number, modulo 2^64: Newton's iteration, which doubles the correct bits (5 at first) each time.
constexpr uint64_t inverse_of(uint64_t odd) {
  uint64_t x = odd * 3 ^ 2;
  for (int i = 0; i < 4; ++i) x *= 2 - odd * x;
  return x;
}
static_assert(inverse_of(0x9e3779b97f4a7c15) * 0x9e3779b97f4a7c15 == 1);

}  // namespace

void init_small_span(Span* s, unsigned size_class, uint64_t key) {
  const size_t size = class_size(size_class);
  const size_t capacity = class_capacity(size_class);
  TRI_ASSERT(s->bytes == class_span_pages(size_class) * kPageSize);
  s->kind = SpanKind::kSmall;
  s->place = SpanPlace::kNowhere;
  s->size_class = static_cast<SizeClass>(size_class);
  s->size = static_cast<uint16_t>(size);
  s->least = static_cast<uint16_t>(size_class == 0 ? 0 : class_size(size_class - 1) + 1);
  s->origin = s->end() - capacity * size - size;
  s->reciprocal = s->reciprocal_bound = ~uint64_t{0} / size + 1;
  s->key = key | 1;
  s->inverse = inverse_of(s->key);
  s->free = kNil;
  s->carved = 0;
  s->mapped_pages = 0;
  s->countdown = kNoCountdown;
}

bool Span::carve() {
  if (fully_carved()) return false;
  // All blocks that start in the next page, or one block if it is larger.
  const uint64_t first = (uint64_t{carved} + 1) * size;
  const auto first_at = static_cast<size_t>(block_at(first) - start);
  const size_t pages_after = first_at / kPageSize + 1;
  uint64_t last = first;
  while (last + size <= limit() && static_cast<size_t>(block_at(last + size) - start) < pages_after * kPageSize) {
    last += size;
  }
  // Those of a span that was reset are there already.
  if (pages_after > mapped_pages) {
    pagemap::set(start + mapped_pages * kPageSize, pages_after - mapped_pages, this);
    mapped_pages = static_cast<uint16_t>(pages_after);
  }

  // In order of address: the kernel and the hardware both like it.
  for (uint64_t offset = first; offset < last; offset += size) store_link(block_at(offset), offset + size);
  store_link(block_at(last), free);
  free = first;
  carved = static_cast<uint16_t>(last / size);
  return true;
}

uint32_t Span::free_length() const {
  uint32_t n = 0;
  for (uint64_t offset = free; offset != kNil && n < carved; ++n) {
    if (!is_block(offset)) break;
    offset = load_link(block_at(offset));
  }
  return n;
}

void Span::check_first() {
  if (free == 0) free = zeroed_link(this);
  if (has_free() && !may_be_link(load_link(block_at(free)))) free = corrupt_link(this, block_at(free));
}

void Span::verify() const {
  TRI_CHECK(kind == SpanKind::kSmall);
  TRI_CHECK(carved <= capacity());
  TRI_CHECK(key * inverse == 1);
  TRI_CHECK(static_cast<size_t>(origin + size - start) < size);
  TRI_CHECK(mapped_pages <= pages());
  uint32_t n = 0;
  for (uint64_t offset = free; offset != kNil; ++n) {
    TRI_CHECK(is_block(offset));
    TRI_CHECK(offset <= uint64_t{carved} * size);
    TRI_CHECK(n < carved);
    TRI_CHECK(pagemap::lookup(block_at(offset)) == this);
    offset = load_link(block_at(offset));
  }
  if (place == SpanPlace::kPartial) TRI_CHECK(static_cast<uint32_t>(countdown) + n == carved);
  if (place == SpanPlace::kFull) TRI_CHECK(n == 0);
}

}  // namespace tri
