// memory_map.h - What is mapped into this process, and which of it holds something.
//
// A picture of /proc/self/maps, taken while all other threads stand still. Of a mapping, only pages that this process has written to may hold
// its pointers; the kernel knows which those are, so that a sparse mapping of many gigabytes costs little, and nothing that
// could fault is touched: neither guard pages, nor the end of a file that was cut, nor what a device shows.
//
// See gc.h for the overview. Used by: roots, cycle.
#ifndef TRI_GC_MEMORY_MAP_H
#define TRI_GC_MEMORY_MAP_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"

namespace tri::gc {

struct Mapping {
  uintptr_t begin;
  uintptr_t end;
  bool readable;
  bool accessible;  // in any way; guards of stacks are not
  bool shared;
  bool main_stack;  // the main thread's, which grows downward

  bool contains(uintptr_t p) const { return p - begin < end - begin; }
};

class MemoryMap {
 public:
  /// Takes the picture. 0, -ENOMEM, or the error of opening the file: -ENOENT without /proc, -EMFILE. Its own memory is not in it.
  [[nodiscard]] int read();
  void release();
  ~MemoryMap() { release(); }
  MemoryMap() = default;
  MemoryMap(const MemoryMap&) = delete;
  MemoryMap& operator=(const MemoryMap&) = delete;

  /// By address.
  const Mapping* begin() const { return mappings_; }
  const Mapping* end() const { return mappings_ + count_; }

 private:
  long read_once(size_t room);

  Mapping* mappings_ = nullptr;
  size_t count_ = 0;
  size_t bytes_ = 0;
};

/// Reads what pages of mappings hold.
class PageReader {
 public:
  PageReader() = default;
  ~PageReader();
  PageReader(const PageReader&) = delete;
  PageReader& operator=(const PageReader&) = delete;

  /// 0, or why the files that it needs cannot be opened: -ENOENT without /proc, -EMFILE, -EACCES in a process that may not be traced.
  [[nodiscard]] int open();
  /// Calls fn(begin, end) for all memory of [begin, end), of this mapping, that the process may have written to: in place, or, what is not
  /// in memory just now, in a copy that is gone after the call.
  template <class Fn>
  void each_written(const Mapping& m, uintptr_t begin, uintptr_t end, Fn&& fn) {
    each_run(m, begin, end, [&](const Run& run) {
      if (run.present) {
        fn(reinterpret_cast<const char*>(run.begin), reinterpret_cast<const char*>(run.end));
      } else {
        each_copy_by(copy_, sizeof copy_, run.begin, run.end, fn);
      }
    });
  }

 protected:
  struct Run {
    uintptr_t begin;
    uintptr_t end;
    bool present;
  };
  template <class Fn>
  void each_run(const Mapping& m, uintptr_t begin, uintptr_t end, Fn&& fn) {
    const size_t page = os::page_size();
    next_found_ = found_ = 0;
    all_found_ = false;
    for (uintptr_t at = align_down(begin, page); at < end;) {
      Run run;
      if (!next_run(m, &at, align_up(end, page), &run)) return;
      if (run.begin < begin) run.begin = begin;
      if (run.end > end) run.end = end;
      fn(run);
    }
  }
  /// Calls fn(from, to) for [begin, end) by copies of so many bytes; what cannot be read is left out.
  template <class Fn>
  void each_copy_by(char* buffer, size_t size, uintptr_t begin, uintptr_t end, Fn&& fn) {
    while (begin < end) {
      const size_t n = read(begin, buffer, end - begin < size ? end - begin : size);
      if (n != 0) fn(static_cast<const char*>(buffer), static_cast<const char*>(buffer + n));
      begin = n != 0 ? begin + n : align_down(begin, os::page_size()) + os::page_size();
    }
  }

 private:
  static constexpr size_t kCopyBytes = 4096;

  /// The next written pages from *at on, which moves behind them; false if there are none.
  bool next_run(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out);
  bool next_scanned(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out);
  bool next_listed(const Mapping& m, uintptr_t* at, uintptr_t end, Run* out);
  size_t read(uintptr_t from, char* to, size_t bytes);

  int pages_ = -1;   // /proc/self/pagemap
  int memory_ = -1;  // /proc/self/mem
  bool can_scan_ = true;
  // What the kernel found at a time: the call takes as long as some dozens of them.
  static constexpr size_t kFoundAtOnce = 32;
  struct Found {  // as PageRegion (pagemap_scan.h)
    uint64_t begin;
    uint64_t end;
    uint64_t categories;
  };
  Found runs_[kFoundAtOnce];
  size_t next_found_ = 0;
  size_t found_ = 0;
  bool all_found_ = false;  // there are no others in the range that was asked for
  alignas(16) char copy_[kCopyBytes];
};

/// The same while the program runs and may unmap what is being read: by copies alone.
class MemoryCopier : private PageReader {
 public:
  MemoryCopier() = default;
  ~MemoryCopier();

  /// 0, the errors of PageReader::open(), or -ENOMEM.
  [[nodiscard]] int open();
  /// Calls fn(begin, end) with copies of all that the process may have written to, of a mapping.
  template <class Fn>
  void each_written(const Mapping& m, uintptr_t begin, uintptr_t end, Fn&& fn) {
    each_run(m, begin, end, [&](const Run& run) { each(run.begin, run.end, fn); });
  }
  /// The same of all that can be read.
  template <class Fn>
  void each(uintptr_t begin, uintptr_t end, Fn&& fn) {
    each_copy_by(buffer_, kBytes, begin, end, fn);
  }

 private:
  // A call costs as much as copying some pages.
  static constexpr size_t kBytes = 64 * 1024;
  char* buffer_ = nullptr;
};

}  // namespace tri::gc

#endif
