// page_copies.cc - See page_copies.h.
#include "gc/page_copies.h"

#include <bit>

#include "alloc/os/os.h"
#include "gc/own_map.h"

namespace tri::gc {

bool PageCopies::reserve(size_t pages) {
  release();
  if (pages == 0) return false;
  room_ = pages;
  slots_ = std::bit_ceil(2 * pages);
  keys_ = map_own_array<uintptr_t>(slots_);
  places_ = map_own_array<uint32_t>(slots_);
  copies_ = static_cast<char*>(reserve_own(room_ * os::page_size(), os::page_size()));
  if (keys_ != nullptr && places_ != nullptr && copies_ != nullptr) return true;
  release();
  return false;
}

void PageCopies::release() {
  unmap_own_array(keys_, slots_);
  unmap_own_array(places_, slots_);
  if (copies_ != nullptr) unmap_own(copies_, room_ * os::page_size());
  keys_ = nullptr;
  places_ = nullptr;
  copies_ = nullptr;
  slots_ = room_ = count_ = usable_ = 0;
}

/// Its place in the table: with it, or free.
size_t PageCopies::slot_of(uintptr_t page) const {
  // Fibonacci hashing (Knuth, TAOCP 3, 6.4) of the page's number.
  const auto shift = static_cast<unsigned>(64 - std::countr_zero(slots_));
  size_t at = static_cast<size_t>(page / os::page_size() * 0x9e3779b97f4a7c15) >> shift;
  while (keys_[at] != page && keys_[at] != 0) at = (at + 1) & (slots_ - 1);
  return at;
}

uintptr_t* PageCopies::copy_in(size_t slot) const {
  return reinterpret_cast<uintptr_t*>(copies_ + places_[slot] * os::page_size());
}

uintptr_t* PageCopies::find(uintptr_t page) const {
  if (slots_ == 0) return nullptr;
  const size_t slot = slot_of(page);
  return keys_[slot] == page ? copy_in(slot) : nullptr;
}

uintptr_t* PageCopies::of(uintptr_t page) {
  if (slots_ == 0) return nullptr;
  const size_t slot = slot_of(page);
  if (keys_[slot] == page) return copy_in(slot);
  if (count_ == room_) return nullptr;
  if (count_ == usable_) {
    const size_t step = room_ - usable_ < kStep ? room_ - usable_ : kStep;
    if (!os::commit(copies_ + usable_ * os::page_size(), step * os::page_size())) return nullptr;
    usable_ += step;
  }
  keys_[slot] = page;
  places_[slot] = static_cast<uint32_t>(count_++);
  return copy_in(slot);
}

}  // namespace tri::gc
