// shadow.cc - See shadow.h.
#include "gc/shadow.h"

#include <cerrno>

#include "alloc/counters.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"

namespace tri::gc {
namespace {

constexpr size_t kInfoBytes = sizeof(uint32_t);
constexpr size_t kUnitBytes = kPageSize / kBlockAlignment / 64 * sizeof(MarkUnit);  // of a page

// Of a heap from 128 MiB on the tables fill huge pages. Those save most of their page faults, which come while the world stands, and the
// marker's misses of the TLB.
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kWorthHugePages = size_t{128} << 20;

// Readable, and zero, everywhere; to be committed where it is written.
void* map_sparse(size_t bytes) {
  const bool huge = counters->arena_bytes.load(std::memory_order_relaxed) >= kWorthHugePages;
  void* const p = os::reserve(bytes, huge ? kHugePage : os::page_size());
  if (huge && p != nullptr) os::advise_huge(p, bytes, 1);
  if (p == nullptr || os::make_readable(p, bytes)) return p;
  os::unmap(p, bytes);
  return nullptr;
}

size_t table_bytes(size_t bytes) { return align_up(bytes, os::page_size()); }

}  // namespace

constexpr Shadow::Layouts Shadow::make_layouts() {
  Layouts l = {};
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    const uint64_t size = class_size(c);
    const uint64_t length = class_capacity(c) * size;
    l.of[c + 1] = {length, static_cast<uint32_t>(class_span_pages(c) * kPageSize - length), static_cast<uint32_t>(size),
                   ((uint64_t{1} << 32) + size - 1) / size, class_capacity(c)};
  }
  // Its pages alone are in the table, so no offset is too large; the only block is the number 0.
  l.of[kLarge] = {UINT64_MAX, 0, 0, 0, 1};
  return l;
}

constinit const Shadow::Layouts Shadow::layouts_ = make_layouts();

int Shadow::begin() {
  base_ = pagemap::near_base;
  pages_ = pagemap::near_pages;
  if (pages_ == 0) return 0;  // nothing was ever allocated
  infos_ = static_cast<uint32_t*>(map_sparse(table_bytes(pages_ * kInfoBytes)));
  units_ = static_cast<MarkUnit*>(map_sparse(table_bytes(pages_ * kUnitBytes)));
  bool done = infos_ != nullptr && units_ != nullptr;
  size_t far = 0;
  heap.each_span([&](Span* s) {
    if (((reinterpret_cast<uintptr_t>(s->end()) - 1 - base_) >> kPageShift) >= pages_) ++far;
  });
  if (done && far != 0) {
    far_room_ = far;
    far_ = static_cast<FarSpan*>(os::map(table_bytes(far * sizeof(FarSpan)), os::page_size()));
    done = far_ != nullptr;
  }
  if (done) heap.each_span([&](Span* s) { done = done && add(s); });
  if (done) return 0;
  end();
  return -ENOMEM;
}

void Shadow::end() {
  for (size_t i = 0; i < far_count_; ++i) {
    const FarSpan& f = far_[i];
    os::unmap(f.units, table_bytes(far_units(f.info) * sizeof(MarkUnit)));
  }
  if (far_ != nullptr) os::unmap(far_, table_bytes(far_room_ * sizeof(FarSpan)));
  if (infos_ != nullptr) os::unmap(infos_, table_bytes(pages_ * kInfoBytes));
  if (units_ != nullptr) os::unmap(units_, table_bytes(pages_ * kUnitBytes));
  *this = Shadow();
}

bool Shadow::commit(uintptr_t page, size_t pages) {
  for (size_t part = page / kPartPages; part <= (page + pages - 1) / kPartPages; ++part) {
    if (parts_.test(part)) continue;
    const size_t first = part * kPartPages;
    const size_t count = pages_ - first < kPartPages ? pages_ - first : kPartPages;
    if (!os::commit(&infos_[first], table_bytes(count * kInfoBytes))) return false;
    if (!os::commit(&units_[first * kPageUnits], table_bytes(count * kUnitBytes))) return false;
    parts_.set(part, 1);
  }
  return true;
}

bool Shadow::add(const Span* s) {
  if (s->kind == SpanKind::kNone || s->place == SpanPlace::kCached) return true;
  const bool small = s->kind == SpanKind::kSmall;
  const size_t page = (reinterpret_cast<uintptr_t>(s->start) - base_) >> kPageShift;
  const size_t pages = s->pages();
  const uint32_t info =
      (small ? s->size_class + 1u : kLarge) << kIndexBits | (s->pointer_free ? kPointerFreeInfo : uint32_t{0});
  if (page >= pages_ || page + pages > pages_ || pages > kIndexMask) return add_far(s, info);
  if (!commit(page, pages)) return false;
  for (size_t i = 0; i < pages; ++i) infos_[page + i] = info | static_cast<uint32_t>(i);
  set_marks(s, &units_[page * kPageUnits]);
  return true;
}

bool Shadow::add_far(const Span* s, uint32_t info) {
  auto* const units = static_cast<MarkUnit*>(os::map(table_bytes(far_units(info) * sizeof(MarkUnit)), os::page_size()));
  if (units == nullptr) return false;
  TRI_ASSERT(far_count_ < far_room_);
  const auto start = reinterpret_cast<uintptr_t>(s->start);
  size_t i = far_count_++;
  for (; i > 0 && far_[i - 1].start > start; --i) far_[i] = far_[i - 1];
  far_[i] = {start, start + s->bytes, info, units};
  set_marks(s, units);
  return true;
}

/// Marks what is free, and what is beyond the last block.
void Shadow::set_marks(const Span* s, MarkUnit* units) {
  if (s->kind != SpanKind::kSmall) {
    units[0].marks.store(~uint64_t{1}, std::memory_order_relaxed);
    units[1].marks.store(s->bytes, std::memory_order_relaxed);
    ++blocks_;
    bytes_ += s->bytes;
    return;
  }
  FreeBlocks free;
  find_free(s, &free);
  const size_t capacity = s->capacity();
  const size_t in_use = capacity - free.count(0, capacity);
  const size_t n = ceil_div(capacity, size_t{64});
  free.set(capacity, n * 64 - capacity);
  for (size_t i = 0; i < n; ++i) units[i].marks.store(free.word(i), std::memory_order_relaxed);
  blocks_ += in_use;
  bytes_ += in_use * s->size;
}

void Shadow::find_free(const Span* s, FreeBlocks* out) {
  // A list ends at what is no link: a thread may have stood in the middle of changing it.
  const auto add_list = [&](uint64_t head) {
    uint32_t n = 0;
    for (uint64_t at = head; s->is_block(at) && n < s->carved; ++n) {
      out->set(at / s->size - 1, 1);
      at = s->load_link(s->block_at(at));
    }
  };
  add_list(s->free);
  add_list(s->remote.load(std::memory_order_relaxed).head());
  out->set(s->carved, s->capacity() - s->carved);
}

size_t Shadow::far_units(uint32_t info) {
  const size_t n = units_in(layouts_[(info & ~kPointerFreeInfo) >> kIndexBits]);
  return n < 2 ? 2 : n;  // see blocks_of()
}

bool Shadow::find_far(uintptr_t word, Slot* out) const {
  size_t low = 0;
  for (size_t high = far_count_; low < high;) {
    const size_t middle = (low + high) / 2;
    if (far_[middle].end <= word) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == far_count_ || word < far_[low].start) return false;
  const FarSpan& f = far_[low];
  const Layout& l = layouts_[(f.info & ~kPointerFreeInfo) >> kIndexBits];
  const uint64_t offset = word - f.start - l.first;
  if (offset >= l.length) return false;
  *out = ((kFar + (low << kFarShift)) << kUnitShift) + ((offset * l.reciprocal) >> 32) +
         ((f.info & kPointerFreeInfo) != 0 ? kPointerFree : Slot{0});
  return true;
}

MarkUnit* Shadow::far_unit(Unit u) const { return &far_[(u - kFar) >> kFarShift].units[u % (size_t{1} << kFarShift)]; }

Shadow::Blocks Shadow::far_blocks_of(Unit u) const {
  const FarSpan& f = far_[(u - kFar) >> kFarShift];
  const Layout& l = layouts_[(f.info & ~kPointerFreeInfo) >> kIndexBits];
  if (l.bytes == 0) return {reinterpret_cast<char*>(f.start), f.end - f.start};
  return {reinterpret_cast<char*>(f.start) + l.first + u % (size_t{1} << kFarShift) * 64 * l.bytes, l.bytes};
}

}  // namespace tri::gc
