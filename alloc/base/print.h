// print.h - One line of text, built in a fixed buffer and written at once.
//
// printf allocates, takes locks and depends on the locale, so none of it may run inside malloc. A Line never
// allocates, cuts what does not fit, and leaves errno alone, so it works in a signal handler and in a forked child.
#ifndef TRI_ALLOC_BASE_PRINT_H
#define TRI_ALLOC_BASE_PRINT_H

#include <cstddef>
#include <cstdint>

namespace tri {

class Line {
 public:
  Line& text(const char* s);
  Line& text(const char* s, size_t length);
  Line& number(uint64_t n);
  Line& number(int64_t n);
  Line& hex(uint64_t n);  // 0x7f12...
  Line& pointer(const void* p) { return hex(reinterpret_cast<uintptr_t>(p)); }
  /// 412 MiB, 3.1 KiB, 17 B: at most one decimal, none above 10.
  Line& bytes(uint64_t n);
  /// 3.1 M, 41 k, 17.
  Line& count(uint64_t n);
  /// tenths / 10 with one decimal.
  Line& tenths(uint64_t n);
  /// " in PROG[PID]\n": how every message of this library ends.
  Line& in_program();

  void write_to(int fd) const;
  const char* data() const { return buffer_; }
  size_t size() const { return used_; }
  void clear() { used_ = 0; }

 private:
  size_t used_ = 0;
  char buffer_[1000];
};

}  // namespace tri

#endif
