// shadow.cc - See shadow.h.
#include "gc/shadow.h"

#include <cerrno>

#include "alloc/mheap.h"
#include "alloc/os/os.h"

namespace tri::gc {
namespace {

constexpr size_t kInfoBytes = sizeof(uint32_t);
constexpr size_t kMarkBytes = kPageSize / kBlockAlignment / 8;  // of a page

// Readable, and zero, everywhere; to be committed where it is written.
void* map_sparse(size_t bytes) {
  void* const p = os::reserve(bytes, os::page_size());
  if (p == nullptr || os::make_readable(p, bytes)) return p;
  os::unmap(p, bytes);
  return nullptr;
}

size_t table_bytes(size_t bytes) { return align_up(bytes, os::page_size()); }

}  // namespace

constexpr Shadow::Layouts Shadow::make_layouts() {
  Layouts l = {};
  for (unsigned c = 0; c < kSizeClasses; ++c) {
    const auto size = static_cast<uint32_t>(class_size(c));
    const auto length = static_cast<uint32_t>(class_capacity(c) * size);
    l.of[c + 1] = {static_cast<uint32_t>(class_span_pages(c) * kPageSize) - length, length, size,
                   static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size)};
  }
  l.of[kLarge] = {0, 1, 0, 0};
  return l;
}

constinit const Shadow::Layouts Shadow::layouts_ = make_layouts();

int Shadow::begin() {
  base_ = pagemap::near_base;
  pages_ = pagemap::near_pages;
  if (pages_ == 0) return 0;  // nothing was ever allocated
  infos_ = static_cast<uint32_t*>(map_sparse(table_bytes(pages_ * kInfoBytes)));
  marks_ = static_cast<MarkWord*>(map_sparse(table_bytes(pages_ * kMarkBytes)));
  bool done = infos_ != nullptr && marks_ != nullptr;
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
    os::unmap(f.marks, table_bytes((f.end - f.start) / kBlockAlignment / 8 + sizeof(MarkWord)));
  }
  if (far_ != nullptr) os::unmap(far_, table_bytes(far_room_ * sizeof(FarSpan)));
  if (infos_ != nullptr) os::unmap(infos_, table_bytes(pages_ * kInfoBytes));
  if (marks_ != nullptr) os::unmap(marks_, table_bytes(pages_ * kMarkBytes));
  *this = Shadow();
}

bool Shadow::commit(uintptr_t page, size_t pages) {
  for (size_t slot = page / kArenaPages; slot <= (page + pages - 1) / kArenaPages; ++slot) {
    if (slots_.test(slot)) continue;
    const size_t first = slot * kArenaPages;
    const size_t count = pages_ - first < kArenaPages ? pages_ - first : kArenaPages;
    if (!os::commit(&infos_[first], table_bytes(count * kInfoBytes))) return false;
    if (!os::commit(&marks_[first * kMarkBytes / sizeof(MarkWord)], table_bytes(count * kMarkBytes))) return false;
    slots_.set(slot, 1);
  }
  return true;
}

bool Shadow::add(const Span* s) {
  if (s->kind == SpanKind::kNone || s->place == SpanPlace::kCached) return true;
  const bool small = s->kind == SpanKind::kSmall;
  const size_t page = (reinterpret_cast<uintptr_t>(s->start) - base_) >> kPageShift;
  const size_t pages = s->pages();
  if (page >= pages_ || page + pages > pages_ || pages > kIndexMask) {
    if (!add_far(s)) return false;
  } else {
    if (!commit(page, pages)) return false;
    const uint32_t layout = (small ? s->size_class + 1u : kLarge) << kIndexBits;
    for (size_t i = 0; i < pages; ++i) infos_[page + i] = layout | static_cast<uint32_t>(i);
  }
  if (small) {
    mark_free_blocks(s);
  } else {
    ++blocks_;
    bytes_ += s->bytes;
  }
  return true;
}

bool Shadow::add_far(const Span* s) {
  const bool small = s->kind == SpanKind::kSmall;
  const size_t bytes = table_bytes((small ? s->bytes / kBlockAlignment / 8 : 0) + sizeof(MarkWord));
  auto* const marks = static_cast<MarkWord*>(os::map(bytes, os::page_size()));
  if (marks == nullptr) return false;
  TRI_ASSERT(far_count_ < far_room_);
  const auto start = reinterpret_cast<uintptr_t>(s->start);
  size_t i = far_count_++;
  for (; i > 0 && far_[i - 1].start > start; --i) far_[i] = far_[i - 1];
  far_[i] = {start, start + s->bytes, small ? s->size_class + 1u : kLarge, marks};
  return true;
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

void Shadow::find_free(uintptr_t span, uint32_t layout, FreeBlocks* out) const {
  const Layout& l = layouts_[layout];
  if (l.bytes == 0) return;
  const Span* const s = pagemap::lookup(reinterpret_cast<void*>(span + l.first));
  if (s != &null_span) find_free(s, out);
}

void Shadow::mark_free_blocks(const Span* s) {
  FreeBlocks free;
  find_free(s, &free);
  const uint32_t capacity = s->capacity();
  for (size_t i = free.find(true, 0, capacity); i < capacity; i = free.find(true, i + 1, capacity)) {
    Ref r;
    if (find(reinterpret_cast<uintptr_t>(s->block_at((i + 1) * s->size)), &r)) (void)r.mark();
  }
  const size_t in_use = capacity - free.count(0, capacity);
  blocks_ += in_use;
  bytes_ += in_use * s->size;
}

bool Shadow::find_large(uintptr_t span, Ref* out) const {
  out->start = reinterpret_cast<char*>(span);
  out->bytes = pagemap::lookup(out->start)->bytes;
  set_mark(span, out);
  return true;
}

bool Shadow::find_far(uintptr_t word, Ref* out) const {
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
  const Layout& l = layouts_[f.layout];
  size_t granule = 0;
  if (l.bytes == 0) {
    out->start = reinterpret_cast<char*>(f.start);
    out->bytes = f.end - f.start;
  } else {
    const uint64_t offset = word - f.start - l.first;
    if (offset >= l.length) return false;
    out->start = reinterpret_cast<char*>(f.start + l.first + ((offset * l.reciprocal) >> 32) * l.bytes);
    out->bytes = l.bytes;
    granule = (reinterpret_cast<uintptr_t>(out->start) - f.start) / kBlockAlignment;
  }
  out->word = &f.marks[granule / 64];
  out->bit = uint64_t{1} << (granule % 64);
  return true;
}

}  // namespace tri::gc
