// line_reader.h - The lines of a file, read by system calls alone: for /proc, at any moment and under any lock.
//
// Used by: os, gc.
#ifndef TRI_ALLOC_BASE_LINE_READER_H
#define TRI_ALLOC_BASE_LINE_READER_H

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include <cstdint>
#include <cstring>

#include "tri_arch.h"

namespace tri {

/// Reads piece by piece; a line longer than the buffer is cut.
class LineReader {
 public:
  explicit LineReader(const char* path)
      : fd_(static_cast<int>(
            arch::system_call(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path), O_RDONLY | O_CLOEXEC))) {}
  ~LineReader() {
    if (fd_ >= 0) arch::system_call(SYS_close, fd_);
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool is_open() const { return fd_ >= 0; }
  /// Why it is not: a negative errno.
  int error() const { return fd_; }

  /// The next line, ended by 0; null at the end.
  char* next() {
    for (;;) {
      if (auto* end = static_cast<char*>(memchr(buffer_ + begin_, '\n', end_ - begin_))) {
        char* line = buffer_ + begin_;
        *end = 0;
        begin_ = static_cast<size_t>(end - buffer_) + 1;
        return line;
      }
      memmove(buffer_, buffer_ + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      if (end_ == sizeof buffer_ - 1) end_ = sizeof buffer_ / 2;
      const long n = arch::system_call(SYS_read, fd_, reinterpret_cast<long>(buffer_ + end_),
                                       static_cast<long>(sizeof buffer_ - 1 - end_));
      if (n == -EINTR) continue;
      if (n <= 0) {
        if (end_ == 0) return nullptr;
        // The last line, without an end of its own.
        buffer_[end_] = 0;
        end_ = 0;
        return buffer_;
      }
      end_ += static_cast<size_t>(n);
    }
  }

 private:
  int fd_;
  size_t begin_ = 0;
  size_t end_ = 0;
  char buffer_[4096 + 1];
};

/// Reads digits at *s, and moves it behind them; false if there are none.
inline bool parse_hex(const char** s, uint64_t* out) {
  uint64_t n = 0;
  const char* p = *s;
  for (;; ++p) {
    unsigned digit;
    if (*p >= '0' && *p <= '9') {
      digit = static_cast<unsigned>(*p - '0');
    } else if (*p >= 'a' && *p <= 'f') {
      digit = static_cast<unsigned>(*p - 'a') + 10;
    } else {
      break;
    }
    n = n * 16 + digit;
  }
  const bool any = p != *s;
  *s = p;
  *out = n;
  return any;
}

}  // namespace tri

#endif
