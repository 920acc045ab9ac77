// dirty.h - Which pages the program writes to while the collector works.
//
// The write barrier of programs that were compiled without one. The kernel keeps it: userfaultfd in asynchronous write-protect mode. A page that is
// watched is protected; the first write to it takes a fault, which the kernel settles itself by taking the protection away: no signal, no thread
// that answers, and system calls that write there work as ever. PAGEMAP_SCAN finds the pages without protection, and protects them
// again in the same step, so that no write is lost between the two.
//
//   begin()                         the descriptors
//   watch(range), ...               everything is clean from its return on
//     ... the collector reads; the program writes ...
//   harvest(range, fn), ...         fn gets what was written since; clean again before fn sees it. Some rounds of it, until little is left,
//                                   then once more while the world stands
//   end()
//
// Two rules for callers, each learned from a collector that lost blocks:
//   allocation turns black only after watch() has returned for all memory, or what was allocated before would be clean and never read;
//   read after harvest() has protected, never before.
//
// What is new is dirty: pages that are mapped into a watched range later, by whatever call, are found by the next harvest as if they had been written.
// A page that was only read for the first time may count as written as well. Ranges are about addresses, not about mappings: they may be
// unmapped, moved and mapped anew at any time, and may have gaps.
//
// Not seen: what a device writes by itself into pages that the kernel had pinned before (direct I/O, registered buffers of io_uring).
//
// fork() leaves the child without the protection. Its copies of the descriptors still mean the parent's memory, so that it must do nothing
// with them but close them: forget_after_fork().
//
// See gc.h for the overview. Implemented in os/linux/. Used by: cycle.
#ifndef TRI_GC_DIRTY_H
#define TRI_GC_DIRTY_H

#include <cstddef>
#include <cstdint>

#include "alloc/base/bits.h"
#include "alloc/os/os.h"

namespace tri::gc {

/// One thread at a time; the descriptors exist from begin() to end() only.
class DirtyPages {
 public:
  DirtyPages() = default;
  ~DirtyPages() { end(); }
  DirtyPages(const DirtyPages&) = delete;
  DirtyPages& operator=(const DirtyPages&) = delete;

  /// 0, or why pages cannot be watched here, and the collector has to stop the program instead: -ENOSYS, -EPERM: the kernel is older than 6.7, was built
  /// without it, or a container forbids it; -EINVAL: it knows no asynchronous mode; -EMFILE, -ENFILE, -ENOMEM; -ENOENT: no /proc.
  [[nodiscard]] int begin();
  /// Watches all that is mapped in [begin, end), from here on also what will be. 0, or, if the range cannot be relied on: -EBUSY: the program
  /// watches some of it with a userfaultfd of its own; -EPERM: a shared mapping that may not be written; -ENOMEM; -EBADF: the program has closed our descriptors.
  [[nodiscard]] int watch(uintptr_t begin, uintptr_t end);
  /// Calls fn(begin, end, present) for all pages of [begin, end) that were written to since the last harvest, or watch(), of them. Pages that
  /// are not present are swapped out, or guards: not to be touched, but for a copy through /proc/self/mem. 0, or the errors of watch(): then some of what was
  /// written may be lost, and the collector has to stop the program and read everything.
  template <class Fn>
  [[nodiscard]] int harvest(uintptr_t begin, uintptr_t end, Fn&& fn) {
    return each_run(begin, end, true, fn);
  }
  /// The same for the last time: they stay as they are, written, so that the program does not have to fault on them once more. Several threads may
  /// do this, each with a range of its own.
  template <class Fn>
  [[nodiscard]] int harvest_last(uintptr_t begin, uintptr_t end, Fn&& fn) {
    return each_run(begin, end, false, fn);
  }
  /// Stops watching [begin, end). end() does it for all, unless a child that was forked past the handlers still holds a copy of the descriptor: then
  /// protection lasts as long as that, and the next cycle finds -EBUSY, but for what was unwatched.
  void unwatch(uintptr_t begin, uintptr_t end);
  /// Gives the descriptors back, and with them all protection. Does nothing if there was no begin().
  void end();
  /// In a forked child, instead of end(). Touches nothing of the parent's.
  void forget_after_fork() { end(); }

  bool is_watching() const { return pages_.fd >= 0; }

  /// The system call number n of all that DirtyPages makes from now on (0 is the next), and all after it, fail with -EPERM; negative: none. For tests.
  static void fail_after(long n);

 private:
  // As the kernel's struct page_region.
  struct Run {
    uint64_t begin;
    uint64_t end;
    uint64_t categories;
  };
  // 64 runs, 1.5 KiB of stack: a call costs half a microsecond, a run that is found some more.
  static constexpr size_t kRuns = 64;
  static constexpr uint64_t kPresent = 1 << 3;

  // A descriptor, and what tells whether it is still ours: programs close, or take, all that they find.
  struct Descriptor {
    int fd = -1;
    uint64_t device = 0;
    uint64_t inode = 0;

    int adopt(long fd_or_error);
    bool is_ours() const;
    void close();
  };

  /// Takes in what was mapped since. 0; 1: nothing is mapped there; or an error.
  int renew(uintptr_t begin, uintptr_t end);
  // What a page table describes.
  static constexpr uintptr_t kTableBytes = uintptr_t{2} << 20;

  /// The next runs from *at on, which moves behind what was looked at; protected again, or not. Their number, or an error.
  long take(uintptr_t* at, uintptr_t end, bool protect, Run* out);
  /// Moves *at to the first page that may have been written. 0, or an error.
  int skip_clean(uintptr_t* at, uintptr_t end);
  template <class Fn>
  int each_run(uintptr_t begin, uintptr_t end, bool protect, Fn&& fn) {
    begin = align_down(begin, os::page_size());
    end = align_up(end, os::page_size());
    const int error = renew(begin, end);
    if (error != 0) return error < 0 ? error : 0;
    Run runs[kRuns];
    // skip_clean() stops where nothing is mapped as well: addresses reserved by the terabyte are crossed in steps that double.
    uintptr_t step = kTableBytes;
    for (uintptr_t at = begin; at < end;) {
      if (const int failed = skip_clean(&at, end); failed != 0) return failed;
      const uintptr_t from = align_down(at, kTableBytes);
      bool found = false;
      for (const uintptr_t stop = end - from > step ? from + step : end; at < stop;) {
        const long n = take(&at, stop, protect, runs);
        if (n < 0) return static_cast<int>(n);
        for (long i = 0; i < n; ++i) fn(runs[i].begin, runs[i].end, (runs[i].categories & kPresent) != 0);
        found |= n > 0;
      }
      step = found ? kTableBytes : 2 * step;
    }
    return 0;
  }

  Descriptor faults_;  // the userfaultfd: whose end ends all protection
  Descriptor pages_;   // /proc/self/pagemap
};

}  // namespace tri::gc

#endif
