// cfi_reader.h - The bytes of unwind tables, in the encodings of DWARF, from memory that may not be there.
//
// Used by: cfi.
#ifndef TRI_ALLOC_CFI_READER_H
#define TRI_ALLOC_CFI_READER_H

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "alloc/cfi.h"
#include "alloc/os/os.h"

namespace tri::cfi {

// No entry is longer; what says so is no entry.
inline constexpr uint64_t kMostEntryBytes = 1 << 20;

inline bool read_tables(const Lasting& lasting, void* to, uintptr_t at, size_t bytes) {
  if (!lasting.has(at, bytes)) return os::read_memory(to, at, bytes);
  memcpy(to, reinterpret_cast<const void*>(at), bytes);
  return true;
}

// Encodings of pointers (DW_EH_PE_*): how it is stored, and what is added.
enum : uint8_t {
  kPeOmit = 0xff,
  kPeFormat = 0x0f,
  kPeBase = 0x70,
  kPeIndirect = 0x80,
  kPeAbsolute = 0x00,
  kPeUleb = 0x01,
  kPeU2 = 0x02,
  kPeU4 = 0x03,
  kPeU8 = 0x04,
  kPeSleb = 0x09,
  kPeS2 = 0x0a,
  kPeS4 = 0x0b,
  kPeS8 = 0x0c,
  kPeRelative = 0x10,
  kPeToTable = 0x30,
};

/// Reads forward within [at, end). After an error everything reads as 0, and ok() is false.
class Reader {
 public:
  explicit Reader(uintptr_t at, uintptr_t end, const Lasting& lasting = {}) : at_(at), end_(end), lasting_(lasting) {}

  bool ok() const { return ok_; }
  bool done() const { return !ok_ || at_ >= end_; }
  uintptr_t at() const { return at_; }
  uintptr_t end() const { return end_; }
  void set_end(uintptr_t end) { end_ = end; }
  void skip(uint64_t n) {
    if (n > end_ - at_) {
      ok_ = false;
    } else {
      at_ += n;
    }
  }

  template <class T>
  T fixed() {
    T value{};
    if (!need(sizeof value)) return value;
    memcpy(&value, &window_[at_ - window_at_], sizeof value);
    at_ += sizeof value;
    return value;
  }
  uint8_t byte() { return fixed<uint8_t>(); }
  uint64_t uleb() {
    uint64_t value = 0;
    for (unsigned shift = 0; ok_; shift += 7) {
      const uint8_t b = byte();
      if (shift < 64) value |= uint64_t{b & 0x7fU} << shift;
      if ((b & 0x80) == 0) break;
    }
    return value;
  }
  int64_t sleb() {
    uint64_t value = 0;
    unsigned shift = 0;
    for (uint8_t b = 0x80; ok_ && (b & 0x80) != 0;) {
      b = byte();
      if (shift < 64) value |= uint64_t{b & 0x7fU} << shift;
      shift += 7;
      if ((b & 0x80) == 0 && (b & 0x40) != 0 && shift < 64) value |= ~uint64_t{0} << shift;
    }
    return static_cast<int64_t>(value);
  }
  /// `table`: what kPeToTable is relative to.
  uintptr_t pointer(uint8_t encoding, uintptr_t table) {
    const uintptr_t here = at_;
    uintptr_t value = 0;
    switch (encoding & kPeFormat) {
      case kPeAbsolute:
      case kPeU8:
      case kPeS8:
        value = fixed<uint64_t>();
        break;
      case kPeUleb:
        value = uleb();
        break;
      case kPeSleb:
        value = static_cast<uintptr_t>(sleb());
        break;
      case kPeU2:
        value = fixed<uint16_t>();
        break;
      case kPeS2:
        value = static_cast<uintptr_t>(int64_t{fixed<int16_t>()});
        break;
      case kPeU4:
        value = fixed<uint32_t>();
        break;
      case kPeS4:
        value = static_cast<uintptr_t>(int64_t{fixed<int32_t>()});
        break;
      default:
        ok_ = false;
    }
    if ((encoding & kPeBase) == kPeRelative) value += here;
    if ((encoding & kPeBase) == kPeToTable) value += table;
    return value;
  }

 private:
  static constexpr size_t kWindow = 128;  // most entries fit

  bool need(size_t n) {
    if (!ok_ || n > end_ - at_) return ok_ = false;
    if (at_ >= window_at_ && at_ + n <= window_at_ + window_bytes_) return true;
    window_at_ = at_;
    window_bytes_ = end_ - at_ < kWindow ? end_ - at_ : kWindow;
    // What is at the end of a mapping may be all there is.
    if (!read_tables(lasting_, window_, at_, window_bytes_)) {
      window_bytes_ = n;
      if (!read_tables(lasting_, window_, at_, n)) {
        window_bytes_ = 0;
        ok_ = false;
      }
    }
    return ok_;
  }

  uintptr_t at_;
  uintptr_t end_;
  const Lasting lasting_;
  bool ok_ = true;
  uintptr_t window_at_ = 0;
  size_t window_bytes_ = 0;
  unsigned char window_[kWindow];
};

}  // namespace tri::cfi

#endif
