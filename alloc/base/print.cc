// print.cc - See print.h.
#include "alloc/base/print.h"

#include <cstring>

#include "alloc/base/sys.h"

namespace tri {

Line& Line::text(const char* s, size_t length) {
  const size_t room = sizeof buffer_ - used_;
  if (length > room) length = room;
  memcpy(buffer_ + used_, s, length);
  used_ += length;
  return *this;
}

Line& Line::text(const char* s) { return text(s, strlen(s)); }

Line& Line::number(uint64_t n) {
  char digits[20];
  size_t i = sizeof digits;
  do {
    digits[--i] = static_cast<char>('0' + n % 10);
    n /= 10;
  } while (n != 0);
  return text(digits + i, sizeof digits - i);
}

Line& Line::number(int64_t n) {
  if (n < 0) text("-");
  return number(n < 0 ? ~static_cast<uint64_t>(n) + 1 : static_cast<uint64_t>(n));
}

Line& Line::hex(uint64_t n) {
  char digits[18];
  size_t i = sizeof digits;
  do {
    digits[--i] = "0123456789abcdef"[n & 15];
    n >>= 4;
  } while (n != 0);
  digits[--i] = 'x';
  digits[--i] = '0';
  return text(digits + i, sizeof digits - i);
}

Line& Line::tenths(uint64_t n) { return number(n / 10).text(".").number(n % 10); }

Line& Line::bytes(uint64_t n) {
  static constexpr const char* kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB"};
  size_t unit = 0;
  uint64_t scale = 1;
  while (unit < 4 && n / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  if (unit == 0 || n / scale >= 10) return number((n + scale / 2) / scale).text(kUnits[unit]);
  return tenths(n / (scale / 16) * 10 / 16).text(kUnits[unit]);
}

Line& Line::count(uint64_t n) {
  static constexpr const char* kUnits[] = {"", " k", " M", " G"};
  size_t unit = 0;
  uint64_t scale = 1;
  while (unit < 3 && n / scale >= 1000) {
    scale *= 1000;
    ++unit;
  }
  if (unit == 0 || n / scale >= 10) return number((n + scale / 2) / scale).text(kUnits[unit]);
  return tenths(n / (scale / 10)).text(kUnits[unit]);
}

Line& Line::in_program() {
  return text(" in ").text(sys::program_name()).text("[").number(static_cast<int64_t>(sys::process_id())).text("]\n");
}

void Line::write_to(int fd) const { sys::write_all(fd, buffer_, used_); }

}  // namespace tri
