// shadow.cc - See shadow.h.
#include "gc/shadow.h"

#include <algorithm>
#include <cerrno>

#include "alloc/counters.h"
#include "alloc/mheap.h"
#include "alloc/os/os.h"
#include "gc/own_map.h"

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
  void* const p = reserve_own(bytes, huge ? kHugePage : os::page_size());
  if (huge && p != nullptr) os::advise_huge(p, bytes, 1);
  if (p == nullptr || os::make_readable(p, bytes)) return p;
  unmap_own(p, bytes);
  return nullptr;
}

bool is_small(const Span* s) { return s->kind == SpanKind::kSmall || s->kind == SpanKind::kCollected; }

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

bool Shadow::reserve() {
  base_ = pagemap::near_base;
  pages_ = pagemap::near_pages;
  if (pages_ == 0) return true;  // nothing was ever allocated
  infos_ = static_cast<std::atomic<uint32_t>*>(map_sparse(table_bytes(pages_ * kInfoBytes)));
  units_ = static_cast<MarkUnit*>(map_sparse(table_bytes(pages_ * kUnitBytes)));
  return infos_ != nullptr && units_ != nullptr;
}

int Shadow::prepare() {
  // What is to be touched, in pieces of as many pages as a huge one has: noted with the heap's lock held, and touched without.
  constexpr size_t kPieces = pagemap::kNearBytes / kHugePage;
  constexpr size_t kHugePages = kHugePage / kPageSize;
  PageBits<kPieces> used;
  bool done = reserve();
  if (done && pages_ != 0) {
    heap.each_range([&](const char* start, size_t bytes) {
      const size_t first = (reinterpret_cast<uintptr_t>(start) - base_) / kHugePage;
      const size_t last = (reinterpret_cast<uintptr_t>(start) + bytes - 1 - base_) / kHugePage;
      if (first <= last && last < pages_ / kHugePages) used.set(first, last - first + 1);
    });
    for (size_t i = used.find(true, 0, kPieces); done && i < kPieces; i = used.find(true, i + 1, kPieces)) {
      done = commit(i * kHugePages, kHugePages);
      if (!done) break;
      const auto touch = [](void* p, size_t bytes) {
        for (size_t at = 0; at < bytes; at += os::page_size()) static_cast<volatile char*>(p)[at] = 0;
      };
      touch(&infos_[i * kHugePages], kHugePages * kInfoBytes);
      touch(&units_[i * kHugePages * kPageUnits], kHugePages * kUnitBytes);
    }
  }
  if (done) return 0;
  end();
  return -ENOMEM;
}

int Shadow::begin(Free free) {
  bool done = infos_ != nullptr || reserve();
  if (done && pages_ != 0) {
    const auto mark = [this](const Span* s, const FreeBlocks* blocks) {
      MarkUnit* const units = units_of(s);
      const size_t n = ceil_div(size_t{s->capacity()}, size_t{64});
      for (size_t i = 0; i < n; ++i) units[i].marks.store(blocks->word(i), std::memory_order_relaxed);
      count_in_use(s, blocks->count(0, s->capacity()));
    };
    FreeFinder finder(mark);
    heap.each_span([&](Span* s) {
      if (!done || s->kind == SpanKind::kNone || s->place == SpanPlace::kCached) return;
      done = add(s);
      if (!done) return;
      if (is_small(s) && (free == Free::kAll || s->place == SpanPlace::kCurrent)) {
        finder.add(s);
      } else {
        count_in_use(s, 0);
      }
    });
  }
  if (done) return 0;
  end();
  return -ENOMEM;
}

int Shadow::build() {
  bool done = pages_ != 0;
  for (size_t piece = 0; done; ++piece) {
    const bool any = heap.each_span_in(piece, [&](Span* s) {
      if (!done || s->kind == SpanKind::kNone || s->place == SpanPlace::kCached) return;
      done = add(s);
    });
    if (!any) return 0;
  }
  return -ENOMEM;
}

void Shadow::forget(const char* start, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(start);
  const size_t page = (at - base_) >> kPageShift;
  for (size_t i = page; i < page + (bytes >> kPageShift) && i < pages_; ++i) {
    // Where nothing was written, the table may not be writable.
    if (infos_[i].load(std::memory_order_relaxed) != 0) infos_[i].store(0, std::memory_order_relaxed);
  }
  for (size_t i = 0; i < far_count_; ++i) {
    FarSpan& f = far_[i];
    if (f.start < at + bytes && at < f.end) std::atomic_ref<bool>(f.gone).store(true, std::memory_order_relaxed);
  }
}

void Shadow::grow(const Span* s) {
  const size_t page = (reinterpret_cast<uintptr_t>(s->start) - base_) >> kPageShift;
  // One that is not in the tables stays out.
  if (page >= pages_ || infos_[page].load(std::memory_order_relaxed) == 0) return;
  if (page + s->pages() > pages_ || s->pages() > kIndexMask || !add(s)) incomplete_ = true;
}

void Shadow::clear_marks() {
  each_unit([this](Unit u, uint64_t, bool) {
    MarkUnit* const m = unit(u);
    m->marks.store(0, std::memory_order_relaxed);
    m->grey.store(0, std::memory_order_relaxed);
  });
  for (size_t i = 0; i < outside_count_; ++i) {
    outside_[i].unit.marks.store(0, std::memory_order_relaxed);
    outside_[i].unit.grey.store(0, std::memory_order_relaxed);
  }
}

void Shadow::end() {
  for (size_t i = 0; i < far_count_; ++i) {
    const FarSpan& f = far_[i];
    unmap_own(f.units, table_bytes(units_of_far(f.info) * sizeof(MarkUnit)));
  }
  if (far_ != nullptr) unmap_own(far_, table_bytes(far_room_ * sizeof(FarSpan)));
  if (infos_ != nullptr) unmap_own(infos_, table_bytes(pages_ * kInfoBytes));
  if (units_ != nullptr) unmap_own(units_, table_bytes(pages_ * kUnitBytes));
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
  const bool small = is_small(s);
  const size_t page = (reinterpret_cast<uintptr_t>(s->start) - base_) >> kPageShift;
  const size_t pages = s->pages();
  const uint32_t info =
      (small ? s->size_class + 1u : kLarge) << kIndexBits | (s->pointer_free ? kPointerFreeInfo : uint32_t{0});
  if (page >= pages_ || page + pages > pages_ || pages > kIndexMask) return add_far(s, info);
  if (!commit(page, pages)) return false;
  for (size_t i = 0; i < pages; ++i) {
    infos_[page + i].store(info | static_cast<uint32_t>(i), std::memory_order_relaxed);
  }
  // See blocks_of().
  if (!small) units_[page * kPageUnits + 1].marks.store(s->bytes, std::memory_order_relaxed);
  return true;
}

bool Shadow::add_far(const Span* s, uint32_t info) {
  if (far_count_ == far_room_) {
    const size_t room = far_room_ == 0 ? os::page_size() / sizeof(FarSpan) : 2 * far_room_;
    auto* const larger = static_cast<FarSpan*>(map_own(table_bytes(room * sizeof(FarSpan)), os::page_size()));
    if (larger == nullptr) return false;
    for (size_t i = 0; i < far_count_; ++i) larger[i] = far_[i];
    if (far_ != nullptr) unmap_own(far_, table_bytes(far_room_ * sizeof(FarSpan)));
    far_ = larger;
    far_room_ = room;
  }
  auto* const units =
      static_cast<MarkUnit*>(map_own(table_bytes(units_of_far(info) * sizeof(MarkUnit)), os::page_size()));
  if (units == nullptr) return false;
  const auto start = reinterpret_cast<uintptr_t>(s->start);
  size_t i = far_count_++;
  for (; i > 0 && far_[i - 1].start > start; --i) far_[i] = far_[i - 1];
  far_[i] = {start, start + s->bytes, info, false, units};
  return true;
}

/// The first unit of a span; null if it is not in the tables.
MarkUnit* Shadow::units_of(const Span* s) const {
  const auto start = reinterpret_cast<uintptr_t>(s->start);
  const size_t page = (start - base_) >> kPageShift;
  if (page < pages_ && infos_[page].load(std::memory_order_relaxed) != 0) return &units_[page * kPageUnits];
  for (size_t i = 0; i < far_count_; ++i) {
    if (far_[i].start == start) return far_[i].units;
  }
  return nullptr;
}

void Shadow::count_in_use(const Span* s, size_t free) {
  const bool small = is_small(s);
  blocks_ += small ? s->capacity() - free : 1;
  bytes_ += small ? (s->capacity() - free) * size_t{s->size} : s->bytes;
}

void Shadow::blacken(const Span* s) {
  MarkUnit* const units = units_of(s);
  if (units == nullptr) return;
  if (!is_small(s)) {
    units[0].marks.fetch_or(1, std::memory_order_relaxed);
    return;
  }
  const auto mark = [units](const Span* span, const FreeBlocks* free) {
    for (size_t i = 0; i < ceil_div(size_t{span->capacity()}, size_t{64}); ++i) {
      if (free->word(i) != 0) units[i].marks.fetch_or(free->word(i), std::memory_order_relaxed);
    }
  };
  FreeFinder(mark).add(s);
}

Shadow::Part Shadow::part_at(uintptr_t at, uintptr_t* end) const {
  const size_t page = (at - base_) >> kPageShift;
  if (page >= pages_) return far_part_at(at, end);
  const uint32_t info = infos_[page].load(std::memory_order_relaxed);
  const uintptr_t next_page = base_ + ((page + 1) << kPageShift);
  if (next_page < *end) *end = next_page;
  if (info == 0) return {Part::kNone, 0, 0};
  if ((info & kPointerFreeInfo) != 0) return {Part::kPointerFree, 0, 0};
  const Layout& layout = layouts_[info >> kIndexBits];
  const uint64_t first_page = page - (info & kIndexMask);
  return part_of(layout, base_ + (first_page << kPageShift), first_page * kPageSlots, at, *end);
}

Shadow::Part Shadow::part_of(const Layout& layout, uintptr_t span, Slot slots, uintptr_t at, uintptr_t end) {
  if (layout.bytes == 0) return {Part::kLarge, slots, slots};
  const uintptr_t blocks = span + layout.first;
  // What lies before the first block, or behind the last, is nobody's.
  if (end <= blocks || at >= blocks + layout.length) return {Part::kPointerFree, 0, 0};
  const uint64_t first = at < blocks ? 0 : at - blocks;
  const uint64_t last = (end - blocks < layout.length ? end - blocks : layout.length) - 1;
  return {Part::kSmall, slots + ((first * layout.reciprocal) >> 32), slots + ((last * layout.reciprocal) >> 32)};
}

Shadow::Part Shadow::far_part_at(uintptr_t at, uintptr_t* end) const {
  // The window may begin in between.
  if (at < base_ && base_ < *end) *end = base_;
  for (size_t i = 0; i < far_count_; ++i) {
    const FarSpan& f = far_[i];
    if (f.end <= at || f.is_gone()) continue;
    if (f.start > at) {
      if (f.start < *end) *end = f.start;
      break;
    }
    if (f.end < *end) *end = f.end;
    if ((f.info & kPointerFreeInfo) != 0) return {Part::kPointerFree, 0, 0};
    return part_of(layouts_[f.info >> kIndexBits], f.start, (kFar + (i << kFarShift)) << kUnitShift, at, *end);
  }
  return {Part::kNone, 0, 0};
}

size_t Shadow::units_of_far(uint32_t info) {
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
  if (low == far_count_ || word < far_[low].start) return find_outside(word, out);
  const FarSpan& f = far_[low];
  if (f.is_gone()) return false;
  const Layout& l = layouts_[(f.info & ~kPointerFreeInfo) >> kIndexBits];
  const uint64_t offset = word - f.start - l.first;
  if (offset >= l.length) return false;
  *out = ((kFar + (low << kFarShift)) << kUnitShift) + ((offset * l.reciprocal) >> 32) +
         ((f.info & kPointerFreeInfo) != 0 ? kPointerFree : Slot{0});
  return true;
}

void Shadow::add_outside(Outside* ranges, size_t n) {
  outside_ = ranges;
  outside_count_ = n;
}

bool Shadow::find_outside(uintptr_t word, Slot* out) const {
  if (outside_count_ == 0 || word < outside_[0].begin) return false;
  const Outside* const o = std::upper_bound(outside_, outside_ + outside_count_, word,
                                            [](uintptr_t p, const Outside& r) { return p < r.begin; }) -
                           1;
  if (word >= o->end) return false;
  *out = (kOutside + static_cast<Unit>(o - outside_)) << kUnitShift;
  return true;
}

MarkUnit* Shadow::far_unit(Unit u) const {
  if ((u & kFar) == 0) return &outside_[u - kOutside].unit;
  return &far_[(u - kFar) >> kFarShift].units[u % (size_t{1} << kFarShift)];
}

Shadow::Blocks Shadow::far_blocks_of(Unit u) const {
  if ((u & kFar) == 0) {
    const Outside& o = outside_[u - kOutside];
    return {reinterpret_cast<char*>(o.begin), o.end - o.begin};
  }
  const FarSpan& f = far_[(u - kFar) >> kFarShift];
  const Layout& l = layouts_[(f.info & ~kPointerFreeInfo) >> kIndexBits];
  if (l.bytes == 0) return {reinterpret_cast<char*>(f.start), f.end - f.start};
  return {reinterpret_cast<char*>(f.start) + l.first + u % (size_t{1} << kFarShift) * 64 * l.bytes, l.bytes};
}

}  // namespace tri::gc
